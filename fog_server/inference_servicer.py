"""ModelInfer and ModelStreamInfer: bytes in, bytes out, an error for each request."""

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial

import grpc

from fog_server.activity import Activity, Send, Stream
from fog_server.backlog import Backlog
from fog_server.final_response import ASKED, final_response
from fog_server.identity import identity_of
from fog_server.inference import Answer, Caller, Inference, Ready
from fog_server.metrics import UNKNOWN_MODEL, Metrics, Outcome
from fog_server.received import received
from fog_server.refusal import Cause
from fog_server.rpc import abort, domain_error, error_text, stream_parameters
from headtail.errors import Overloaded, RequestInvalid
from headtail.log import request_id
from headtail.oip import (
    Content,
    InferRequest,
    Parameter,
    read_request_alike,
    write_stream_error,
)

log = logging.getLogger(__name__)

SENT = "sent_ms"  # the parameter that says when a window left, on its agent's clock
QUEUE, COMPUTE = "queue_ns", "compute_ns"  # what an answer says of its time, in nanoseconds
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
        self._activity.count_bytes(len(data), 0)
        with self._activity.call(context.add_callback):
            try:
                request, _ = self._read(data)
                who, metadata = identity_of(context, request), context.invocation_metadata
                caller = Caller(who, context.time_remaining(), metadata=metadata)
                answer = self._inference.answer(request, caller)
                timings = {QUEUE: answer.queue_ns, COMPUTE: answer.compute_ns}
                response = answer.writer.write(request.id, timings, answer.outputs)
            except Exception as error:  # noqa: BLE001 - the RPC border
                fault = domain_error(error)
            else:
                self._activity.count_bytes(0, len(response))
                return response
        abort(context, fault)

    def stream_infer(
        self, frames: Iterator[Content], context: grpc.ServicerContext, send: Send
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
        self, frames: Iterator[Content], context: grpc.ServicerContext, stream: Stream
    ) -> None:
        """Answer what comes; requests that lie there together run as one batch, if that is brief.

        `frames` may say with a method `ready` whether another message is there without waiting.
        """
        is_next = getattr(frames, "ready", None)
        call = _StreamCall(context, stream, Backlog(), is_next or _never, is_next is not None)
        try:
            for data in received(frames, context, self._max_message_bytes):
                if not stream.begin(len(data)):
                    self._metrics.refused(Cause.STREAM_ENDED).inc()
                    break
                self._take(data, call, self._clock())
                if call.is_refused:
                    break
        finally:
            self._begin(call)

    def _take(self, data: Content, call: "_StreamCall", read_s: float) -> None:
        """Have one request of a stream answered; a single one in flight is, before this returns."""
        stream = call.stream
        final: dict[str, Parameter] = {}
        try:
            request, kind = self._read(data)
            if ASKED in request.parameters:
                final = final_response(request)
            caller = self._caller(request, call, read_s)
            reply = partial(self._reply, stream, request.id, final)
            ready = self._inference.take(request, caller, reply, kind)
        except Exception as error:  # noqa: BLE001 - the RPC border
            self._reply(stream, request_id.get(), final, error)
        else:
            self._place(ready, call)
            return
        if call.together and not call.is_next():
            self._begin(call)

    def _place(self, ready: Ready, call: "_StreamCall") -> None:
        """Begin a request, or keep it for those to join that have come already."""
        together = call.together
        joins = call.looks_ahead and self._inference.joins(ready, together)
        if together and not joins:
            self._begin(call)
            joins = self._inference.joins(ready, ())
        if not joins:
            self._inference.begin([ready], here=not call.stream.sends_ahead)
        elif call.is_next():
            call.together.append(ready)
        else:
            batch, call.together = [*call.together, ready], []
            self._inference.begin(batch, here=True)

    def _begin(self, call: "_StreamCall") -> None:
        """Run what was kept to run together, on this thread."""
        if call.together:
            together, call.together = call.together, []
            self._inference.begin(together, here=True)

    def _reply(
        self,
        stream: Stream,
        message_id: str,
        final: dict[str, Parameter],
        answer: Answer | Exception,
        *,
        more: bool = False,
    ) -> None:
        """Send the answer to one request of a stream; `more` of this thread's follow at once."""
        request_id.set(message_id)
        try:
            stream.answer(self._stream_response(message_id, final, answer), more=more)
        except Exception:
            log.exception("an answer was lost")

    def _stream_response(
        self, message_id: str, final: dict[str, Parameter], answer: Answer | Exception
    ) -> bytes:
        if not isinstance(answer, Exception):
            parameters: dict[str, Parameter] = {
                QUEUE: answer.queue_ns,
                COMPUTE: answer.compute_ns,
            }
            if final:
                parameters |= final
            if self._activity.is_draining:
                parameters[DRAINING] = True
            try:
                return answer.writer.write_stream_response(message_id, parameters, answer.outputs)
            except Exception as error:  # noqa: BLE001 - the RPC border
                answer = error
        fault = domain_error(answer)
        parameters = stream_parameters(fault) | final
        if self._activity.is_draining:
            parameters[DRAINING] = True
        return write_stream_error(message_id, error_text(fault), parameters)

    def _read(self, data: Content) -> tuple[InferRequest, object | None]:
        """Return a request and what it is alike with.

        Its id stands in every line that is logged while it is answered.

        Raises:
            RequestInvalid: If it cannot be read; it counts as one window, whatever it was.
        """
        try:
            found = read_request_alike(data)
        except BaseException as error:
            request_id.set("")
            if isinstance(error, RequestInvalid):
                self._metrics.tallies.count(UNKNOWN_MODEL, Outcome.INVALID)
            raise
        request_id.set(found[0].id)
        return found

    def _caller(self, request: InferRequest, call: "_StreamCall", read_s: float) -> Caller:
        """Return who sent a stream's window, and how long it lay unread.

        Raises:
            Overloaded: If the agent has as many streams open as it may; this one then ends.
        """
        agent = identity_of(call.context, request)
        try:
            if call.stream.agent is None:
                self._activity.claim(call.stream, agent)
        except Overloaded as error:
            call.is_refused = True
            self._metrics.refused_streams(Cause(error.cause)).inc()
            raise
        sent_ms = request.parameters.get(SENT)
        waited_s = call.backlog.waited_s(sent_ms / 1e3, read_s) if type(sent_ms) is int else 0.0
        return Caller(agent, call.context.time_remaining(), waited_s, None, call.stream)


def _never() -> bool:
    return False


@dataclass(slots=True)
class _StreamCall:
    """What is known of one stream while it lasts."""

    context: grpc.ServicerContext
    stream: Stream
    backlog: Backlog
    is_next: Callable[[], bool] = _never
    """Whether another message is there without waiting for it."""
    looks_ahead: bool = False
    """Whether that is known at all."""
    together: list[Ready] = field(default_factory=list)
    """What was read and is to run as one batch."""
    is_refused: bool = False
