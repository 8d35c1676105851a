"""The link against real fogs behind a proxy that misbehaves: lost, found, never twice."""

import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pytest

from edge_agent.fog_check import Tail
from edge_agent.fog_client import FogClient
from edge_agent.lane import Request
from edge_agent.lanes import Policy
from edge_agent.link import FogLink
from edge_agent.plan import choose_plan
from edge_agent.sources.frame import Frame
from edge_agent.tail_codec import TailCodec
from headtail.errors import RemoteError
from headtail.oip import InferResponse, write_stream_error
from proxy import Proxy

FOG = "fog"


class Outcomes:
    """Remembers what became of each window, and fails a test in which one was finished twice."""

    def __init__(self) -> None:
        """Begin with none."""
        self.by_id: dict[str, str] = {}
        self.refusals: list[RemoteError] = []
        self.seconds: dict[str, float] = {}
        self._lock = threading.Condition()

    def answered(self, request: Request, response: InferResponse, received_s: float) -> bool:
        """Take the fog's answer; one without outputs is of no use."""
        self._finish(request, FOG if response.outputs else "useless")
        return bool(response.outputs)

    def failed(self, request: Request, error: RemoteError) -> None:
        """Take what would be finished on the edge."""
        self._finish(request, type(error).__name__)

    def refused(self, error: RemoteError) -> None:
        """Take the end of the run."""
        self.refusals.append(error)

    def of(self, request: Request) -> str:
        """Wait for the end of one window and return it."""
        with self._lock:
            assert self._lock.wait_for(lambda: request.id in self.by_id, 20.0), request.id
        return self.by_id[request.id]

    def _finish(self, request: Request, how: str) -> None:
        with self._lock:
            assert request.id not in self.by_id, f"{request.id} was finished twice"
            self.by_id[request.id] = how
            self.seconds[request.id] = time.monotonic() - request.sent_s
            self._lock.notify_all()


class Windows:
    """Sends windows over a link, one after the other."""

    def __init__(self, link: FogLink, outcomes: Outcomes, codec: TailCodec, plan) -> None:
        self.link = link
        self.outcomes = outcomes
        self._codec = codec
        self._activation = {"a": np.ones((1, 4, 8), np.float32)}
        self._count = 0

    def send(self, deadline_s: float = 10.0) -> Request:
        """Send one; what the link does not take is finished at once."""
        frame = Frame(self._count, self._count, {})
        self._count += 1
        now_s = time.monotonic()
        request = self._codec.request([frame], self._activation, now_s, now_s + deadline_s)
        error = self.link.send(request)
        if error is not None:
            self.outcomes.failed(request, error)
        return request

    def ask(self, deadline_s: float = 10.0) -> str:
        """Send one and return how it ended."""
        return self.outcomes.of(self.send(deadline_s))

    def hurry(self) -> None:
        """Have attempts to connect given up soon from now on; the first had time."""
        for fog in self.link.lanes.fogs:
            fog.client._connect_s = 0.3


@pytest.fixture
def connect(bundle) -> Iterator[Callable[..., Windows]]:
    """Return a function that opens a link to fogs and returns what sends windows over it."""
    plan = choose_plan(bundle.manifest, "1", "float32")
    tail = Tail(plan.tail_name, "1.0.0", plan.wire_specs, "chain", bundle.digest)
    links = []

    def open_link(fogs: Sequence[str], connect_s: float = 5.0, **policy: float) -> Windows:
        outcomes = Outcomes()
        clients = [FogClient(fog, tail, connect_s) for fog in fogs]
        chosen = Policy(**{"first_s": 0.01, "cap_s": 0.05, "dwell_s": 0.05, **policy})
        link = FogLink(clients, outcomes, chosen, random.Random(7), time.monotonic)
        links.append(link)
        link.start()
        link.wait_first_attempt(20.0)
        return Windows(link, outcomes, TailCodec(plan, "t"), plan)

    yield open_link
    for link in links:
        link.close()


