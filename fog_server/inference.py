"""From a request to its answer: find the tail, check the tensors, wait for a turn, run."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from queue import SimpleQueue
from typing import Protocol, cast

import msgspec

from fog_server.admission import Admission
from fog_server.alike import Alike, views
from fog_server.batcher_run import Ran, run_alone, run_batch
from fog_server.batcher_work import BatchWork, Work
from fog_server.capture.capture import Capture
from fog_server.config import Inference as Settings
from fog_server.inflate import is_deflated
from fog_server.metrics import UNKNOWN_MODEL, Metrics, Outcome, outcome_of
from fog_server.quota import Quotas
from fog_server.refusal import Cause, cause_of, expiry, refusal
from fog_server.statistics import Statistics
from fog_server.store import BundleStore
from fog_server.tail import Tail
from headtail.compression import PARAMETER as COMPRESSION
from headtail.errors import HeadtailError, RequestInvalid
from headtail.oip import InferRequest, InferWriter
from headtail.tensor import Array

DEADLINE = "deadline_ms"
PRIORITY, TIMEOUT = "priority", "timeout"  # Triton's: a level, 1 being the first; microseconds
_OWN = frozenset({PRIORITY, TIMEOUT, COMPRESSION})  # parameters that say how a request is treated
_MAX_ALIKE = 128  # as many as the reader keeps layouts; more only means that they are found again
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
    stream: object | None = None
    """What answers may leave together on; None for a call of one request."""


class Answer(msgspec.Struct, frozen=True):
    """The outputs of a tail and how long they took."""

    writer: InferWriter
    outputs: Sequence[Array]
    queue_ns: int
    compute_ns: int


class Reply(Protocol):
    """Takes the answer to one request, or why there is none; it must not raise."""

    def __call__(self, answer: Answer | Exception, *, more: bool = False) -> None:
        """Take it; where `more`, another for the same receiver follows at once."""
        ...


class Ready(msgspec.Struct):
    """A request whose tensors are decoded, and whose turn it may be."""

    alike: Alike
    caller: Caller
    request: InferRequest
    activation: Mapping[str, Array]
    reply: Reply
    remaining_s: float | None
    came_ns: int
    waits_ns: int
    """When it was ready to run."""


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
        self._lock = metrics.tallies.lock
        self.statistics = Statistics(self._lock)
        self._now_ms = self.statistics.now_ms
        # By what the reader of requests says that they are alike with.
        self._alike: dict[object, Alike] = {}
        store.changed = self._alike.clear  # they hold on to their tails

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
        answers: SimpleQueue[Answer | Exception] = SimpleQueue()

        def reply(answer: Answer | Exception, *, more: bool = False) -> None:
            answers.put(answer)

        self.begin([self.take(request, caller, reply)], here=True)
        answer = answers.get()
        if isinstance(answer, Exception):
            raise answer
        return answer

    def take(
        self, request: InferRequest, caller: Caller, reply: Reply, kind: object | None = None
    ) -> Ready:
        """Return a request with its tensors decoded; `begin` must follow.

        Args:
            request: As for `answer`.
            caller: As for `answer`.
            reply: Called once after that, on this thread or on another.
            kind: What `read_request_alike` says that it is alike with.

        Raises:
            HeadtailError: As from `answer`, where that is known at once; `reply` is not called.
        """
        windows, tail = 1, None
        came = self._clock_ns()
        try:
            tail = self._store.tail(request.model, request.version)
            alike = self._alike.get(kind)
            if alike is not None and alike.tail is tail:
                activation = alike.decode(request.inputs)
                windows = alike.windows
                remaining_s = _earliest(request, caller)
            else:
                writer = tail.answer_writer(request.outputs)
                activation = tail.decode(request.inputs, self._max_batch, is_deflated(request))
                windows = tail.windows(activation)
                remaining_s = _earliest(request, caller)
                alike = self._learn(request, tail, writer, activation, kind)
            if remaining_s is not None and remaining_s <= 0:
                raise expiry(Cause.EXPIRED_ON_WAY, remaining_s)
            if self._quotas.is_limited:
                self._quotas.spend(caller.agent, windows)
            return Ready(
                alike, caller, request, activation, reply, remaining_s, came, self._clock_ns()
            )
        except BaseException as error:
            self._count_failed(error, tail, windows, caller.agent, came)
            raise

    def joins(self, ready: Ready, others: Sequence[Ready]) -> bool:
        """Return whether a request is to run on this thread, as one batch with others.

        It is where its tail's runs are over before another thread could be woken.
        """
        alike = ready.alike
        if not (alike.is_ripe and self._admission.is_brief(alike.model)):
            return False
        if not others:
            return True
        first = others[0].alike
        if first.tail is not alike.tail or first.level != alike.level:
            return False
        windows = sum(other.alike.windows for other in others) + alike.windows
        return alike.tail.is_batchable and windows <= alike.rules.max_batch_size

    def begin(self, batch: Sequence[Ready], *, here: bool) -> None:
        """Have requests answered, each by a call of its `reply`.

        Args:
            batch: One, or several of which each joins those before.
            here: Whether this thread may run them itself, where they need not wait.
        """
        first = batch[0].alike
        slot = None
        if here and first.is_ripe:
            slot = self._admission.start(first.model, len(batch))
        if slot is None:
            for ready in batch:
                try:
                    self._admission.submit(_Request(ready, self), ready.remaining_s, here=here)
                except HeadtailError as error:
                    self.refused(ready, error)
            return
        try:
            self.run(batch, partial(self._admission.ran, slot))
        finally:
            self._admission.leave(slot)

    def run(self, batch: Sequence[Ready], ran: Callable[[], None]) -> None:
        """Run requests for one tail together, and answer them."""
        first, last = batch[0], len(batch) - 1
        if not last:
            alike = first.alike
            alone = run_alone(alike.tail, first.activation, alike.windows, self._clock_ns)
            ran()
            first.reply(self._finish(first, alone))
            return
        activations = [ready.activation for ready in batch]
        runs = run_batch(first.alike.tail, activations, self._clock_ns)
        ran()
        for i, ready in enumerate(batch):
            stream = ready.caller.stream
            more = i < last and stream is not None and batch[i + 1].caller.stream is stream
            ready.reply(self._finish(ready, runs[i]), more=more)

    def _finish(self, ready: Ready, run: Ran) -> Answer | Exception:
        """Return the answer of a request that ran, and count it and what ran with it."""
        alike, outcome, caller = ready.alike, run.outcome, ready.caller
        if isinstance(outcome, Exception):
            if run.leads:
                with self._lock:
                    alike.tally.batches[run.windows] += 1
            self._count_failed(outcome, alike.tail, alike.windows, caller.agent, ready.came_ns)
            return outcome
        tally, record, compute_ns = alike.tally, alike.record, run.compute_ns
        queue_ns = run.started_ns - ready.waits_ns
        now_ms = self._now_ms()
        with self._lock:
            if run.leads:
                record.ran(run.windows, compute_ns)
                tally.batches[run.windows] += 1
            record.answered(
                alike.windows, now_ms, queue_ns, ready.waits_ns - ready.came_ns, compute_ns
            )
            tally.took(alike.windows, queue_ns, compute_ns)
        if self.capture is not None:
            self.capture.offer_request(alike.tail, ready.activation, ready.request, caller.agent)
        arrays = [outcome[spec.name] for spec in alike.writer.specs]
        return Answer(alike.writer, arrays, queue_ns, compute_ns)

    def _learn(
        self,
        request: InferRequest,
        tail: Tail,
        writer: InferWriter,
        activation: Mapping[str, Array],
        kind: object | None,
    ) -> Alike:
        """Return what a request has in common with others, and remember it where it has a kind."""
        rules = self._batching(tail.name, tail.chain.manifest.name)
        level = rules.level(_integer(request, PRIORITY))
        windows = tail.windows(activation)
        found = Alike(
            tail,
            writer,
            rules,
            level,
            rules.policy(level).timeout_s(_integer(request, TIMEOUT)),
            windows,
            sum(array.nbytes for array in activation.values()),
            self.statistics.record(tail),
            self._metrics.tallies.of(tail.name),
            (tail.name, tail.version, id(tail)),
            is_ripe=rules.is_ripe(windows, is_batchable=tail.is_batchable)
            and not rules.preserve_ordering,
            views=views(tail, request.inputs),
        )
        if kind is not None and found.views and not request.parameters.keys() & _OWN:
            if len(self._alike) >= _MAX_ALIKE:
                self._alike.clear()
            self._alike[kind] = found
            if not self._store.serves(tail):  # it went meanwhile, and is not to be kept
                self._alike.pop(kind, None)
        return found

    def refused(self, ready: Ready, error: HeadtailError) -> None:
        """Answer and count a request that will not be run."""
        alike = ready.alike
        self._count_failed(error, alike.tail, alike.windows, ready.caller.agent, ready.came_ns)
        ready.reply(error)

    def _count_failed(
        self, error: BaseException, tail: Tail | None, windows: int, agent: str, came_ns: int
    ) -> None:
        """Count windows that were not answered; those that never got a turn cost nothing."""
        model = UNKNOWN_MODEL if tail is None else tail.name
        if tail is not None:
            self.statistics.failed(tail, self._clock_ns() - came_ns)
        if not isinstance(error, HeadtailError):
            self._metrics.tallies.count(model, Outcome.FAILED, windows)
            return
        self._metrics.tallies.count(model, outcome_of(error), windows)
        cause = cause_of(error)
        if cause is not None:
            self._metrics.refused(cause).inc(windows)
            if cause not in _UNPAID:
                self._quotas.give_back(agent, windows)


class _Request(BatchWork):
    """A request that waits."""

    __slots__ = ("inference", "ready")

    def __init__(self, ready: Ready, inference: Inference) -> None:
        alike = ready.alike
        super().__init__(
            ready.caller.agent,
            alike.windows,
            rules=alike.rules,
            model=alike.model,
            is_batchable=alike.tail.is_batchable,
            level=alike.level,
            nbytes=alike.nbytes,
            patience_s=alike.patience_s,
        )
        self.ready, self.inference = ready, inference

    def run(self, batch: Sequence[Work], ran: Callable[[], None]) -> None:
        """Run a batch of which this is the first."""
        self.inference.run([work.ready for work in cast(Sequence[_Request], batch)], ran)

    def refuse(self, error: HeadtailError) -> None:
        """Reply that it will not be run."""
        self.inference.refused(self.ready, error)


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
