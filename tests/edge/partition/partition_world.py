"""A link, a fog and a device without sockets or time: what a live choice is tested against."""

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from edge_agent.partition.live import LivePartition
from edge_agent.partition.offer import Option
from edge_agent.sources.frame import Frame
from edge_agent.underway import Finish, Underway

REPLY_BYTES, PROBE_BYTES, FRAMING_BYTES = 220, 170, 60
STEP_S = 0.01
"""Within which a rate is held to be steady."""


@dataclass(frozen=True)
class Weather:
    """What a link, a device and a fog are like at one moment."""

    rate: float
    """Of the uplink, bits a second; the downlink is four times as fast."""
    round_trip_s: float
    heat: float = 1.0
    """How many times slower the device is."""
    queue_s: float = 0.0
    load: float = 1.0
    """How many times slower the fog is."""


@dataclass(frozen=True)
class Seen:
    """A window as it went."""

    option: int
    began_s: float
    latency_s: float
    predicted_s: float


@dataclass
class World:
    """Carries bits in order, and calls back when it is time."""

    weather: Callable[[float], Weather]
    seed: int = 0
    jitter: float = 0.01
    """Standard deviation of the logarithm of the device's times."""
    now_s: float = 100.0
    tail_ratio: float = 0.05
    _free_s: float = 0.0
    _due: list[tuple[float, Callable[[], None]]] = field(default_factory=list)
    probe_bits: float = 0.0
    deadline_s: float = math.inf
    """Of a window; one that misses it is finished on the device, and the link is made anew."""
    probe_bytes: int = PROBE_BYTES
    """Of an empty call."""
    lag_ratio: float = 0.0
    """Share of messages that another program on this machine holds up, ..."""
    lag_s: float = 0.03
    """... for so long in the mean."""

    local_s: float = 0.2
    """Time of what a late window still needs."""

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)
        self.start_s = self.now_s

    def at(self, now_s: float) -> Weather:
        """Return the weather at a time."""
        return self.weather(now_s - self.start_s)

    def clock(self) -> float:
        """Return the time."""
        return self.now_s

    def advance(self, until_s: float) -> None:
        """Let time pass, and what is due happen."""
        while self._due and min(self._due)[0] <= until_s:
            self._due.sort(key=lambda d: d[0])
            due_s, call = self._due.pop(0)
            self.now_s = max(self.now_s, due_s)
            call()
        self.now_s = max(self.now_s, until_s)

    def carry(self, size: int, sent_s: float) -> float:
        """Return when a message of so many bytes is at the fog."""
        at_s, bits = max(sent_s, self._free_s), 8.0 * size
        while bits > 0:
            rate = self.at(at_s).rate
            step_s = min(STEP_S, bits / rate)
            bits -= rate * step_s
            at_s += step_s
            if bits < 1e-6:
                break
        self._free_s = at_s
        if self.rng.random() < self.lag_ratio:
            at_s += self.rng.expovariate(1.0 / self.lag_s)
        return at_s + self.at(at_s).round_trip_s / 2

    def back(self, size: int, left_s: float) -> float:
        """Return when a reply that leaves the fog then is here."""
        weather = self.at(left_s)
        return left_s + 8.0 * size / (4.0 * weather.rate) + weather.round_trip_s / 2

    def ping(self, padding_bytes: int, done: Callable[[float | None], None]) -> bool:
        """Make an empty call."""
        sent_s = self.now_s
        size = self.probe_bytes + padding_bytes
        self.probe_bits += 8.0 * size
        arrived_s = self.back(90, self.carry(size, sent_s) + self.noisy(5e-4))
        self._due.append((arrived_s, lambda: done(arrived_s - sent_s)))
        return True

    def noisy(self, seconds: float) -> float:
        """Return a time of the device as it came out."""
        return seconds * self.rng.lognormvariate(0.0, self.jitter)

    def run(self, live: LivePartition, windows: int, period_s: float = 0.1) -> list[Seen]:
        """Run windows one after the other, no faster than the period."""
        live.connected(lambda plan: True, self.ping)
        index = {o.plan.key: i for i, o in enumerate(live.predictor.options)}
        seen = []
        for sequence in range(windows):
            began_s = self.now_s
            plan = live.next_plan(0.0)
            option = live.predictor.options[index[plan.key]]
            seen.append(self._window(live, option, index[plan.key], sequence))
            self.advance(max(self.now_s, began_s + period_s))
        return seen

    def _window(self, live: LivePartition, option: Option, index: int, sequence: int) -> Seen:
        began_s = self.now_s
        head_s = self.noisy(option.head_s * self.at(began_s).heat)
        self.advance(began_s + head_s)
        frames = [Frame(sequence, sequence, {})]
        if option.plan.is_local:
            work = Underway(option.plan, frames, {}, began_s, head_s)
            predicted = live.predict_here(work)
            finish = Finish("edge", self.now_s + 1e-4, 1e-4)
            live.finished_here(work, finish)
            return Seen(index, began_s, finish.stop_s - began_s, predicted.latency_s)
        self.advance(self.now_s + self.noisy(option.encode_s * self.at(began_s).heat))
        work = Underway(option.plan, frames, {}, began_s, head_s, option.message_bytes)
        sent_s = self.now_s
        predicted = live.sent(work, sent_s)
        at_fog_s = self.carry(option.message_bytes + FRAMING_BYTES, sent_s)
        queue_s = self.at(at_fog_s).queue_s
        tail_s = self.noisy((option.tail_s * self.tail_ratio + 3e-4) * self.at(at_fog_s).load)
        served_s = queue_s + tail_s + self.noisy(4e-4 + option.inflate_s)
        received_s = self.back(REPLY_BYTES, at_fog_s + served_s)
        if received_s - began_s > self.deadline_s:
            return self._late(live, work, index, predicted.latency_s)
        self.advance(received_s)
        network_s = received_s - sent_s - tail_s - queue_s
        finish = Finish("fog", self.noisy(2e-4) + received_s, tail_s, network_s, queue_s)
        live.answered(work, sent_s, received_s, finish)
        return Seen(index, began_s, finish.stop_s - began_s, predicted.latency_s)

    def _late(self, live: LivePartition, work: Underway, index: int, predicted_s: float) -> Seen:
        self.advance(work.arrived_s + self.deadline_s)
        self.advance(self.now_s + self.local_s)
        finish = Finish("edge", self.now_s, self.local_s, fallback="deadline")
        live.finished_here(work, finish)
        self._free_s = self.now_s
        live.connected(lambda plan: True, self.ping)
        return Seen(index, work.arrived_s, self.now_s - work.arrived_s, predicted_s)

    def cost_s(self, option: Option, now_s: float) -> float:
        """Return the latency that a window would have now, on a free link without noise."""
        weather = self.at(now_s)
        head_s = (option.head_s + option.encode_s) * weather.heat
        if option.plan.is_local:
            return head_s
        up_s = 8.0 * (option.message_bytes + FRAMING_BYTES) / weather.rate
        down_s = 8.0 * REPLY_BYTES / (4.0 * weather.rate)
        tail_s = (option.tail_s * self.tail_ratio + 3e-4) * weather.load
        fog_s = tail_s + option.inflate_s + weather.queue_s + 9e-4
        return head_s + up_s + down_s + weather.round_trip_s + fog_s


