"""From a request to its answer: find the tail, check the tensors, wait for a slot, run."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from fog_server.admission import Admission
from fog_server.metrics import UNKNOWN_MODEL, Metrics, Outcome, outcome_of
from fog_server.store import BundleStore
from headtail.errors import HeadtailError, RequestInvalid
from headtail.oip import InferRequest, InferWriter
from headtail.tensor import Array

DEADLINE = "deadline_ms"


@dataclass(frozen=True, slots=True)
class Answer:
    """The outputs of a tail and how long they took."""

    writer: InferWriter
    outputs: Sequence[Array]
    queue_ns: int
    compute_ns: int


class Inference:
    """Answers requests; it knows nothing of gRPC, and several threads may use it at once."""

    def __init__(
        self,
        store: BundleStore,
        admission: Admission,
        metrics: Metrics,
        max_batch: int,
        clock_ns: Callable[[], int] = time.perf_counter_ns,
    ) -> None:
        """Serve what is in `store`; `clock_ns` is in nanoseconds."""
        self._store = store
        self._admission = admission
        self._metrics = metrics
        self._max_batch = max_batch
        self._clock_ns = clock_ns

    def answer(self, request: InferRequest, remaining_s: float | None) -> Answer:
        """Run the tail a request asks for.

        Args:
            request: Its parameter `deadline_ms` says how long the answer is worth something.
            remaining_s: The same from the call itself; the earlier one counts.

        Raises:
            ModelNotFound: If it asks for what is not served.
            TensorError: If its tensors do not fit the model.
            Overloaded: If too many requests wait.
            DeadlineExceeded: If its deadline passed before it could run; it is then not run.
        """
        model, windows = UNKNOWN_MODEL, 1
        try:
            tail = self._store.tail(request.model, request.version)
            model = tail.name
            remaining_s = _earliest(request, remaining_s)
            writer = tail.answer_writer(request.outputs)
            activation = tail.decode(request.inputs, self._max_batch)
            windows = tail.windows(activation)
            arrived = self._clock_ns()
            with self._admission.slot(remaining_s):
                started = self._clock_ns()
                outputs = tail.run(activation)
                stopped = self._clock_ns()
            arrays = [outputs[s.name] for s in writer.specs]
            answer = Answer(writer, arrays, started - arrived, stopped - started)
        except HeadtailError as error:
            self._metrics.windows(model, outcome_of(error)).inc(windows)
            raise
        except BaseException:
            self._metrics.windows(model, Outcome.FAILED).inc(windows)
            raise
        self._metrics.queue(model).observe(answer.queue_ns / 1e9)
        self._metrics.compute(model).observe(answer.compute_ns / 1e9)
        self._metrics.windows(model, Outcome.OK).inc(windows)
        return answer


def _earliest(request: InferRequest, remaining_s: float | None) -> float | None:
    deadline_ms = request.parameters.get(DEADLINE)
    if deadline_ms is None:
        return remaining_s
    if type(deadline_ms) is not int:
        raise RequestInvalid(f"parameter '{DEADLINE}'", "expected milliseconds as an integer")
    allowed_s = deadline_ms / 1e3
    return allowed_s if remaining_s is None else min(allowed_s, remaining_s)
