"""Spans of OpenTelemetry's SDK: contexts, sampling, and what is said of an exporter."""

import logging

import pytest

pytest.importorskip("opentelemetry.exporter.otlp.proto.grpc")

from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from headtail.errors import ConfigError
from headtail.spans import OtlpTracer, _Reporting
from headtail.tracing import TraceContext, Tracing, open_tracer

AWAY = "http://127.0.0.1:9"
PARENT = TraceContext("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7", 1, "rojo=1")


@pytest.fixture
def make():
    """Return a function that makes a tracer, whose collector is away; all are closed."""
    made = []

    def tracer(ratio: float = 1.0) -> OtlpTracer:
        made.append(open_tracer(Tracing(AWAY, "http/protobuf", ratio), "s", "i", {}))
        return made[-1]

    yield tracer
    for each in made:
        each.close()


def test_a_child_has_its_parents_trace_and_state(make):
    span = make().begin("child", 1, PARENT, "server")
    assert PARENT.trace_id == span.context.trace_id
    assert PARENT.span_id != span.context.span_id
    assert (1, "rojo=1") == (span.context.flags & 1, span.context.state)
    assert span.is_recording


@pytest.mark.parametrize("ratio", [0.0, 1.0])
def test_a_parent_decides_and_else_the_ratio(make, ratio):
    tracer = make(ratio)
    for flags in (0, 1):
        parent = TraceContext(PARENT.trace_id, PARENT.span_id, flags)
        assert bool(flags) is tracer.begin("child", 1, parent).context.is_sampled
    root = tracer.begin("root", 1)
    assert bool(ratio) is root.context.is_sampled is root.is_recording


def test_two_roots_are_two_traces(make):
    tracer = make()
    assert 2 == len({tracer.begin("root", 1).context.trace_id for _ in range(2)})


@pytest.mark.parametrize(
    "variable", ["OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"]
)
def test_a_protocol_that_is_not_known_is_one_line(variable):
    with pytest.raises(ConfigError, match="expected grpc or http/protobuf, received 'http/json'"):
        open_tracer(Tracing(AWAY), "s", "i", {variable: "http/json"})


class Exporter(SpanExporter):
    """Does as it is told."""

    def __init__(self, outcomes: list[SpanExportResult | Exception]) -> None:
        """Give these, one after the other."""
        self._outcomes = outcomes

    def export(self, spans) -> SpanExportResult:
        """Give the next one."""
        outcome = self._outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


def test_a_change_of_the_exporters_fortune_is_said_once(caplog):
    caplog.set_level(logging.INFO)
    good, bad = SpanExportResult.SUCCESS, SpanExportResult.FAILURE
    reporting = _Reporting(Exporter([good, bad, RuntimeError("odd"), bad, good, good, bad]))
    for _ in range(7):
        reporting.export([])
    assert [
        "traces: spans cannot be sent and are dropped",
        "traces: spans are sent again",
        "traces: spans cannot be sent and are dropped",
    ] == caplog.messages
