"""Spans of both programs in one trace, received by a collector as OpenTelemetry sends them."""

import subprocess
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import grpc
import pytest

from programs import BIN, Program, running

service_pb2 = pytest.importorskip("opentelemetry.proto.collector.trace.v1.trace_service_pb2")
pytest.importorskip("opentelemetry.exporter.otlp.proto.grpc")

pytestmark = pytest.mark.e2e
WINDOW = b"%a\n" % ([[0.5, 1.5]] * 16)
WINDOWS = 6
EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
CONTEXT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


class Collector:
    """Takes what is exported; a span is the message, with the name of its service."""

    def __init__(self) -> None:
        """Begin with none."""
        self.received: list[tuple[str, object]] = []
        self.endpoint = ""
        self.changed = threading.Condition()

    def take(self, data: bytes) -> bytes:
        """Take one message."""
        request = service_pb2.ExportTraceServiceRequest.FromString(data)
        with self.changed:
            for resource in request.resource_spans:
                names = {a.key: a.value.string_value for a in resource.resource.attributes}
                for scope in resource.scope_spans:
                    self.received += [(names["service.name"], span) for span in scope.spans]
            self.changed.notify_all()
        return service_pb2.ExportTraceServiceResponse().SerializeToString()

    def spans(self, name: str) -> list:
        """Return the spans of a name, oldest first."""
        found = [span for _, span in self.received if span.name == name]
        return sorted(found, key=lambda span: span.start_time_unix_nano)

    def wait_for(self, name: str, count: int = 1) -> list:
        """Return them once there are so many."""
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.spans(name)) >= count, 60), self.received
        return self.spans(name)


@pytest.fixture
def collector() -> Iterator[Collector]:
    """A collector that speaks gRPC."""
    made = Collector()
    server = grpc.server(ThreadPoolExecutor(2))
    method = grpc.unary_unary_rpc_method_handler(lambda data, _: made.take(data))
    name, _, call = EXPORT[1:].partition("/")
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(name, {call: method}),))
    made.endpoint = f"http://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    yield made
    server.stop(None).wait()


