"""What must hold, and whether it does: the bounds of the project's speed, one by one."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lanes import BATCHING, OURS, TCP, TRITON
from measure import BATCHED, EIGHT, MANY, ONE
from paired import Spread, spread
from record import Record, ratio, values


@dataclass(frozen=True, slots=True)
class Bound:
    """A figure, its limit and what is aimed at."""

    text: str
    run: str
    """The record it is in."""
    find: Callable[[Record], Spread | None]
    limit: float
    is_upper: bool
    aim: float | None = None
    unit: str = ""
    digits: int = 2

    @property
    def limit_text(self) -> str:
        """The limit and the aim as one reads them."""
        sense = "at most" if self.is_upper else "at least"
        aim = f" (aim {self.aim:g})" if self.aim else ""
        return f"{sense} {self.limit:g}{self.unit}{aim}"

    def holds(self, found: Spread) -> bool:
        """Say whether a figure's median keeps to it."""
        return found.median <= self.limit if self.is_upper else found.median >= self.limit


@dataclass(frozen=True, slots=True)
class Verdict:
    """A bound and what was measured; None where it was not."""

    bound: Bound
    found: Spread | None

    @property
    def answer(self) -> str:
        """Whether it holds, in a word or two."""
        if self.found is None:
            return "not measured"
        if not self.bound.holds(self.found):
            return "**no**"
        aim = self.bound.aim
        if aim is None:
            return "yes"
        reached = self.found.median <= aim if self.bound.is_upper else self.found.median >= aim
        return "yes, and the aim" if reached else "yes"


def _ratio(task: str, load: str, name: str, to: str) -> Callable[[Record], Spread | None]:
    return lambda record: ratio(record, task, load, name, (OURS, to))


def _least_share(record: Record) -> Spread | None:
    found = values(record, "16 KB", MANY.name, OURS, "least_share")
    return spread(found) if found else None


def _edge(name: str, scale: float = 1.0) -> Callable[[Record], Spread | None]:
    def find(record: Record) -> Spread | None:
        found = record.get("edge", {}).get(name)
        if found is None:
            return None
        numbers = found if isinstance(found, list) else [found]
        return spread([value * scale for value in numbers])

    return find


BOUNDS = (
    Bound(
        "16 KB, one in flight: p50 against Triton's stream", "peers",
        _ratio("16 KB", ONE.name, "p50_us", TRITON), 0.8, True, 0.6,
    ),
    Bound(
        "256 KB, one in flight: p50 against Triton's stream", "peers",
        _ratio("256 KB", ONE.name, "p50_us", TRITON), 0.85, True, 0.6,
    ),
    Bound(
        "16 KB, one in flight: p50 against raw TCP + ORT", "bench",
        _ratio("16 KB", ONE.name, "p50_us", TCP), 2.5, True,
    ),
    Bound(
        "256 KB, one in flight: p50 against raw TCP + ORT", "bench",
        _ratio("256 KB", ONE.name, "p50_us", TCP), 1.8, True,
    ),
    Bound(
        "16 KB, eight in flight: windows per second against Triton's stream", "peers",
        _ratio("16 KB", EIGHT.name, "rate", TRITON), 1.0, False, 1.5,
    ),
    Bound(
        "16 KB, eight in flight: the same against Triton's stream with its batcher on", "peers",
        _ratio("16 KB", EIGHT.name, "rate", BATCHING), 1.0, False, 1.5,
    ),
    Bound(
        "8 x 16 KB a message, four in flight: windows per second against Triton's stream", "peers",
        _ratio("16 KB", BATCHED.name, "rate", TRITON), 1.2, False, 1.5,
    ),
    Bound(
        "16 KB, 64 agents: what the agent with least gets, of the mean", "peers",
        _least_share, 0.5, False,
    ),
    Bound(
        "edge agent: CPU of a 256 KB window outside the head", "bench",
        _edge("outside_head_us"), 300.0, True, None, " us", 0,
    ),
    Bound(
        "edge agent: peak memory", "bench",
        _edge("peak_bytes", 1e-6), 100.0, True, None, " MB", 0,
    ),
    Bound(
        "edge agent at rest: share of a core (a thread that spins takes 1)", "bench",
        _edge("idle_cpu_ratio"), 0.01, True, None, "", 4,
    ),
)  # fmt: skip


def judge(records: dict[str, Record], bounds: Sequence[Bound] = BOUNDS) -> list[Verdict]:
    """Return what each bound's run says of it; `records` by the name of the run."""
    return [
        Verdict(bound, bound.find(records[bound.run]) if bound.run in records else None)
        for bound in bounds
    ]