@pytest.fixture
def before(start_fog) -> Iterator[Callable[[], Proxy]]:
    """Return a function that starts a fog and a proxy before it."""
    proxies = []

    def start() -> Proxy:
        proxies.append(Proxy(start_fog().address, seed=1))
        return proxies[-1]

    yield start
    for proxy in proxies:
        proxy.close()


def used(windows: Windows) -> int:
    """Return the place of the fog in use; -1 where none is."""
    fog = windows.link.in_use
    return -1 if fog is None else fog.rank


def test_second_fog_takes_over_and_the_first_comes_back(connect, before, wait_until, caplog):
    caplog.set_level("INFO")
    first, second = before(), before()
    windows = connect([first.address, second.address])
    assert FOG == windows.ask()
    first.refuse()
    first.drop()
    wait_until(lambda: used(windows) == 1)
    assert FOG == windows.ask()
    first.pass_on()
    wait_until(lambda: windows.ask() == FOG and used(windows) == 0)
    assert 0 < second.counts["up_bytes"]
    said = [r.getMessage().split(":")[0] for r in caplog.records if "lanes" in r.name]
    assert ["fog connected", "fog lost", "fog changed", "fog changed"] == said
    assert {"failover": 1, "return": 1} == dict(windows.link.lanes.counts.switches)


def test_no_window_is_lost_on_the_way_back(connect, before, wait_until):
    """The lane that is left answers what it has."""
    first, second = before(), before()
    first.refuse()
    windows = connect([first.address, second.address])
    wait_until(lambda: used(windows) == 1)
    first.pass_on()
    ends = []
    wait_until(lambda: ends.append(windows.ask()) or used(windows) == 0)
    assert {FOG} == set(ends)
    wait_until(lambda: len(windows.link.lanes.open) == 1)  # the other ended in order
    assert 0 == windows.link.lanes.counts.losses["broken"]


def test_a_black_hole_costs_one_deadline_and_then_the_other_fog_is_used(
    connect, before, wait_until
):
    first, second = before(), before()
    windows = connect([first.address, second.address])
    assert FOG == windows.ask()
    windows.hurry()
    first.black_hole()
    late = windows.send(0.2)
    assert "DeadlineExceeded" == windows.outcomes.of(late)
    assert windows.outcomes.seconds[late.id] < 5.0
    wait_until(lambda: used(windows) == 1)
    assert FOG == windows.ask()
    assert 1 == windows.link.lanes.counts.losses["silent"]


def test_windows_in_flight_fail_together_with_the_silent_one(connect, before):
    """None of them waits for its own deadline."""
    proxy = before()
    windows = connect([proxy.address])
    assert FOG == windows.ask()
    windows.hurry()
    proxy.black_hole()
    sent = [windows.send(0.2), *(windows.send(20.0) for _ in range(5))]
    ends = [windows.outcomes.of(request) for request in sent]
    assert ["DeadlineExceeded"] + ["FogUnavailable"] * 5 == ends


@pytest.mark.parametrize("seed", range(4))
def test_a_cut_in_mid_message_loses_nothing(connect, start_fog, wait_until, seed):
    """Each cut comes at another byte; every window ends once, and the fog is found again."""
    with Proxy(start_fog().address, seed=seed) as proxy:
        windows = connect([proxy.address])
        for _ in range(3):
            proxy.cut(800)
            sent = [windows.send() for _ in range(20)]
            assert {FOG, "FogUnavailable"} >= {windows.outcomes.of(r) for r in sent}
            proxy.pass_on()
            wait_until(lambda: windows.ask() == FOG)
        assert 3 <= proxy.counts["cut"]


@pytest.mark.parametrize("side", ["up", "down"])
def test_half_closed_connection_is_noticed(connect, before, wait_until, side):
    proxy = before()
    windows = connect([proxy.address])
    assert FOG == windows.ask()
    proxy.half_close(side)
    wait_until(lambda: windows.ask(0.5) == FOG and proxy.counts["accepted"] > 1)


