"""Spans made and sent with OpenTelemetry; imported only where an endpoint is configured."""

import logging
import threading
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    TraceState,
    set_span_in_context,
)

from headtail.errors import ConfigError
from headtail.tracing import Attribute, Kind, TraceContext, Tracing

log = logging.getLogger(__name__)

CLOSE_S = 5.0
"""Longest wait for the last spans to be sent."""
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_GRPC, _HTTP = "grpc", "http/protobuf"
_HTTP_PATH = "/v1/traces"
_KINDS = {"internal": SpanKind.INTERNAL, "client": SpanKind.CLIENT, "server": SpanKind.SERVER}


class OtlpSpan:
    """A span of the SDK."""

    def __init__(self, span: trace.Span) -> None:
        """Wrap one that has begun."""
        self._span = span
        context = span.get_span_context()
        self.context = TraceContext(
            f"{context.trace_id:032x}",
            f"{context.span_id:016x}",
            int(context.trace_flags),
            context.trace_state.to_header(),
        )
        self.is_recording = span.is_recording()

    def end(
        self, stop_ns: int, attributes: Mapping[str, Attribute] | None = None, error: str = ""
    ) -> None:
        """End it; times are Unix nanoseconds."""
        if attributes:
            self._span.set_attributes(attributes)
        if error:
            self._span.set_status(Status(StatusCode.ERROR, error))
        self._span.end(stop_ns)


class OtlpTracer:
    """Spans for a collector that speaks OpenTelemetry's own protocol."""

    def __init__(
        self, settings: Tracing, service: str, instance: str, environment: Mapping[str, str]
    ) -> None:
        """Begin; arguments are those of `open_tracer`.

        Raises:
            ConfigError: If the protocol is none that is known.
        """
        described = {"service.version": version("headtail"), "service.instance.id": instance}
        if not environment.get("OTEL_SERVICE_NAME"):
            described[SERVICE_NAME] = service
        sampler = None
        if settings.ratio < 1:
            sampler = ParentBased(TraceIdRatioBased(settings.ratio))
        self._exporter = _Reporting(_exporter(settings, environment))
        self._provider = TracerProvider(
            sampler=sampler, resource=Resource.create(described), shutdown_on_exit=False
        )
        self._provider.add_span_processor(BatchSpanProcessor(self._exporter))
        self._tracer = self._provider.get_tracer("headtail", version("headtail"))
        # Its warnings come with every attempt; `_Reporting` says once what changes.
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)

    def begin(
        self, name: str, start_ns: int, parent: TraceContext | None = None, kind: Kind = "internal"
    ) -> OtlpSpan:
        """Begin a span at a Unix time in nanoseconds; without a parent it begins a trace."""
        above = Context()
        if parent is not None:
            above = set_span_in_context(NonRecordingSpan(_context(parent)), above)
        span = self._tracer.start_span(name, above, _KINDS[kind], start_time=start_ns)
        return OtlpSpan(span)

    def close(self) -> None:
        """Send what has ended, within a few seconds, and end."""
        closing = threading.Thread(target=self._provider.shutdown, daemon=True)
        closing.start()
        closing.join(CLOSE_S)
        if closing.is_alive():
            self._exporter.shutdown()
            log.warning("traces: the last spans were not sent within %g s", CLOSE_S)


class _Reporting(SpanExporter):
    """Logs once that spans cannot be sent, and that they can again."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self._is_failing = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send spans; those that cannot be sent are lost."""
        try:
            result = self._exporter.export(spans)
        except Exception as error:  # noqa: BLE001 - whatever a transport raises, windows go on
            result, reason = SpanExportResult.FAILURE, f": {error}"
        else:
            reason = ""
        is_failing = result is not SpanExportResult.SUCCESS
        if is_failing and not self._is_failing:
            log.warning("traces: spans cannot be sent and are dropped%s", reason)
        if self._is_failing and not is_failing:
            log.info("traces: spans are sent again")
        self._is_failing = is_failing
        return result

    def shutdown(self) -> None:
        """Give up what is being sent."""
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Nothing is kept here."""
        return True


def _exporter(settings: Tracing, environment: Mapping[str, str]) -> SpanExporter:
    named = [name for variable in _PROTOCOLS if (name := environment.get(variable, ""))]
    protocol: str = settings.protocol or next(iter(named), _GRPC)
    # What is not given here the exporters take from OpenTelemetry's variables.
    given: dict[str, Any] = {}
    if protocol == _GRPC:
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as Grpc

        if settings.endpoint:
            given["endpoint"] = settings.endpoint
        return Grpc(**given)
    if protocol == _HTTP:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as Http

        if settings.endpoint:
            base = settings.endpoint.rstrip("/")
            given["endpoint"] = base if base.endswith(_HTTP_PATH) else base + _HTTP_PATH
        return Http(**given)
    raise ConfigError("tracing.protocol", f"expected {_GRPC} or {_HTTP}, received '{protocol}'")


def _context(parent: TraceContext) -> SpanContext:
    return SpanContext(
        int(parent.trace_id, 16),
        int(parent.span_id, 16),
        is_remote=True,
        trace_flags=TraceFlags(parent.flags),
        trace_state=TraceState.from_header([parent.state]) if parent.state else None,
    )
