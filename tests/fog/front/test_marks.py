"""Streams of ours are told by their first bytes, and nothing else is taken for one."""

import pytest
from first_bytes import MARKED, PREFACE, client_hello, settings_frame
from hypothesis import given, settings
from hypothesis import strategies as st

from fog_server.front.plain_mark import MARKED_BYTES, plain_verdict
from fog_server.front.tls_mark import MAX_HELLO_BYTES, tls_verdict
from fog_server.front.verdict import Verdict
from headtail.http2 import frames
from headtail.http2.call import PROTOCOLS

OURS = b"headtail-stream"
HELLO = client_hello("h2", "headtail-stream")


def decide(verdict, data: bytes, limit: int) -> tuple[Verdict | int, int]:
    """Return what is said of bytes that come one by one, and after how many."""
    for count in range(1, len(data) + 1):
        said = verdict(data[:count])
        if isinstance(said, Verdict):
            return said, count
        assert count < said <= limit
    return said, len(data)


def test_marked_preface_is_ours_once_its_first_setting_is_there():
    assert MARKED_BYTES == len(PREFACE) + 9 + 6
    assert (Verdict.OURS, MARKED_BYTES) == decide(plain_verdict, MARKED, MARKED_BYTES)
    assert Verdict.OURS is plain_verdict(MARKED[:MARKED_BYTES])


def test_client_of_ours_sends_the_mark():
    data = frames.PREFACE + frames.our_settings(is_client=True)
    assert Verdict.OURS is plain_verdict(data[:MARKED_BYTES])
    assert Verdict.OURS is tls_verdict(client_hello(*PROTOCOLS))


@pytest.mark.parametrize(
    "frame",
    [
        settings_frame((2, 0), (0xF7A1, 1)),
        settings_frame((0xF7A1, 2)),
        settings_frame((0xF7A2, 1)),
        settings_frame((0xF7A1, 1), kind=6),
        settings_frame((0xF7A1, 1), flags=1),
        settings_frame((0xF7A1, 1), stream=1),
        b"\0\0\7" + settings_frame((0xF7A1, 1))[3:] + b"\0",
    ],
    ids=["second", "value", "identifier", "type", "flags", "stream", "length"],
)
def test_other_first_frames_are_not_ours(frame):
    said, _ = decide(plain_verdict, PREFACE + frame, MARKED_BYTES)
    assert Verdict.OTHER is said


def test_client_without_settings_is_not_waited_for():
    """It may wait for the server's settings, so the head of its frame has to be enough."""
    data = PREFACE + settings_frame()
    assert (Verdict.OTHER, len(data)) == decide(plain_verdict, data, MARKED_BYTES)


@given(st.binary(max_size=64), st.integers(0, len(MARKED)))
def test_plaintext_is_ours_only_if_it_is_marked(data, kept):
    data = MARKED[:kept] + data
    is_ours = data[:24] + data[27:MARKED_BYTES] == MARKED[:24] + MARKED[27:MARKED_BYTES]
    length = int.from_bytes(data[24:27], "big")
    is_ours = is_ours and len(data) >= MARKED_BYTES and length > 0 and length % 6 == 0
    assert is_ours == (plain_verdict(data) is Verdict.OURS)


@given(st.binary(min_size=1, max_size=8))
def test_first_byte_that_cannot_be_ours_decides(data):
    for verdict, first in ((plain_verdict, b"P"), (tls_verdict, b"\x16")):
        if data[:1] != first:
            assert Verdict.OTHER is verdict(data)


names = st.one_of(
    st.sampled_from(["h2", "http/1.1", "headtail-stream", "headtail-stream2", "headtail"]),
    st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=40),
)


@settings(max_examples=40)  # a context of TLS each
@given(st.lists(names, max_size=12), st.sampled_from(["a.example", "fog", "x" * 60 + ".example"]))
def test_client_hello_is_ours_if_it_offers_our_protocol(protocols, host):
    hello = client_hello(*protocols, host=host)
    expected = Verdict.OURS if OURS.decode() in protocols else Verdict.OTHER
    assert expected is tls_verdict(hello)
    assert expected is tls_verdict(hello + b"early data")


def test_client_hello_is_waited_for_until_it_is_whole():
    hello = client_hello("headtail-stream", "h2")
    assert (Verdict.OURS, len(hello)) == decide(tls_verdict, hello, len(hello))
    assert 5 == tls_verdict(hello[:1])
    assert len(hello) == tls_verdict(hello[:5])


def test_longest_hello_that_is_read_is_one_record():
    head = b"\x16\x03\x01"
    assert MAX_HELLO_BYTES == 5 + (1 << 14) == tls_verdict(head + b"\x40\x00")
    assert Verdict.OTHER is tls_verdict(head + b"\x40\x01")
    assert Verdict.OTHER is tls_verdict(head + b"\x00\x04")


def test_hello_in_two_records_is_not_ours():
    hello = client_hello("headtail-stream", "h2")
    message = hello[5:]
    records = [
        b"\x16\x03\x01" + len(part).to_bytes(2, "big") + part
        for part in (message[:100], message[100:])
    ]
    assert Verdict.OTHER is tls_verdict(b"".join(records))


def test_hello_that_offers_protocols_twice_is_not_ours():
    hello = client_hello("headtail-stream")
    extension = b"\0\x10" + b"\0\x12" + b"\0\x10" + bytes([len(OURS)]) + OURS
    assert 1 == hello.count(extension)
    longer = hello.replace(extension, extension * 2)
    grown = bytearray(longer)
    more = len(extension)
    # Lengths of the record, of the message and of the extensions, which follow 3 vectors.
    session = 5 + 4 + 34
    suites = session + 1 + grown[session]
    methods = suites + 2 + int.from_bytes(grown[suites : suites + 2], "big")
    extensions = methods + 1 + grown[methods]
    for start, size in ((3, 2), (6, 3), (extensions, 2)):
        value = int.from_bytes(grown[start : start + size], "big") + more
        grown[start : start + size] = value.to_bytes(size, "big")
    assert Verdict.OTHER is tls_verdict(bytes(grown))


@given(st.binary(max_size=400))
def test_random_bytes_are_never_our_hello(data):
    for begun in (data, b"\x16\x03" + data, b"\x16\x03\x01\x00\xc8\x01\x00\x00\xc4" + data):
        assert tls_verdict(begun) is not Verdict.OURS


@given(st.dictionaries(st.integers(0, len(HELLO) - 1), st.integers(0, 255), max_size=4))
def test_damaged_hello_is_read_without_an_error(damage):
    hello = bytearray(HELLO)
    for position, value in damage.items():
        hello[position] = value
    said = tls_verdict(bytes(hello))
    assert isinstance(said, Verdict) or len(hello) < said <= MAX_HELLO_BYTES
    if said is Verdict.OURS:
        assert OURS in hello
