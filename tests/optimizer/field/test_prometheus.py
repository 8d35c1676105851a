"""The client of Prometheus' API: what it says of servers that are none, or have nothing to say."""

import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

import pytest

from headtail.errors import DataError
from optimizer.field import prometheus
from optimizer.field.prometheus import Prometheus, selector

VECTOR = {
    "status": "success",
    "data": {
        "resultType": "vector",
        "result": [
            {"metric": {"part": "head"}, "value": [1.5, "0.25"]},
            {"metric": {"part": "tail"}, "value": [1.5, "NaN"]},
            {"metric": {}, "value": [1.5, "+Inf"]},
        ],
    },
}


class Handler(BaseHTTPRequestHandler):
    """Answers as the server says, and keeps what it was asked."""

    def do_POST(self) -> None:
        """Answer."""
        form = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.server.asked.append((self.path, parse_qs(form)))
        status, body = self.server.answer
        if self.server.wait is not None:
            self.server.wait.wait(20)
        self.send_response(status)
        self.send_header("Location", "/elsewhere")
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        """Note that somebody was led here."""
        self.server.asked.append(("GET", {}))

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    """Return a server on loopback."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.asked, server.answer, server.wait = [], (200, b""), None
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def client(server: ThreadingHTTPServer, timeout_s: float = 20.0) -> Prometheus:
    """Return a client of it, below a path."""
    return Prometheus(f"http://127.0.0.1:{server.server_port}/prom/", 1.5, timeout_s)


def test_query_is_asked_of_the_moment_and_its_vector_read(server: ThreadingHTTPServer) -> None:
    """Values that are no number are as good as none."""
    server.answer = (200, json.dumps(VECTOR).encode())
    (sample,) = client(server).query('a{b="c&d"}')
    assert ({"part": "head"}, 0.25) == (dict(sample.labels), sample.value)
    assert [("/prom/api/v1/query", {"query": ['a{b="c&d"}'], "time": ["1.500"]})] == server.asked


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (200, b"<html>", "answered what is no vector of samples: JSON is malformed"),
        (200, b"\xff", "answered what is no vector of samples"),
        (200, b"[]", "answered what is no vector of samples: Expected `object`, got `array`"),
        (200, b'{"status":"success"}', "refused up: success"),
        (200, b'{"status":"error","error":"out\\n of  luck"}', "refused up: out of luck$"),
        (200, json.dumps(VECTOR).replace("0.25", "many").encode(), "what is no number"),
        (200, json.dumps(VECTOR).replace('"0.25"', "0.25").encode(), "Expected `str`, got `float`"),
        (
            422, b'{"status":"error","error":"parse error"}',
            "answered 422 Unprocessable .*: parse error$",
        ),
        (200, b'{"x":' + b"[" * 100_000, "answered what is no vector of samples"),
        (503, b"busy", "answered 503 Service Unavailable$"),
        (302, b"", "answered 302 Found$"),
    ],
)  # fmt: skip
def test_what_is_no_answer_is_told_on_one_line(
    server: ThreadingHTTPServer, status: int, body: bytes, message: str
) -> None:
    server.answer = (status, body)
    with pytest.raises(DataError, match=message) as caught:
        client(server).query("up")
    assert str(caught.value).startswith(f"Prometheus http://127.0.0.1:{server.server_port}/prom: ")
    assert "\n" not in str(caught.value)
    assert 1 == len(server.asked)  # nobody was led elsewhere


def test_endless_answers_are_not_read_to_their_end(
    server: ThreadingHTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prometheus, "MAX_ANSWER_BYTES", 1000)
    server.answer = (200, b" " * 1001)
    with pytest.raises(DataError, match="answered more than 1000 bytes"):
        client(server).query("up")


def test_silence_ends_with_the_time_allowed(server: ThreadingHTTPServer) -> None:
    server.wait = threading.Event()
    with pytest.raises(DataError, match=r"no answer within 0\.05 s"):
        client(server, 0.05).query("up")
    server.wait.set()


def test_nobody_there_is_told() -> None:
    with socket.socket() as taken:  # bound, and listens to nobody
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(DataError, match=f"Prometheus {url}: cannot be reached: Connection ref"):
            Prometheus(url, 0.0).query("up")
    with pytest.raises(DataError, match="cannot be reached: "):
        Prometheus("http://nowhere.invalid:9090", 0.0).query("up")


def test_values_of_matchers_cannot_leave_their_quotes() -> None:
    assert '{a="x\\"} or up{b=\\"\\\\\\n",b="2"}' == selector({"b": "2", "a": 'x"} or up{b="\\\n'})
