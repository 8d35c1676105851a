"""Progress that is none, threads that die, and the heartbeat that stops for either."""

import itertools
import logging
import socket
import threading

import pytest

from headtail.liveness import Heartbeat, Progress, Threads, first_of
from headtail.systemd import Notifier


class Work:
    """Counts that a test moves by hand, and a clock."""

    def __init__(self) -> None:
        self.now_s, self.underway, self.ended = 0.0, 0, 0
        self.progress = Progress(
            "windows", lambda: self.underway, lambda: self.ended, 10.0, lambda: self.now_s
        )

    def at(self, now_s: float) -> str | None:
        """Return what is found at a time."""
        self.now_s = now_s
        return self.progress.check()


def test_nothing_under_way_is_never_stuck():
    work = Work()
    assert [None, None] == [work.at(100.0), work.at(1000.0)]


def test_work_that_never_ends_is_stuck():
    """Counted from when it was first seen under way."""
    work = Work()
    assert work.at(100.0) is None
    work.underway = 3
    assert work.at(109.9) is None
    assert work.at(119.8) is None
    assert "3 windows under way and none ended for 12 s" == work.at(121.9)


def test_work_that_has_just_begun_is_not_stuck_however_long_nobody_looked():
    work = Work()
    assert work.at(100.0) is None
    work.underway = 1
    assert work.at(1000.0) is None
    work.underway = 0
    assert work.at(1009.0) is None
    work.underway = 1
    assert work.at(1900.0) is None


def test_slow_work_that_ends_is_not_stuck():
    work = Work()
    work.underway = 3
    for now_s in range(0, 100, 9):
        work.ended += 1
        assert work.at(now_s) is None
    assert work.at(99 + 10.5) is not None
    work.ended += 1
    assert work.at(115.0) is None


def test_thread_that_dies_is_named_once_and_for_good(caplog):
    threads = Threads()
    with threads.watched(), caplog.at_level(logging.ERROR):
        assert threads.check() is None
        for name, work in (("fine", int), ("reader", {}.popitem), ("writer", {}.popitem)):
            thread = threading.Thread(target=work, name=name)
            thread.start()
            thread.join()
    assert "thread reader died of KeyError" == threads.check()
    assert ["thread reader died", "thread writer died"] == caplog.messages
    assert all(record.exc_info for record in caplog.records)


def test_first_of_several_checks():
    assert first_of([lambda: None, lambda: None])() is None
    assert "b" == first_of([lambda: None, lambda: "b", lambda: "c"])()


@pytest.fixture
def manager(tmp_path):
    """Return a bound socket and its address."""
    address = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(address)
        receiver.settimeout(5)
        yield receiver, address


def test_heart_beats_while_all_is_well_and_says_when_not(manager, caplog):
    """Well, stuck twice, well again: two lines in the log."""
    receiver, address = manager
    found = itertools.chain([None, "stuck", "stuck"], itertools.repeat(None))
    with (
        caplog.at_level(logging.WARNING),
        Heartbeat(Notifier(address, 0.03), lambda: next(found), lambda: "fine"),
    ):
        told = [receiver.recv(4096) for _ in range(4)]
    beat, stuck = b"WATCHDOG=1\nSTATUS=fine", b"STATUS=not live: stuck"
    assert [beat, stuck, stuck, beat] == told
    assert ["not live: stuck; the watchdog is not fed", "live again"] == caplog.messages


def test_check_that_hangs_or_fails_gives_no_beat(manager):
    """The watchdog then ends the program, which is what it is for."""
    receiver, address = manager
    receiver.settimeout(0.1)  # the measurement itself
    hanging = threading.Event()
    with Heartbeat(Notifier(address, 0.03), lambda: str(hanging.wait()), str):
        with pytest.raises(TimeoutError):
            receiver.recv(4096)
        hanging.set()


def test_without_a_watchdog_no_thread_is_started():
    before = threading.active_count()
    with Heartbeat(Notifier(), lambda: None, str):
        assert before == threading.active_count()