def test_delays_beyond_the_deadline_open_the_breaker(connect, before, wait_until):
    """Answers come, each too late: after five the fog is left, and must answer one to be used."""
    proxy = before()
    windows = connect([proxy.address], first_s=3600.0, cap_s=3600.0)
    assert FOG == windows.ask()
    proxy.delay(0.1)
    misses = 0
    while windows.link.is_up:
        assert FOG != windows.ask(0.06)
        misses += 1
    losses = windows.link.lanes.counts.losses
    assert 1 == losses["missed"] + losses["silent"]
    assert misses <= 5


def test_a_draining_fog_is_left_for_the_next(connect, before, scripted_fog, wait_until):
    """Its answer counts; nothing more is sent to it, and its stream ends in order."""
    second = before()
    windows = connect([scripted_fog.address, second.address], dwell_s=3600.0)
    scripted_fog.parameters["draining"] = True
    assert FOG == windows.ask()
    wait_until(lambda: used(windows) == 1)
    assert FOG == windows.ask()
    assert 1 == len(scripted_fog.requests)
    counts = windows.link.lanes.counts
    assert (1, 0) == (counts.losses["draining"], counts.losses["broken"])
    wait_until(lambda: len(windows.link.lanes.open) == 1)


def test_failing_answers_open_the_breaker_and_one_good_one_closes_it(
    connect, scripted_fog, wait_until
):
    failure = {"status": "INTERNAL"}
    scripted_fog.script = lambda r: write_stream_error(r.id, "broke", failure)
    windows = connect([scripted_fog.address])
    assert ["RemoteFailed"] * 5 == [windows.ask() for _ in range(5)]
    asked = len(scripted_fog.requests)
    assert 5 == asked
    wait_until(lambda: windows.link.is_up)  # on trial
    held = threading.Event()
    scripted_fog.script = lambda r: held.wait(20.0) and scripted_fog.answer(r)
    trial = windows.send()
    assert "FogUnavailable" == windows.ask()  # one window at a time
    held.set()
    assert FOG == windows.outcomes.of(trial)
    wait_until(lambda: used(windows) == 0)
    assert FOG == windows.ask()


def test_answers_of_no_use_open_the_breaker(connect, scripted_fog, wait_until):
    scripted_fog.script = lambda r: write_stream_error(r.id, "", {})
    windows = connect([scripted_fog.address], first_s=3600.0, cap_s=3600.0)
    assert ["useless"] * 5 == [windows.ask() for _ in range(5)]
    wait_until(lambda: not windows.link.is_up)
    assert "FogUnavailable" == windows.ask()
    assert 1 == windows.link.lanes.counts.losses["missed"]


def test_a_refused_window_may_tell_of_the_drain_too(connect, scripted_fog, before, wait_until):
    second = before()
    windows = connect([scripted_fog.address, second.address], dwell_s=3600.0)
    overloaded = {"status": "RESOURCE_EXHAUSTED", "retry_delay_ms": 1, "draining": True}
    scripted_fog.script = lambda r: write_stream_error(r.id, "full", overloaded)
    assert "Overloaded" == windows.ask()
    wait_until(lambda: used(windows) == 1)
    assert FOG == windows.ask()


def test_an_unreadable_answer_loses_the_stream_not_the_windows(connect, scripted_fog, wait_until):
    scripted_fog.script = lambda request: b"\xff\xff\xff"
    windows = connect([scripted_fog.address])
    assert windows.ask() in ("RemoteFailed", "FogUnavailable")
    scripted_fog.script = scripted_fog.answer
    wait_until(lambda: windows.ask() == FOG)
    assert 1 == windows.link.lanes.counts.drops["malformed"]


def test_an_answer_after_its_deadline_is_counted_and_dropped(connect, scripted_fog):
    """The first is held back until the third is sent; the second shows that the fog is there."""
    held = []

    def script(request):
        held.append(scripted_fog.answer(request))
        return {1: None, 2: held[1:], 3: held[::2]}[len(held)]

    scripted_fog.script = script
    windows = connect([scripted_fog.address])
    late = windows.send(2.0)
    assert FOG == windows.ask()
    assert "DeadlineExceeded" == windows.outcomes.of(late)
    assert FOG == windows.ask()
    assert 1 == windows.link.lanes.counts.drops["late"]
    assert 0 == windows.link.lanes.counts.losses.total()


