"""Admission: bounds, order, deadlines and the delay it tells."""

import threading

import pytest

from fog_server.admission import Admission
from headtail.errors import DeadlineExceeded, Overloaded


def test_a_free_slot_is_taken_at_once() -> None:
    """Nothing waits while there is room."""
    admission = Admission(max_running=2, max_queued=0)
    with admission.slot(), admission.slot(0.001):
        assert (2, 0) == (admission.running, admission.queued)
    assert (0, 0) == (admission.running, admission.queued)


def test_slot_comes_back_after_an_error() -> None:
    """A failing request gives its slot back."""
    admission = Admission(max_running=1, max_queued=0)
    with pytest.raises(ZeroDivisionError), admission.slot():
        1 / 0  # noqa: B018
    with admission.slot():
        assert admission.running == 1


def test_full_queue_refuses_with_the_expected_wait() -> None:
    """The delay is the mean time of service times what waits, shared by the slots."""
    now = 0.0
    admission = Admission(max_running=1, max_queued=0, clock=lambda: now)
    with admission.slot():
        now += 0.4
    with (
        admission.slot(),
        pytest.raises(Overloaded, match="0 requests wait") as empty,
        admission.slot(),
    ):
        pass
    assert empty.value.retry_delay_s == pytest.approx(0.4)


@pytest.mark.parametrize("remaining_s", [0.0, -5.0])
def test_expired_work_is_dropped_even_if_a_slot_is_free(remaining_s: float) -> None:
    """Nobody waits for its answer any more."""
    admission = Admission(max_running=1, max_queued=1)
    with pytest.raises(DeadlineExceeded), admission.slot(remaining_s):
        pass
    assert admission.running == 0


def test_work_that_expires_in_the_queue_leaves_it() -> None:
    """Its place is free again, and no slot is lost."""
    admission = Admission(max_running=1, max_queued=1)
    with admission.slot():
        for _ in range(3):
            with pytest.raises(DeadlineExceeded, match=r"within 0\.010 s"), admission.slot(0.01):
                pass
            assert (1, 0) == (admission.running, admission.queued)
    with admission.slot():
        assert admission.running == 1


@pytest.mark.parametrize("remaining_s", [None, float("inf"), 1e18])
def test_first_come_first_served(remaining_s: float | None, wait_until) -> None:
    """Those who wait are served in the order in which they came, however far their deadline."""
    admission = Admission(max_running=1, max_queued=8)
    served: list[int] = []

    def work(number: int) -> None:
        with admission.slot(remaining_s):
            served.append(number)

    threads = []
    with admission.slot():
        for number in range(8):
            threads.append(threading.Thread(target=work, args=(number,)))
            threads[-1].start()
            wait_until(lambda expected=number + 1: admission.queued == expected)
        assert served == []
    for thread in threads:
        thread.join()
    assert list(range(8)) == served


def test_never_more_run_than_may() -> None:
    """Under many threads, some of which expire, the bound holds and no slot is lost."""
    admission = Admission(max_running=3, max_queued=64)
    lock, inside, worst = threading.Lock(), [0], [0]

    def work(number: int) -> None:
        for turn in range(60):
            try:
                with admission.slot(0.0005 if (number + turn) % 3 else None):
                    with lock:
                        inside[0] += 1
                        worst[0] = max(worst[0], inside[0])
                    with lock:
                        inside[0] -= 1
            except DeadlineExceeded:
                continue

    threads = [threading.Thread(target=work, args=(n,)) for n in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert worst[0] <= 3
    assert (0, 0) == (admission.running, admission.queued)
