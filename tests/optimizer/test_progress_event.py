"""Events of a run: written whole and at once, read back the same, and not too many."""

import io
import json

import pytest

from headtail.errors import ConfigError
from optimizer.progress_event import (
    EventWriter,
    Progressed,
    RunFailed,
    RunFinished,
    Said,
    StageBegun,
    StageEnded,
    decode_event,
)

EVENTS = (
    StageBegun("train"),
    Progressed("train", 3, 20, "loss 0.1"),
    StageEnded("train", 1.5),
    Said("one\nline “quoted”"),
    RunFailed("no data"),
    RunFinished("out/a-1.bundle", "ab" * 32),
)


class Out(io.StringIO):
    """A stream that keeps what reached the reader."""

    seen = ""

    def flush(self) -> None:
        """Show everything."""
        self.seen = self.getvalue()


def read(out: Out) -> list[object]:
    """Return the events that reached the reader."""
    return [decode_event(line.encode()) for line in out.seen.splitlines()]


def test_what_is_written_is_read() -> None:
    """Each on a line of its own, whatever it says."""
    out = Out()
    for event in EVENTS:
        EventWriter(out).write(event)
    assert list(EVENTS) == read(out)


@pytest.mark.parametrize(
    "line", [b"", b"Epoch 1/3", b"{", b'{"event":"unheard of"}', b'{"event":"stage"}', b"\xff\xfe"]
)
def test_what_is_no_event_is_none(line: bytes) -> None:
    """Libraries print what they like."""
    assert decode_event(line) is None


def test_progress_comes_at_most_twice_a_second() -> None:
    """And the last step always."""
    out, now = Out(), 0.0
    with EventWriter(out, lambda: now).stage("train") as advance:
        for step in range(1, 101):
            now = step / 100
            advance(step, 100, "")
    begun, *progress, ended = read(out)
    assert (StageBegun("train"), StageEnded("train", 1.0)) == (begun, ended)
    assert [1, 51, 100] == [p.done for p in progress]


def test_failure_is_an_event_and_goes_on() -> None:
    """What is ours by its text; what is not, with its kind."""
    for error, text in (
        (ConfigError("a.toml", "no\n such key"), "a.toml: no such key"),
        (ZeroDivisionError("by zero"), "ZeroDivisionError: by zero"),
    ):
        out = Out()
        writer = EventWriter(out)
        with pytest.raises(type(error)), writer.run(), writer.stage("load"):
            raise error
        assert [StageBegun("load"), RunFailed(text)] == read(out)


def test_interrupt_is_no_failure() -> None:
    """A run that was stopped goes on later."""
    out = Out()
    with pytest.raises(KeyboardInterrupt), EventWriter(out).run():
        raise KeyboardInterrupt
    assert [] == read(out)


def test_event_is_one_json_object_a_line() -> None:
    """For readers in any language."""
    out = Out()
    EventWriter(out).write(Said("a"))
    assert {"event": "line", "text": "a"} == json.loads(out.seen)
