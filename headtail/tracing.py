"""Traces: the W3C trace context that travels with requests, and where spans go, if anywhere.

Nothing is traced unless an endpoint is configured: then, and only then, `headtail.spans` and the
OpenTelemetry packages behind it are imported. Reading and writing the context needs neither.

Source: W3C Trace Context, https://www.w3.org/TR/trace-context-2/, sections 2 and 3 of the formats.
"""

import logging
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Literal, Protocol

import msgspec

from headtail.errors import ConfigError

log = logging.getLogger(__name__)

TRACEPARENT, TRACESTATE = "traceparent", "tracestate"
"""Names of both, as metadata of a unary call and as parameters of a stream's request."""
SAMPLED = 0x01
MAX_TRACEPARENT, MAX_TRACESTATE, MAX_MEMBERS = 256, 512, 32
"""Longest texts that are looked at; a tracestate has at most so many members."""
ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_DISABLED = "OTEL_SDK_DISABLED"
_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
# Level 2: a key may begin with a digit; level 1's keys of tenants are among these.
# A value holds what can be printed but for `,` and `=`, and does not end in a blank.
_BLACK = r"\x21-\x2b\x2d-\x3c\x3e-\x7e"
_MEMBER = re.compile(rf"[a-z0-9][a-z0-9_\-*/@]{{0,255}}=[\x20{_BLACK}]{{0,255}}[{_BLACK}]")

Attribute = str | int | float | bool


@dataclass(frozen=True, slots=True)
class TraceContext:
    """Which span of which trace a request belongs to."""

    trace_id: str
    """32 lower-case hexadecimal digits, not all zero."""
    span_id: str
    """16 of them, not all zero."""
    flags: int = 0
    """Eight bits; the lowest says that the trace is recorded."""
    state: str = ""
    """What other tracing systems wrote, valid or empty."""

    @property
    def is_sampled(self) -> bool:
        """Whether who sent it records the trace."""
        return bool(self.flags & SAMPLED)


class Tracing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Section `tracing`: where spans go; see docs/tracing.md."""

    endpoint: str = ""
    """URL of an OpenTelemetry collector, such as http://127.0.0.1:4317; empty means that of
    OTEL_EXPORTER_OTLP_ENDPOINT, and without it nothing is traced."""
    protocol: Literal["", "grpc", "http/protobuf"] = ""
    """How it is spoken to; empty means OTEL_EXPORTER_OTLP_PROTOCOL, and without it grpc."""
    ratio: Annotated[float, msgspec.Meta(ge=0, le=1)] = 1.0
    """Share of the traces begun here that is recorded; 1 leaves it to OTEL_TRACES_SAMPLER, and
    without that all are. A request that brings a context follows that."""


class Span(Protocol):
    """A span that has begun."""

    @property
    def context(self) -> TraceContext:
        """What makes others its children."""
        ...

    @property
    def is_recording(self) -> bool:
        """Whether it is kept: attributes of one that is not need not be made."""
        ...

    def end(
        self, stop_ns: int, attributes: Mapping[str, Attribute] | None = None, error: str = ""
    ) -> None:
        """End it at a Unix time in nanoseconds; `error` says what failed."""
        ...


Kind = Literal["internal", "client", "server"]


class Tracer(Protocol):
    """Makes spans and sends them away on a thread of its own."""

    def begin(
        self, name: str, start_ns: int, parent: TraceContext | None = None, kind: Kind = "internal"
    ) -> Span:
        """Begin a span at a Unix time in nanoseconds; without a parent it begins a trace."""
        ...

    def close(self) -> None:
        """Send what has ended, within a few seconds, and end."""
        ...


def parse_traceparent(text: str, state: str = "") -> TraceContext | None:
    """Return the context that a caller sent; None where it is not valid: it is then ignored.

    Args:
        text: Of a version that is known, or of a later one that begins alike.
        state: The tracestate beside it; one that is not valid is dropped alone.
    """
    if len(text) > MAX_TRACEPARENT or (match := _TRACEPARENT.fullmatch(text)) is None:
        return None
    version, trace_id, span_id, flags, more = match.groups()
    if version == "ff" or (version == "00" and more is not None):
        return None
    if not trace_id.strip("0") or not span_id.strip("0"):
        return None
    return TraceContext(trace_id, span_id, int(flags, 16), parse_tracestate([state]))


def format_traceparent(context: TraceContext) -> str:
    """Return the context as it is sent, in version 00."""
    return f"00-{context.trace_id}-{context.span_id}-{context.flags:02x}"


def parse_tracestate(texts: Iterable[str]) -> str:
    """Return a tracestate as it may be passed on, its headers joined; empty where it is not valid.

    One that is too long is dropped whole, as the specification allows.
    """
    joined = ",".join(texts)
    if len(joined) > MAX_TRACESTATE:
        return ""
    members = [member for part in joined.split(",") if (member := part.strip(" \t"))]
    if len(members) > MAX_MEMBERS or not all(map(_MEMBER.fullmatch, members)):
        return ""
    keys = {member.partition("=")[0] for member in members}
    return ",".join(members) if len(keys) == len(members) else ""


def from_metadata(metadata: Iterable[tuple[str, str | bytes]]) -> TraceContext | None:
    """Return the context in a call's metadata; None where there is none, or more than one."""
    found: dict[str, list[str]] = {TRACEPARENT: [], TRACESTATE: []}
    for key, value in metadata:
        if key in found and isinstance(value, str):
            found[key].append(value)
    if len(found[TRACEPARENT]) != 1:
        return None
    return parse_traceparent(found[TRACEPARENT][0].strip(" \t"), ",".join(found[TRACESTATE]))


def from_parameters(parameters: Mapping[str, object]) -> TraceContext | None:
    """Return the context in a request's parameters; None where there is none."""
    text, state = parameters.get(TRACEPARENT), parameters.get(TRACESTATE, "")
    if not isinstance(text, str):
        return None
    return parse_traceparent(text, state if isinstance(state, str) else "")


def to_parameters(context: TraceContext) -> dict[str, str]:
    """Return the parameters that carry a context."""
    state = {TRACESTATE: context.state} if context.state else {}
    return {TRACEPARENT: format_traceparent(context)} | state


def open_tracer(
    settings: Tracing, service: str, instance: str, environment: Mapping[str, str]
) -> Tracer | None:
    """Return what makes spans; None where nothing is to be traced.

    Args:
        settings: Where spans go.
        service: Name of the program; OTEL_SERVICE_NAME wins.
        instance: Which one of that name it is.
        environment: With OpenTelemetry's own variables.

    Raises:
        ConfigError: If the settings name an endpoint and the package is missing.
    """
    is_wanted = settings.endpoint or any(environment.get(name) for name in ENDPOINTS)
    if not is_wanted or environment.get(_DISABLED, "").lower() == "true":
        return None
    try:
        from headtail.spans import OtlpTracer
    except ImportError as error:
        missing = f"needs the package {error.name}: pip install 'headtail[otel]'"
        if settings.endpoint:
            raise ConfigError("tracing.endpoint", missing) from error
        log.warning("nothing is traced: OTEL_EXPORTER_OTLP_ENDPOINT %s", missing)
        return None
    return OtlpTracer(settings, service, instance, environment)
