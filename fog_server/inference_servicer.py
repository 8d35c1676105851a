"""ModelInfer and ModelStreamInfer: bytes in, bytes out, an error for each request."""

from collections.abc import Callable, Iterator

import grpc

from fog_server.activity import Activity, Send, Stream
from fog_server.inference import Answer, Inference
from fog_server.metrics import Metrics
from fog_server.rpc import abort, domain_error, stream_parameters
from headtail.errors import Overloaded
from headtail.oip import Parameter, read_request, write_stream_error


class InferenceServicer:
    """The two calls that carry tensors; its requests and responses are serialised messages."""

    def __init__(self, inference: Inference, metrics: Metrics, activity: Activity) -> None:
        """Answer with `inference`; `activity` counts what is in flight."""
        self._inference = inference
        self._metrics = metrics
        self._activity = activity

    def infer(self, data: bytes, context: grpc.ServicerContext) -> bytes:
        """Answer one request; its error is the call's status."""
        self._metrics.received_bytes.inc(len(data))
        request_id = ""
        with self._activity.call():
            try:
                request = read_request(data)
                request_id = request.id
                answer = self._inference.answer(request, context.time_remaining())
                response = answer.writer.write(request.id, _timings(answer), answer.outputs)
            except Exception as error:  # noqa: BLE001 - the RPC border
                fault = domain_error(error, request_id)
            else:
                self._metrics.sent_bytes.inc(len(response))
                return response
        abort(context, fault)

    def stream_infer(
        self, frames: Iterator[bytes], context: grpc.ServicerContext, send: Send
    ) -> None:
        """Answer each request of a stream in turn; an error belongs to its request."""
        try:
            with self._activity.stream(send) as stream:
                self._answer_all(frames, context, stream)
        except Overloaded as error:
            fault = error
        except grpc.RpcError:
            return  # the agent hung up
        else:
            return
        abort(context, fault)

    def _answer_all(
        self, frames: Iterator[bytes], context: grpc.ServicerContext, stream: Stream
    ) -> None:
        for data in frames:
            if not stream.answer(self._responder(data, context)):
                break

    def _responder(self, data: bytes, context: grpc.ServicerContext) -> Callable[[], bytes]:
        return lambda: self._stream_response(data, context)

    def _stream_response(self, data: bytes, context: grpc.ServicerContext) -> bytes:
        self._metrics.received_bytes.inc(len(data))
        request_id = ""
        try:
            request = read_request(data)
            request_id = request.id
            answer = self._inference.answer(request, context.time_remaining())
            parameters = _timings(answer)
            if self._activity.is_draining:
                parameters["draining"] = True
            response = answer.writer.write_stream_response(request_id, parameters, answer.outputs)
        except Exception as error:  # noqa: BLE001 - the RPC border
            fault = domain_error(error, request_id)
            response = write_stream_error(request_id, str(fault), stream_parameters(fault))
        self._metrics.sent_bytes.inc(len(response))
        return response


def _timings(answer: Answer) -> dict[str, Parameter]:
    return {"queue_ns": answer.queue_ns, "compute_ns": answer.compute_ns}
