"""Admission: bounds, order, deadlines and the delay it tells."""

import random
import threading

import pytest

from fog_server.admission import Admission
from fog_server.refusal import Cause
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
        raise ZeroDivisionError
    with admission.slot():
        assert admission.running == 1


def test_full_queue_refuses_with_the_expected_wait() -> None:
    """The delay is the mean time of service times what waits, spread over half as much again."""
    now = 0.0
    rng = random.Random(1)
    admission = Admission(max_running=1, max_queued=0, clock=lambda: now, rng=rng)
    with admission.slot():
        now += 0.4
    with (
        admission.slot(),
        pytest.raises(Overloaded, match="0 requests wait") as empty,
        admission.slot(),
    ):
        pass
    assert empty.value.retry_delay_s == pytest.approx(0.4 * (1 + 0.5 * random.Random(1).random()))
    assert empty.value.cause == Cause.QUEUE_FULL


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
            except (DeadlineExceeded, Overloaded):  # too late, or known to be
                continue

    threads = [threading.Thread(target=work, args=(n,)) for n in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert worst[0] <= 3
    assert (0, 0) == (admission.running, admission.queued)


class Crowd:
    """Requests that wait in threads of their own, and what became of each."""

    def __init__(self, admission: Admission, wait_until) -> None:
        """Have nobody wait yet."""
        self._admission = admission
        self._wait_until = wait_until
        self._threads: list[threading.Thread] = []
        self.served: list[str] = []
        self.refused: list[str] = []

    def add(self, agent: str, windows: int = 1, remaining_s: float | None = None) -> None:
        """Let a request wait, and return once it does or is turned away."""
        queued, refused = self._admission.queued, len(self.refused)
        thread = threading.Thread(target=self._work, args=(agent, windows, remaining_s))
        self._threads.append(thread)
        thread.start()
        self._wait_until(lambda: self._admission.queued > queued or len(self.refused) > refused)

    def join(self) -> None:
        """Wait until everybody is served or turned away."""
        for thread in self._threads:
            thread.join()

    def _work(self, agent: str, windows: int, remaining_s: float | None) -> None:
        try:
            with self._admission.slot(remaining_s, agent, windows):
                self.served.append(agent)
        except Overloaded as error:
            self.refused.append(f"{agent} {error.cause}")


def test_agents_take_turns(wait_until) -> None:
    """Ten requests of one agent do not pass before the first of another."""
    admission = Admission(max_running=1, max_queued=16)
    crowd = Crowd(admission, wait_until)
    with admission.slot():
        for agent in ["a"] * 4 + ["b"] * 2 + ["c"]:
            crowd.add(agent)
    crowd.join()
    assert list("abcabaa") == crowd.served


def test_newcomer_takes_a_place_of_the_greediest(wait_until) -> None:
    """A full queue is shared out; whoever holds most of it is refused first."""
    admission = Admission(max_running=1, max_queued=4)
    crowd = Crowd(admission, wait_until)
    with admission.slot():
        for _ in range(5):
            crowd.add("greedy")
        for _ in range(2):
            crowd.add("modest")
            wait_until(lambda: admission.queued == 4)
        wait_until(lambda: len(crowd.refused) == 3)
        crowd.add("modest")
    crowd.join()
    assert ["greedy queue_full", *["greedy pushed_out"] * 2, "modest queue_full"] == crowd.refused
    assert ["greedy", "modest", "greedy", "modest"] == crowd.served
    assert (0, 0) == (admission.running, admission.queued)


def test_what_cannot_be_answered_in_time_is_refused_at_once(wait_until) -> None:
    """Its sender still has time to do without; the delay says when it would have fitted."""
    now = 0.0
    admission = Admission(max_running=1, max_queued=8, clock=lambda: now)
    with admission.slot():
        now += 0.1
    crowd = Crowd(admission, wait_until)
    with admission.slot():
        crowd.add("a")
        crowd.add("b")
        with (
            pytest.raises(Overloaded, match=r"expected to take 0\.300 s of 0\.200 s") as late,
            admission.slot(0.2, "c"),
        ):
            pass
        crowd.add("c", remaining_s=5.0)
    crowd.join()
    assert late.value.cause == Cause.TOO_SLOW
    assert 0.1 <= late.value.retry_delay_s <= 0.15 + 1e-9
    assert list("abc") == crowd.served


@pytest.mark.parametrize(
    ("remaining_s", "cause"), [(-1.0, Cause.EXPIRED_ON_WAY), (0.01, Cause.EXPIRED_IN_QUEUE)]
)
def test_expired_work_says_where_it_expired(remaining_s: float, cause: Cause) -> None:
    """The metrics count the two apart."""
    admission = Admission(max_running=1, max_queued=1)
    with admission.slot(), pytest.raises(DeadlineExceeded) as late, admission.slot(remaining_s):
        pass
    assert late.value.cause == cause


def test_work_that_can_no_longer_be_finished_leaves_the_queue() -> None:
    """What is left of its time is less than a request takes: 100 s, by the clock of this test."""
    now = 0.0
    admission = Admission(max_running=1, max_queued=1, clock=lambda: now)
    with admission.slot():
        now += 100.0
    with admission.slot(), pytest.raises(DeadlineExceeded) as late, admission.slot(100.01):
        pass
    assert late.value.cause == Cause.EXPIRED_IN_QUEUE
