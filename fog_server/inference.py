"""From a request to its answer: find the tail, check the tensors, wait for a slot, run."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec

from fog_server.admission import Admission
from fog_server.capture.capture import Capture
from fog_server.inflate import is_deflated
from fog_server.metrics import UNKNOWN_MODEL, Metrics, Outcome, outcome_of
from fog_server.quota import Quotas
from fog_server.refusal import Cause, cause_of, refusal
from fog_server.statistics import Spans, Statistics
from fog_server.store import BundleStore
from headtail.errors import HeadtailError, RequestInvalid
from headtail.oip import InferRequest, InferWriter
from headtail.tensor import Array

DEADLINE = "deadline_ms"
_UNPAID = frozenset({Cause.RATE, Cause.QUOTA, Cause.BACKLOG})  # refused before they are paid for


class Caller(msgspec.Struct, frozen=True):
    """Who asks, and how long the answer is worth something to them."""

    agent: str
    remaining_s: float | None = None
    """What the call itself leaves; None means no deadline."""
    waited_s: float = 0.0
    """How long the request lay unread, in seconds; the deadline it carries began before that."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The outputs of a tail and how long they took."""

    writer: InferWriter
    outputs: Sequence[Array]
    queue_ns: int
    compute_ns: int


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
        max_batch: int,
        clock_ns: Callable[[], int] = time.perf_counter_ns,
    ) -> None:
        """Serve what is in `store`; `clock_ns` is in nanoseconds."""
        self._store = store
        self._admission = admission
        self._quotas = quotas
        self._metrics = metrics
        self._max_batch = max_batch
        self._clock_ns = clock_ns
        self.statistics = Statistics()

    def answer(self, request: InferRequest, caller: Caller) -> Answer:
        """Run the tail a request asks for.

        Args:
            request: Its parameter `deadline_ms` says how long the answer is worth something.
            caller: Who asks; of the two deadlines the earlier one counts.

        Raises:
            ModelNotFound: If it asks for what is not served.
            TensorError: If its tensors do not fit the model.
            Overloaded: If too many requests wait, or its agent is over its rate or quota.
            DeadlineExceeded: If its deadline passed before it could run; it is then not run.
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
            self._quotas.spend(caller.agent, windows)
            arrived = self._clock_ns()
            with self._admission.slot(remaining_s, caller.agent, windows):
                started = self._clock_ns()
                outputs = tail.run(activation)
                stopped = self._clock_ns()
            arrays = [outputs[s.name] for s in writer.specs]
            answer = Answer(writer, arrays, started - arrived, stopped - started)
        except BaseException as error:
            if tail is not None:
                self.statistics.failed(tail, self._clock_ns() - came)
            if isinstance(error, HeadtailError):
                self._count_refused(error, model, windows, caller.agent)
            else:
                self._metrics.windows(model, Outcome.FAILED).inc(windows)
            raise
        spans = Spans(answer.queue_ns, arrived - came, answer.compute_ns)
        self.statistics.ran(tail, windows, spans._replace(queue_ns=0, input_ns=0))
        self.statistics.answered(tail, windows, spans)
        self._metrics.queue(model).observe(answer.queue_ns / 1e9)
        self._metrics.compute(model).observe(answer.compute_ns / 1e9)
        self._metrics.windows(model, Outcome.OK).inc(windows)
        if self.capture is not None:
            self.capture.offer_request(tail, activation, request, caller.agent)
        return answer

    def _count_refused(self, error: HeadtailError, model: str, windows: int, agent: str) -> None:
        """Count windows that were not answered; those that never got a turn cost nothing."""
        self._metrics.windows(model, outcome_of(error)).inc(windows)
        cause = cause_of(error)
        if cause is not None:
            self._metrics.refused(cause).inc(windows)
            if cause not in _UNPAID:
                self._quotas.give_back(agent, windows)


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
