"""From a request to its answer: find the tail, check the tensors, wait for a turn, run."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from typing import cast

import msgspec

from fog_server.admission import Admission
from fog_server.batcher_run import Ran, run_batch
from fog_server.batcher_work import BatchWork, Work
from fog_server.capture.capture import Capture
from fog_server.config import Inference as Settings
from fog_server.inflate import is_deflated
from fog_server.metrics import UNKNOWN_MODEL, Metrics, Outcome, outcome_of
from fog_server.quota import Quotas
from fog_server.refusal import Cause, cause_of, refusal
from fog_server.statistics import Spans, Statistics
from fog_server.store import BundleStore
from fog_server.tail import Tail
from headtail.errors import HeadtailError, RequestInvalid
from headtail.oip import InferRequest, InferWriter
from headtail.tensor import Array

DEADLINE = "deadline_ms"
PRIORITY, TIMEOUT = "priority", "timeout"  # Triton's: a level, 1 being the first; microseconds
_UNPAID = frozenset({Cause.RATE, Cause.QUOTA, Cause.BACKLOG})  # refused before they are paid for


class Caller(msgspec.Struct, frozen=True):
    """Who asks, and how long the answer is worth something to them."""

    agent: str
    remaining_s: float | None = None
    """What the call itself leaves; None means no deadline."""
    waited_s: float = 0.0
    """How long the request lay unread, in seconds; the deadline it carries began before that."""
    metadata: Callable[[], Iterable[tuple[str, str | bytes]]] | None = None
    """Returns the call's metadata; None on a stream, which has it once for all its requests."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The outputs of a tail and how long they took."""

    writer: InferWriter
    outputs: Sequence[Array]
    queue_ns: int
    compute_ns: int


Reply = Callable[[Answer | Exception], None]


class Inference:
    """Answers requests; it knows nothing of gRPC, and several threads may use it at once."""

    capture: Capture | None = None
    """Offered what was answered, where there is one."""

    def __init__(
        self,
        store: BundleStore,
        admission: Admission,
        quotas: Quotas,
        metrics: Metrics,
        settings: Settings,
        clock_ns: Callable[[], int] = time.perf_counter_ns,
    ) -> None:
        """Serve what is in `store`.

        Args:
            store: The tails.
            admission: Says what runs when.
            quotas: What an agent may ask for.
            metrics: Count.
            settings: What a request may hold, and how requests are batched.
            clock_ns: In nanoseconds.
        """
        self._store = store
        self._admission = admission
        self._quotas = quotas
        self._metrics = metrics
        self._max_batch = settings.max_batch
        self._batching = settings.batching
        self._clock_ns = clock_ns
        self.statistics = Statistics()

    def answer(self, request: InferRequest, caller: Caller) -> Answer:
        """Run the tail a request asks for, and wait for its answer.

        Args:
            request: Its parameter `deadline_ms` says how long the answer is worth something.
            caller: Who asks; of the two deadlines the earlier one counts.

        Raises:
            ModelNotFound: If it asks for what is not served.
            TensorError: If its tensors do not fit the model.
            Overloaded: If too many requests wait, or its agent is over its rate or quota.
            DeadlineExceeded: If its deadline passed before it could run; it is then not run.
        """
        reply: SimpleQueue[Answer | Exception] = SimpleQueue()
        self.submit(request, caller, reply.put, here=True)
        answer = reply.get()
        if isinstance(answer, Exception):
            raise answer
        return answer

    def submit(
        self, request: InferRequest, caller: Caller, reply: Reply, *, here: bool = False
    ) -> None:
        """Have a request answered by calling `reply` once, on this thread or on another.

        Args:
            request: As for `answer`.
            caller: As for `answer`.
            reply: Takes the answer, or why there is none; it must not raise.
            here: Whether this thread may run it itself, where it need not wait.

        Raises:
            HeadtailError: As from `answer`, where that is known at once; `reply` is not called.
        """
        model, windows, tail = UNKNOWN_MODEL, 1, None
        came = self._clock_ns()
        try:
            tail = self._store.tail(request.model, request.version)
            model = tail.name
            writer = tail.answer_writer(request.outputs)
            activation = tail.decode(request.inputs, self._max_batch, is_deflated(request))
            windows = tail.windows(activation)
            remaining_s = _earliest(request, caller)
            rules = self._batching(model, tail.chain.manifest.name)
            level = rules.level(_integer(request, PRIORITY))
            self._quotas.spend(caller.agent, windows)
            work = _Request(
                caller.agent,
                windows,
                rules=rules,
                model=(model, tail.version, id(tail)),
                is_batchable=tail.is_batchable,
                level=level,
                nbytes=sum(array.nbytes for array in activation.values()),
                patience_s=rules.policy(level).timeout_s(_integer(request, TIMEOUT)),
                inference=self,
                tail=tail,
                writer=writer,
                request=request,
                activation=activation,
                reply=reply,
                came_ns=came,
                waits_ns=self._clock_ns(),
            )
            self._admission.submit(work, remaining_s, here=here)
        except BaseException as error:
            self._count_failed(error, tail, windows, caller.agent, came)
            raise

    def run(self, batch: Sequence["_Request"], ran: Callable[[], None]) -> None:
        """Run requests for one tail together, and answer them."""
        tail = batch[0].tail
        runs = run_batch(tail, [request.activation for request in batch], self._clock_ns)
        ran()
        for run in runs:
            if run.leads:
                self._count_run(tail, run)
        for request, run in zip(batch, runs, strict=True):
            request.answer(run)

    def _count_run(self, tail: Tail, run: Ran) -> None:
        """Count what ran as one batch."""
        if not isinstance(run.outcome, Exception):
            self.statistics.ran(tail, run.windows, Spans(infer_ns=run.compute_ns))
        self._metrics.batch(tail.name).observe(run.windows)

    def finish(self, work: "_Request", run: Ran) -> Answer | Exception:
        """Return the answer of a request that ran, and count it."""
        if isinstance(run.outcome, Exception):
            self._count_failed(run.outcome, work.tail, work.windows, work.agent, work.came_ns)
            return run.outcome
        model, queue_ns = work.tail.name, run.started_ns - work.waits_ns
        spans = Spans(queue_ns, work.waits_ns - work.came_ns, run.compute_ns)
        self.statistics.answered(work.tail, work.windows, spans)
        self._metrics.queue(model).observe(queue_ns / 1e9)
        self._metrics.compute(model).observe(run.compute_ns / 1e9)
        self._metrics.windows(model, Outcome.OK).inc(work.windows)
        if self.capture is not None:
            self.capture.offer_request(work.tail, work.activation, work.request, work.agent)
        arrays = [run.outcome[spec.name] for spec in work.writer.specs]
        return Answer(work.writer, arrays, queue_ns, run.compute_ns)

    def refused(self, work: "_Request", error: HeadtailError) -> None:
        """Count a request that waited and will not be run."""
        self._count_failed(error, work.tail, work.windows, work.agent, work.came_ns)

    def _count_failed(
        self, error: BaseException, tail: Tail | None, windows: int, agent: str, came_ns: int
    ) -> None:
        """Count windows that were not answered; those that never got a turn cost nothing."""
        model = UNKNOWN_MODEL if tail is None else tail.name
        if tail is not None:
            self.statistics.failed(tail, self._clock_ns() - came_ns)
        if not isinstance(error, HeadtailError):
            self._metrics.windows(model, Outcome.FAILED).inc(windows)
            return
        self._metrics.windows(model, outcome_of(error)).inc(windows)
        cause = cause_of(error)
        if cause is not None:
            self._metrics.refused(cause).inc(windows)
            if cause not in _UNPAID:
                self._quotas.give_back(agent, windows)


