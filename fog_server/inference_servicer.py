"""ModelInfer and ModelStreamInfer: bytes in, bytes out, an error for each request."""

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import grpc

from fog_server.activity import Activity, Send, Stream
from fog_server.backlog import Backlog
from fog_server.final_response import final_response
from fog_server.identity import identity_of
from fog_server.inference import Answer, Caller, Inference
from fog_server.metrics import UNKNOWN_MODEL, Metrics, Outcome
from fog_server.received import received
from fog_server.refusal import Cause
from fog_server.rpc import abort, domain_error, error_text, stream_parameters
from headtail.errors import Overloaded, RequestInvalid
from headtail.log import request_id
from headtail.oip import InferRequest, Parameter, read_request, write_stream_error

log = logging.getLogger(__name__)

SENT = "sent_ms"  # the parameter that says when a window left, on its agent's clock
DRAINING = "draining"  # the parameter that says that the stream is about to end


class InferenceServicer:
    """The two calls that carry tensors; its requests and responses are serialised messages."""

    def __init__(
        self,
        inference: Inference,
        metrics: Metrics,
        activity: Activity,
        max_message_bytes: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Answer with `inference`; `activity` counts what is in flight; `clock` is in seconds."""
        self._inference = inference
        self._metrics = metrics
        self._activity = activity
        self._max_message_bytes = max_message_bytes
        self._clock = clock

    def infer(self, frames: Iterator[bytes], context: grpc.ServicerContext) -> bytes:
        """Answer one request; its error is the call's status.

        It is read like a stream of one, so that one that gRPC refuses does not go unseen.
        """
        data = next(received(frames, context, self._max_message_bytes), None)
        if data is None:
            abort(context, RequestInvalid("call", "expected one message, received none"))
        self._metrics.received_bytes.inc(len(data))
        with self._activity.call():
            try:
                request = self._read(data)
                who, metadata = identity_of(context, request), context.invocation_metadata
                caller = Caller(who, context.time_remaining(), metadata=metadata)
                answer = self._inference.answer(request, caller)
                response = answer.writer.write(request.id, _timings(answer), answer.outputs)
            except Exception as error:  # noqa: BLE001 - the RPC border
                fault = domain_error(error)
            else:
                self._metrics.sent_bytes.inc(len(response))
                return response
        abort(context, fault)

    def stream_infer(
        self, frames: Iterator[bytes], context: grpc.ServicerContext, send: Send
    ) -> None:
        """Answer each request of a stream, in any order; an error belongs to its request."""
        try:
            with self._activity.stream(send) as stream:
                self._answer_all(frames, context, stream)
        except Overloaded as error:
            fault = error
        except grpc.RpcError:
            return  # the agent hung up
        else:
            return
        self._metrics.refused_streams(Cause(fault.cause)).inc()
        abort(context, fault)

    def _answer_all(
        self, frames: Iterator[bytes], context: grpc.ServicerContext, stream: Stream
    ) -> None:
        call = _StreamCall(context, stream, Backlog())
        for data in received(frames, context, self._max_message_bytes):
            if not stream.begin():
                self._metrics.refused(Cause.STREAM_ENDED).inc()
                break
            self._take(data, call, self._clock())
            if call.is_refused:
                break

    def _take(self, data: bytes, call: "_StreamCall", read_s: float) -> None:
        """Have one request of a stream answered; a single one in flight is, before this returns."""
        stream = call.stream
        self._metrics.received_bytes.inc(len(data))
        final: dict[str, Parameter] = {}
        try:
            request = self._read(data)
            final = final_response(request)
            caller = self._caller(request, call, read_s)
            reply = partial(self._reply, stream, request.id, final)
            self._inference.submit(request, caller, reply, here=not stream.sends_ahead)
        except Exception as error:  # noqa: BLE001 - the RPC border
            self._reply(stream, request_id.get(), final, error)

    def _reply(
        self,
        stream: Stream,
        message_id: str,
        final: dict[str, Parameter],
        answer: Answer | Exception,
    ) -> None:
        """Send the answer to one request of a stream."""
        request_id.set(message_id)
        try:
            response = self._stream_response(message_id, final, answer)
            self._metrics.sent_bytes.inc(len(response))
            stream.answer(response)
        except Exception:
            log.exception("an answer was lost")

    def _stream_response(
        self, message_id: str, final: dict[str, Parameter], answer: Answer | Exception
    ) -> bytes:
        if not isinstance(answer, Exception):
            parameters = self._with_state(_timings(answer) | final)
            try:
                return answer.writer.write_stream_response(message_id, parameters, answer.outputs)
            except Exception as error:  # noqa: BLE001 - the RPC border
                answer = error
        fault = domain_error(answer)
        parameters = self._with_state(stream_parameters(fault) | final)
        return write_stream_error(message_id, error_text(fault), parameters)

    def _read(self, data: bytes) -> InferRequest:
        """Return a request, whose id stands in every line that is logged while it is answered.

        Raises:
            RequestInvalid: If it cannot be read; it counts as one window, whatever it was.
        """
        try:
            request = read_request(data)
        except BaseException as error:
            request_id.set("")
            if isinstance(error, RequestInvalid):
                self._metrics.windows(UNKNOWN_MODEL, Outcome.INVALID).inc()
            raise
        request_id.set(request.id)
        return request

    def _with_state(self, parameters: dict[str, Parameter]) -> dict[str, Parameter]:
        """Tell an agent that its stream is about to end, whether its window was run or not."""
        if self._activity.is_draining:
            parameters[DRAINING] = True
        return parameters

    def _caller(self, request: InferRequest, call: "_StreamCall", read_s: float) -> Caller:
        """Return who sent a stream's window, and how long it lay unread.

        Raises:
            Overloaded: If the agent has as many streams open as it may; this one then ends.
        """
        agent = identity_of(call.context, request)
        try:
            self._activity.claim(call.stream, agent)
        except Overloaded as error:
            call.is_refused = True
            self._metrics.refused_streams(Cause(error.cause)).inc()
            raise
        sent_ms = request.parameters.get(SENT)
        waited_s = call.backlog.waited_s(sent_ms / 1e3, read_s) if type(sent_ms) is int else 0.0
        return Caller(agent, call.context.time_remaining(), waited_s)


@dataclass(slots=True)
class _StreamCall:
    """What is known of one stream while it lasts."""

    context: grpc.ServicerContext
    stream: Stream
    backlog: Backlog
    is_refused: bool = False


def _timings(answer: Answer) -> dict[str, Parameter]:
    return {"queue_ns": answer.queue_ns, "compute_ns": answer.compute_ns}
