"""What each cut of a bundle costs on this machine: head and tail against the whole model.

Timed, so it is told beside the bundle and never in it.
"""

import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec
from rich.table import Table

from headtail.bundle import Bundle, read_bundle
from headtail.bundle.keys import Signer, Trust, key_id
from headtail.cut_cost import MOST_PENALTY, Halves, Runner, time_halves
from headtail.onnx_call import direct_run
from headtail.segment import Chain, SessionOptions, first_window, load_session
from headtail.tensor import Array
from optimizer.cut.cut import CutModel, cut_model
from optimizer.cut.graph import Graph
from optimizer.package.table import format_amount

BUDGET_S = 1.0
"""Of computing at each point, which decides how often it is timed."""
LEAST_ROUNDS, MOST_ROUNDS = 7, 101
WARM_ROUNDS = 2


class CutCost(msgspec.Struct, frozen=True):
    """Compute time of one window at one point, one thread; medians of rounds in turn."""

    point: int
    whole_s: float
    """The uncut model."""
    head_s: float
    tail_s: float
    penalty: float
    """Share by which head and tail together take longer: the median of each round's own."""
    is_merged: bool
    """Whether each half ran as one graph; else segment by segment, being too large for it."""

    @property
    def is_marked(self) -> bool:
        """Whether the cut costs more than one should."""
        return self.penalty > MOST_PENALTY


class _Whole:
    """The uncut model, run by one session."""

    def __init__(self, model: CutModel) -> None:
        (segment,) = model.segments
        self._outputs = [s.name for s in model.outputs]
        self._run = direct_run(load_session(segment.content, SessionOptions(), "whole model"))

    def run(self, inputs: Mapping[str, Array]) -> None:
        self._run(self._outputs, inputs)


def measure_cuts(
    path: Path, signer: Signer, graph: Graph, clock: Callable[[], float] = time.thread_time
) -> tuple[CutCost, ...]:
    """Time every point of a bundle that is a cut, halves merged where the runtimes merge them.

    Args:
        path: The bundle, as `pack` wrote it.
        signer: Who signed it.
        graph: The model that was cut.
        clock: Seconds of computing; by default the thread's own, which others cannot lengthen.

    Raises:
        BundleError: If the bundle cannot be read.
    """
    bundle = read_bundle(path, Trust({key_id(signer.public): signer.public}, "the signing key"))
    count = len(bundle.segments)
    if count < 2:
        return ()
    whole, chain, window = _Whole(cut_model(graph, ())), Chain(bundle), first_window(bundle)
    return tuple(_measure(whole, chain, bundle, window, k, clock) for k in range(1, count))


def _measure(
    whole: _Whole,
    chain: Chain,
    bundle: Bundle,
    window: Mapping[str, Array],
    point: int,
    clock: Callable[[], float],
) -> CutCost:
    halves = [(0, point), (point, len(bundle.segments))]
    chain.merge(bundle, halves)
    is_merged = all(chain.is_merged(*half) for half in halves)
    for _ in range(WARM_ROUNDS):
        first_s, _ = _round(whole, chain, window, point, clock)
    rounds = max(LEAST_ROUNDS, min(MOST_ROUNDS, int(BUDGET_S / (2 * first_s + 1e-9))))
    timed = [_round(whole, chain, window, point, clock) for _ in range(rounds)]
    chain.release(halves)
    return summarise(point, timed, is_merged)


def summarise(point: int, timed: list[tuple[float, Halves]], is_merged: bool) -> CutCost:
    """Return the medians of rounds, each the time of the whole model and of its halves.

    A round whose time the clock was too coarse to see says nothing of how the two compare.
    """
    ratios = [halves.total_s / whole_s - 1 for whole_s, halves in timed if whole_s > 0.0]
    return CutCost(
        point,
        statistics.median(whole_s for whole_s, _ in timed),
        statistics.median(halves.head_s for _, halves in timed),
        statistics.median(halves.tail_s for _, halves in timed),
        statistics.median(ratios) if ratios else 0.0,
        is_merged,
    )


def _round(
    whole: _Whole,
    runner: Runner,
    window: Mapping[str, Array],
    point: int,
    clock: Callable[[], float],
) -> tuple[float, Halves]:
    start_s = clock()
    whole.run(window)
    whole_s = clock() - start_s
    return whole_s, time_halves(runner, window, point, clock)


HEAD = ("point", "whole", "head", "tail", "head + tail")
CAPTION = (
    "computing of one window on this machine, one thread, halves merged as the runtimes do;"
    f" ! a cut that costs more than {MOST_PENALTY:.0%}"
)


def cut_rows(costs: tuple[CutCost, ...]) -> list[list[str]]:
    """Return the texts of a table, under `HEAD`."""
    return [
        [
            str(c.point),
            *(format_amount(s, "s") for s in (c.whole_s, c.head_s, c.tail_s)),
            f"{c.penalty:+.1%}{' !' if c.is_marked else ''}{'' if c.is_merged else ', not merged'}",
        ]
        for c in costs
    ]


def cuts_table(costs: tuple[CutCost, ...]) -> Table:
    """Return the costs as a table for the terminal."""
    table = Table(*HEAD, title="cost of the cuts", caption=CAPTION)
    for row in cut_rows(costs):
        table.add_row(*row)
    return table