@pytest.fixture
def http_collector() -> Iterator[Collector]:
    """A collector that speaks HTTP."""
    made = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.path == "/v1/traces"
            answer = made.take(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    made.endpoint = f"http://127.0.0.1:{server.server_port}"
    yield made
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let spans be sent at once rather than every five seconds."""
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")


@pytest.fixture
def fog(write_test_bundle, key_folder, tmp_path, often) -> Iterator:
    """Return a function that starts the fog with settings of tracing."""
    stack: list = []

    def start(settings: str = "", *flags: str) -> Program:
        write_test_bundle(tmp_path)
        config = tmp_path / "fog.toml"
        config.write_text(settings)
        trust = ("--trust", key_folder / "trust", "--listen", "127.0.0.1:0")
        command = ("fog-server", "--config", config, "--bundles", tmp_path, *trust, *flags)
        stack.append(running(command, tmp_path / "fog.log"))
        return stack[-1].__enter__()

    yield start
    for program in stack:
        program.__exit__(None, None, None)


def run_agent(tmp_path: Path, key_folder: Path, address: str, *flags: str) -> None:
    """Run some windows through the real agent."""
    command = [
        BIN / "edge-agent", "run", "--bundle", next(tmp_path.glob("*.bundle")),
        "--trust", key_folder / "trust", "--fog", address, "--source", "stdin", "--agent", "a-1",
        "--sink", f"jsonl:{tmp_path / 'out.jsonl'}", "--spool", "off", "--batch", "1",
        "--connect-s", "20", "--deadline-s", "20", *flags,
    ]  # fmt: skip
    done = subprocess.run(
        command, input=WINDOW * WINDOWS, capture_output=True, check=False, timeout=60
    )
    assert 0 == done.returncode, done.stderr.decode()
    assert WINDOWS == len((tmp_path / "out.jsonl").read_text().splitlines())


def attributes(span: object) -> dict[str, object]:
    """Return a span's attributes."""
    return {a.key: getattr(a.value, a.value.WhichOneof("value")) for a in span.attributes}


def assert_within(inner: Sequence, outer: Sequence) -> None:
    """Compare times of one clock."""
    for a, b in zip(inner, outer, strict=True):
        assert b.start_time_unix_nano <= a.start_time_unix_nano
        assert a.end_time_unix_nano <= b.end_time_unix_nano


def test_a_window_is_one_trace_through_both_programs(
    fog, collector, key_folder, tmp_path, monkeypatch
):
    """Parent and child are linked across the stream, by the parameter of each request."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint)
    address = fog().wait_for(r"serving on (\S+)$")
    run_agent(tmp_path, key_folder, address)
    names = ["edge.window", "edge.head", "edge.network"]
    windows, heads, networks = (collector.wait_for(name, WINDOWS) for name in names)
    names = ["fog.request", "fog.queue", "fog.compute"]
    requests, queues, computes = (collector.wait_for(name, WINDOWS) for name in names)
    assert WINDOWS == len({w.trace_id for w in windows}) == len(requests)
    assert {b""} == {w.parent_span_id for w in windows}
    for child, parent in (
        (heads, windows), (networks, windows), (requests, networks),
        (queues, requests), (computes, requests),
    ):  # fmt: skip
        by_id = {span.span_id: span for span in parent}
        for span in child:
            assert by_id[span.parent_span_id].trace_id == span.trace_id
        assert_within(child, [by_id[span.parent_span_id] for span in child])
    services = {span.name: service for service, span in collector.received}
    assert {"edge": "edge-agent", "fog": "fog-server"} == {
        name.partition(".")[0]: service for name, service in services.items()
    }
    described = attributes(windows[0])
    assert ("chain", 1, "float32", "fog", 1) == tuple(
        described[f"headtail.{key}"]
        for key in ("model", "partition_point", "encoding", "where", "windows")
    )
    ids = {attributes(span)["headtail.request_id"] for span in (*windows, *requests)}
    assert {f"a-1/{number}" for number in range(WINDOWS)} == ids


def test_over_http_with_settings_of_our_own_and_workers(fog, http_collector, key_folder, tmp_path):
    """No variable is needed; each worker sends its own spans."""
    settings = f'[tracing]\nendpoint = "{http_collector.endpoint}"\nprotocol = "http/protobuf"\n'
    address = fog(settings, "--workers", "2").wait_for(r"supervisor: serving on (\S+)$")
    traces = ("--trace-endpoint", http_collector.endpoint, "--trace-protocol", "http/protobuf")
    run_agent(tmp_path, key_folder, address, *traces)
    networks = {span.span_id for span in http_collector.wait_for("edge.network", WINDOWS)}
    requests = http_collector.wait_for("fog.request", WINDOWS)
    assert networks == {span.parent_span_id for span in requests}


def test_a_fog_without_traces_answers_and_an_agent_that_does_not_sample_sends_that_on(
    fog, collector, key_folder, tmp_path
):
    """Windows are answered whether they are traced or not; who began a trace decides."""
    settings = f'[tracing]\nendpoint = "{collector.endpoint}"\n'
    address = fog(settings).wait_for(r"serving on (\S+)$")
    run_agent(
        tmp_path, key_folder, address, "--trace-endpoint", collector.endpoint, "--trace-ratio", "0"
    )
    with grpc.insecure_channel(address) as channel:
        call = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
        for metadata in ([("traceparent", CONTEXT), ("tracestate", "rojo=1")], []):
            with pytest.raises(grpc.RpcError, match="NOT_FOUND"):
                call(b"\x0a\x01z", timeout=20, metadata=metadata)
    called, begun = collector.wait_for("fog.request", 2)
    assert (CONTEXT[3:35], CONTEXT[36:52]) == (called.trace_id.hex(), called.parent_span_id.hex())
    assert "rojo=1" == called.trace_state
    assert b"" == begun.parent_span_id
    assert 2 == called.status.code  # an error
    assert "z" in called.status.message
    assert not collector.spans("edge.window")
    assert 2 == len(collector.spans("fog.request"))


def test_a_collector_that_is_away_holds_nobody_up(fog, key_folder, tmp_path, monkeypatch):
    """One line says so; every window is answered, and both programs end in time."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    program = fog()
    run_agent(tmp_path, key_folder, program.wait_for(r"serving on (\S+)$"))
    program.wait_for("(traces: spans cannot be sent)")
    program.process.terminate()
    assert 0 == program.process.wait(20)
    assert 1 == program.text.count("spans cannot be sent")
