"""Every line that is logged while a request is answered carries the request's id."""

from fog_server.activity import Activity
from fog_server.inference_servicer import InferenceServicer
from fog_server.metrics import UNKNOWN_MODEL, Metrics, Outcome
from headtail.oip import read_stream_response

MALFORMED = b"\xff"


class BrokenInference:
    """Fails as no domain error does."""

    def take(self, request, caller, reply, kind):
        """Fail."""
        raise ZeroDivisionError("by zero")


class Context:
    """A stream from this machine, without certificates."""

    def peer(self) -> str:
        """Return the host and port."""
        return "ipv4:127.0.0.1:1"

    def time_remaining(self) -> None:
        """Return that there is no deadline."""


def test_line_of_a_failed_window_carries_its_id(lines, connect, fog, windows):
    servicer = InferenceServicer(BrokenInference(), Metrics(), Activity(1), 1 << 20)
    request = connect(fog).request("chain", {"x": windows}, request_id="window-17")
    sent: list[bytes | None] = []
    servicer.stream_infer(iter([request, MALFORMED]), Context(), sent.append)
    (line,) = lines
    assert ("window-17", "request failed: ZeroDivisionError") == (
        line["request_id"],
        line["message"],
    )
    assert "by zero" in line["traceback"]
    answers = [read_stream_response(data) for data in sent if data is not None]
    assert ["window-17", ""] == [answer.id for answer in answers]


def test_message_that_cannot_be_read_is_counted():
    metrics = Metrics()
    servicer = InferenceServicer(BrokenInference(), metrics, Activity(1), 1 << 20)
    servicer.stream_infer(iter([MALFORMED] * 3), Context(), lambda data: None)
    labels = {"model": UNKNOWN_MODEL, "outcome": Outcome.INVALID}
    assert 3 == metrics.registry.get_sample_value("fog_windows_total", labels)