def test_a_full_fog_is_asked_again_when_it_says(connect, start_fog, wait_until):
    """It takes the stream, and ends it with RESOURCE_EXHAUSTED and a delay in its trailers."""
    fog = start_fog(max_agents=1).address
    first = connect([fog])
    assert FOG == first.ask()
    began_s = time.monotonic()
    second = connect([fog])
    counts = second.link.lanes.counts
    wait_until(lambda: counts.losses["overloaded"] == 1)
    first.link.close()
    wait_until(lambda: second.ask() == FOG)
    assert time.monotonic() - began_s >= 1.0
    assert 2 == counts.attempts["connected"]


def test_another_model_at_one_fog_does_not_end_the_run(
    connect, start_fog, fixed_path, before, wait_until
):
    other, good = start_fog(bundles=fixed_path.parent), before()
    windows = connect([other.address, good.address])
    wait_until(lambda: used(windows) == 1)
    assert FOG == windows.ask()
    assert [] == windows.outcomes.refusals


def test_another_model_at_every_fog_ends_the_run(connect, start_fog, fixed_path, wait_until):
    fogs = [start_fog(bundles=fixed_path.parent).address for _ in range(2)]
    windows = connect(fogs)
    wait_until(lambda: len(windows.outcomes.refusals) > 0)


def test_closing_finishes_what_is_under_way(connect, scripted_fog):
    scripted_fog.script = lambda request: None
    windows = connect([scripted_fog.address])
    sent = [windows.send() for _ in range(4)]
    windows.link.close()
    assert {"FogUnavailable"} == {windows.outcomes.of(r) for r in sent}


@pytest.mark.parametrize("seed", [1, 2])
def test_a_storm_of_faults_on_two_fogs_ends_each_window_once(connect, before, wait_until, seed):
    """Seeded faults on both proxies while windows pass; afterwards the first fog serves again."""
    rng = random.Random(seed)
    proxies = [before(), before()]
    windows = connect([p.address for p in proxies], connect_s=0.3, dwell_s=0.1)
    sent = []
    for _ in range(12):
        proxy = rng.choice(proxies)
        fault = rng.choice(
            [
                proxy.drop,
                proxy.refuse,
                proxy.black_hole,
                lambda proxy=proxy: proxy.delay(0.02, 0.05),
                lambda proxy=proxy: proxy.cut(1500),
                lambda proxy=proxy: proxy.half_close(rng.choice(["up", "down"])),
            ]
        )
        fault()
        for _ in range(15):
            sent.append(windows.send(0.1))
            windows.outcomes.of(sent[-rng.randint(1, 4)] if len(sent) > 4 else sent[-1])
        if rng.random() < 0.5:
            proxy.pass_on()
    ends = [windows.outcomes.of(request) for request in sent]
    assert len(sent) == len(windows.outcomes.by_id)
    assert {FOG, "FogUnavailable", "DeadlineExceeded", "Overloaded"} >= set(ends)
    # Nobody waited longer than a deadline and what the keeper needs to see it.
    assert max(windows.outcomes.seconds.values()) < 5.0
    for proxy in proxies:
        proxy.pass_on()
    wait_until(lambda: windows.ask() == FOG and used(windows) == 0)


def test_answers_come_in_any_order_and_each_finds_its_window(connect, scripted_fog):
    """Five at once, answered from the last to the first."""
    held = []

    def script(request):
        held.append(scripted_fog.answer(request))
        return held[::-1] if len(held) == 5 else None

    scripted_fog.script = script
    windows = connect([scripted_fog.address])
    sent = [windows.send() for _ in range(5)]
    assert [FOG] * 5 == [windows.outcomes.of(request) for request in sent]
    assert [r.id for r in sent] == [r.id for r in scripted_fog.requests]
    assert [r.id for r in reversed(sent)] == list(windows.outcomes.by_id)