def steady(rate: float, round_trip_s: float) -> Callable[[float], Weather]:
    """Return a link that never changes."""
    return lambda now_s: Weather(rate, round_trip_s)


def stepping(*phases: Weather, seconds: float = 12.0) -> Callable[[float], Weather]:
    """Return weather that changes after so many seconds each."""
    return lambda now_s: phases[min(len(phases) - 1, int(max(0.0, now_s) / seconds))]


def noisy(
    rate: float, round_trip_s: float, seed: int, spread: float = 0.2, slot_s: float = 0.25
) -> Callable[[float], Weather]:
    """Return a link whose rate and round trip are drawn anew every slot."""
    rng = random.Random(seed)
    slots = [
        Weather(
            rate * rng.lognormvariate(0.0, spread),
            round_trip_s + 2 * max(0.002, 0.1 * round_trip_s) * rng.random(),
        )
        for _ in range(16)
    ]
    return lambda now_s: slots[int(max(0.0, now_s) / slot_s) % 16]


def regret(world: World, options: Sequence[Option], seen: Sequence[Seen]) -> float:
    """Return by what share windows cost more than the best option for each of them would have."""
    spent = sum(s.latency_s for s in seen)
    least = sum(min(world.cost_s(o, s.began_s) for o in options) for s in seen)
    return spent / least - 1.0
