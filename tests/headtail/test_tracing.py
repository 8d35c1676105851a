"""The W3C trace context: what is read, what is ignored, and what costs nothing."""

import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headtail.errors import ConfigError
from headtail.tracing import (
    MAX_MEMBERS,
    MAX_TRACESTATE,
    TraceContext,
    Tracing,
    format_traceparent,
    from_metadata,
    from_parameters,
    open_tracer,
    parse_traceparent,
    parse_tracestate,
    to_parameters,
)

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
EXAMPLE = f"00-{TRACE}-{PARENT}-01"
"""Of the specification, 3.2.3."""
HEX = "0123456789abcdef"


@pytest.mark.parametrize(
    ("text", "flags", "is_sampled"),
    [
        (EXAMPLE, 1, True),
        (f"00-{TRACE}-{PARENT}-00", 0, False),
        (f"00-{TRACE}-{PARENT}-03", 3, True),  # level 2: random as well
        (f"00-{TRACE}-{PARENT}-fe", 254, False),  # bits that are not known yet
        (f"cc-{TRACE}-{PARENT}-01", 1, True),  # versions to come that begin alike
        (f"cc-{TRACE}-{PARENT}-01-what-the-future-will-be-like", 1, True),
    ],
)
def test_valid_contexts_are_read(text, flags, is_sampled):
    context = parse_traceparent(text)
    assert TraceContext(TRACE, PARENT, flags) == context
    assert is_sampled is context.is_sampled


@pytest.mark.parametrize(
    "text",
    [
        "", "00", TRACE, f"{EXAMPLE}-", f"{EXAMPLE}-more", f"{EXAMPLE} ", f" {EXAMPLE}",
        f"ff-{TRACE}-{PARENT}-01",
        f"00-{'0' * 32}-{PARENT}-01", f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{PARENT}-01", f"00-{TRACE}-{PARENT.upper()}-01",
        f"0A-{TRACE}-{PARENT}-01",
        f"00-{TRACE[:-1]}-{PARENT}-01", f"00-{TRACE}0-{PARENT}-01", f"00-{TRACE}-{PARENT}0-01",
        f"00-{TRACE}-{PARENT}-1", f"00-{TRACE}-{PARENT}-001", f"00-{TRACE}-{PARENT}-.0",
        f"00-{TRACE[:-1]}.-{PARENT}-01", f"cc-{TRACE}-{PARENT}-01.what", f"cc-{TRACE}-{PARENT}-011",
        f"cc-{TRACE}-{PARENT}-01-{'x' * 300}", f"00-{TRACE}-{PARENT}-01\n",
    ],
)  # fmt: skip
def test_what_is_not_valid_is_ignored(text):
    """Cases of the specification's own test suite among them."""
    assert parse_traceparent(text) is None


contexts = st.builds(
    TraceContext,
    st.text(HEX, min_size=32, max_size=32).filter(lambda text: text.strip("0")),
    st.text(HEX, min_size=16, max_size=16).filter(lambda text: text.strip("0")),
    st.integers(0, 255),
)


@settings(deadline=None)
@given(contexts)
def test_what_is_written_is_read_again(context):
    assert context == parse_traceparent(format_traceparent(context))
    assert context == from_parameters(to_parameters(context))
    assert 55 == len(format_traceparent(context))


@settings(deadline=None)
@given(st.text(max_size=80) | st.from_regex(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}.*"))
def test_whatever_comes_gives_a_valid_context_or_none(text):
    context = parse_traceparent(text, text)
    assert context is None or context == parse_traceparent(format_traceparent(context))


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("rojo=00f067aa0ba902b7,congo=t61rcWkgMzE", "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"),
        ("rojo=1 ,\tcongo=2,,", "rojo=1,congo=2"),
        ("fw529a3039@dt=FfD/a-b_c*,0tenant@sys=1", "fw529a3039@dt=FfD/a-b_c*,0tenant@sys=1"),
        ("a=b c", "a=b c"),
        ("rojo=1,rojo=2", ""), ("Rojo=1", ""), ("rojo", ""), ("rojo=", ""), ("=1", ""),
        ("rojo=a=b", ""), ("rojo=\x00", ""), ("rojo=\u00e9", ""), ("a b=1", ""),
        (",".join(f"k{i}=1" for i in range(MAX_MEMBERS)),) * 2,
        (",".join(f"k{i}=1" for i in range(MAX_MEMBERS + 1)), ""),
        ("k=" + "x" * MAX_TRACESTATE, ""),
    ],
)  # fmt: skip
def test_a_tracestate_is_passed_on_where_it_is_valid(text, kept):
    assert kept == parse_tracestate([text])
    assert TraceContext(TRACE, PARENT, 1, kept) == parse_traceparent(EXAMPLE, text)


def test_metadata_carries_one_context_and_joined_states():
    """Two of them are none; a state without a context is nothing."""
    call = [
        ("user-agent", "x"),
        ("traceparent", EXAMPLE),
        ("tracestate", "a=1"),
        ("tracestate", "b=2"),
    ]
    assert TraceContext(TRACE, PARENT, 1, "a=1,b=2") == from_metadata(call)
    assert from_metadata([*call, ("traceparent", EXAMPLE)]) is None
    assert from_metadata([("tracestate", "a=1")]) is None
    assert from_metadata([("traceparent", EXAMPLE.encode())]) is None


@pytest.mark.parametrize("value", [7, True, None, "", "00"])
def test_a_parameter_that_is_no_context_is_ignored(value):
    assert from_parameters({"traceparent": value}) is None
    assert from_parameters({"traceparent": EXAMPLE, "tracestate": 7}).state == ""


@pytest.mark.parametrize(
    ("settings", "environment"),
    [
        (Tracing(), {}),
        (Tracing(), {"OTEL_EXPORTER_OTLP_ENDPOINT": ""}),
        (Tracing("http://h:1"), {"OTEL_SDK_DISABLED": "true"}),
        (Tracing(), {"OTEL_SERVICE_NAME": "x", "OTEL_TRACES_SAMPLER": "always_on"}),
    ],
)
def test_nothing_is_traced_unless_an_endpoint_is_named(settings, environment):
    assert open_tracer(settings, "s", "i", environment) is None


def test_without_the_package_settings_fail_and_the_environment_warns(monkeypatch, caplog):
    """A setting of ours is meant for us; the variable may be meant for others."""
    monkeypatch.setitem(sys.modules, "headtail.spans", None)
    with pytest.raises(
        ConfigError, match=r"tracing\.endpoint: needs the package .*headtail\[otel\]"
    ):
        open_tracer(Tracing("http://127.0.0.1:1"), "s", "i", {})
    named = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}
    assert open_tracer(Tracing(), "s", "i", named) is None
    assert "nothing is traced" in caplog.text


def test_the_context_is_read_without_the_package():
    code = "import headtail.tracing, sys; sys.exit('opentelemetry' in sys.modules)"
    assert 0 == subprocess.run([sys.executable, "-c", code], check=False).returncode