@dataclass(slots=True, eq=False, kw_only=True)
class _Request(BatchWork):
    """A request whose tensors are decoded."""

    inference: Inference
    tail: Tail
    writer: InferWriter
    request: InferRequest
    activation: Mapping[str, Array]
    reply: Reply
    came_ns: int
    waits_ns: int
    """When it was ready to run."""

    def run(self, batch: Sequence[Work], ran: Callable[[], None]) -> None:
        """Run a batch of which this is the first."""
        self.inference.run(cast(Sequence[_Request], batch), ran)

    def answer(self, run: Ran) -> None:
        """Reply with what came of the run."""
        self.reply(self.inference.finish(self, run))

    def refuse(self, error: HeadtailError) -> None:
        """Reply that it will not be run."""
        self.inference.refused(self, error)
        self.reply(error)


def _integer(request: InferRequest, name: str) -> int:
    """Return a parameter that may be missing, which counts as 0."""
    value = request.parameters.get(name, 0)
    if type(value) is not int:
        raise RequestInvalid(f"parameter '{name}'", "expected an integer")
    return value


def _earliest(request: InferRequest, caller: Caller) -> float | None:
    deadline_ms = request.parameters.get(DEADLINE)
    if deadline_ms is None:
        return caller.remaining_s
    if type(deadline_ms) is not int:
        raise RequestInvalid(f"parameter '{DEADLINE}'", "expected milliseconds as an integer")
    allowed_s = deadline_ms / 1e3 - caller.waited_s
    if allowed_s <= 0 < deadline_ms:
        reason = f"read {caller.waited_s:.3f} s after it was sent, with {deadline_ms} ms to live"
        raise refusal(Cause.BACKLOG, reason, caller.waited_s)
    return allowed_s if caller.remaining_s is None else min(allowed_s, caller.remaining_s)
