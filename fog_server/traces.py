"""The spans of requests: from their arrival to their answer, with queue and compute."""

import time
from collections.abc import Callable
from typing import Any

from fog_server.inference import Answer, Caller, Inference, Ready, Reply
from headtail.errors import HeadtailError
from headtail.oip import InferRequest
from headtail.tracing import Attribute, Span, Tracer, from_metadata, from_parameters


class TracedInference(Inference):
    """An inference that makes a span of every request; the context comes with the request.

    A stream has metadata once, so there the parameter `traceparent` counts; a unary call may bring
    it either way.
    """

    def __init__(
        self, tracer: Tracer, *parts: Any, unix_ns: Callable[[], int] = time.time_ns, **more: Any
    ) -> None:
        """Trace with `tracer` what an inference of these parts does."""
        super().__init__(*parts, **more)
        self._tracer = tracer
        self._unix_ns = unix_ns

    def take(
        self, request: InferRequest, caller: Caller, reply: Reply, kind: object | None = None
    ) -> Ready:
        """Return a request with its tensors decoded, as `Inference.take` does."""
        start_ns = self._unix_ns()
        parent = from_parameters(request.parameters)
        if parent is None and caller.metadata is not None:
            parent = from_metadata(caller.metadata())
        span = self._tracer.begin("fog.request", start_ns, parent, "server")
        described: dict[str, Attribute] = {
            "rpc.system": "grpc",
            "headtail.model": request.model,
            "headtail.agent": caller.agent,
            "headtail.request_id": request.id,
        }

        def replied(answer: Answer | Exception, *, more: bool = False) -> None:
            stop_ns = self._unix_ns()
            reply(answer, more=more)
            if isinstance(answer, Exception):
                span.end(stop_ns, described, _why(answer))
            else:
                self._stages(span, start_ns, answer)
                span.end(stop_ns, described)

        try:
            return super().take(request, caller, replied, kind)
        except Exception as error:
            span.end(self._unix_ns(), described, _why(error))
            raise

    def _stages(self, span: Span, start_ns: int, answer: Answer) -> None:
        """Make the spans of what the answer says of its way."""
        if not span.is_recording:
            return
        runs_ns = start_ns + answer.queue_ns
        self._tracer.begin("fog.queue", start_ns, span.context).end(runs_ns)
        compute = self._tracer.begin("fog.compute", runs_ns, span.context)
        compute.end(runs_ns + answer.compute_ns)


def _why(error: Exception) -> str:
    """Return what went wrong; the text of what was not foreseen stays in the log."""
    return str(error) if isinstance(error, HeadtailError) else type(error).__name__
