"""The page `docs/benchmarks/regret.md`, written from the results, with its drawings."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from regret_analysis import GOOD_RATIO, GOOD_RUN, SETTLE_WINDOWS, Phase, plan_name
from regret_cost import OBJECTIVES
from regret_links import NOISE_PERIOD_S, STEP_S
from regret_plots import draw_prediction, draw_regret
from regret_results import (
    ERROR_LIMIT,
    REGRET_LIMIT,
    SETTLE_LIMIT,
    SWITCHES_A_MINUTE,
    LinkRow,
    Results,
    best_counts,
)
from regret_run import DEADLINE_S, PERIOD_S
from regret_work import FULL_WINDOWS, LEAVE, MISSED

NAMES = {"latency": "latency", "edge_energy": "edge energy"}
UNITS = {"latency": (1e3, "ms"), "edge_energy": (1e3, "mJ")}


def write_page(results: Results, folder: Path) -> None:
    """Write `regret.md` and its drawings into a folder."""
    for objective in OBJECTIVES:
        rows, name = results.rows(objective), NAMES[objective]
        title = f"Regret of the live choice, {name}, steady links"
        _write(folder / f"regret-{objective}.svg", draw_regret(rows, title))
        title = f"Predicted against observed latency, objective {name}"
        _write(folder / f"prediction-{objective}.svg", draw_prediction(rows, title))
    parts = [_introduction(results), _figures(results), _method(results), _best(results)]
    _write(folder / "regret.md", "\n\n".join([*parts, *map(_links, _each(results))]))


def _each(results: Results) -> list[tuple[str, Sequence[LinkRow]]]:
    return [(objective, results.rows(objective)) for objective in OBJECTIVES]


def _introduction(results: Results) -> str:
    count = len(results.rows(OBJECTIVES[0]))
    return f"""# Regret of the live choice of partition point

Written by `make regret`. Over {count} links every plan that the agent may choose is run fixed and
measured; then the agent chooses by itself. Its regret is by how much more its choice cost than the
best fixed plan on the same link, after settling. Machine: {results.machine}."""


def _figures(results: Results) -> str:
    figures = {objective: results.figures(objective) for objective in OBJECTIVES}
    lost = {o: sum(r.lost for r in results.rows(o)) for o in OBJECTIVES}
    repeated = {o: sum(r.repeated for r in results.rows(o)) for o in OBJECTIVES}
    wrong = {o: sum(r.wrong for r in results.rows(o)) for o in OBJECTIVES}
    both, limit = figures.values(), f"{REGRET_LIMIT:.0%}"

    def row(what: str, aim: str, cells: Iterable[str]) -> tuple[str, ...]:
        return (what, aim, *cells)

    rows = [
        row("regret, median", "", (f"{f.median_regret:+.1%}" for f in both)),
        row("regret, mean", "", (f"{f.mean_regret:+.1%}" for f in both)),
        row("regret, worst", f"at most {limit}", (f"{f.worst_regret:+.1%}" for f in both)),
        row("regret of medians, worst", "", (f"{f.median_worst:+.1%}" for f in both)),
        row(f"phases within {limit}", "all", (f"{f.within} of {f.phases}" for f in both)),
        row(
            f"phases settled within {SETTLE_LIMIT} windows",
            "all",
            (f"{f.settled} of {f.phases}" for f in both),
        ),
        row(
            "slowest to settle, windows",
            f"at most {SETTLE_LIMIT}",
            ("never" if f.slowest is None else str(f.slowest) for f in both),
        ),
        row(
            "needless switches a minute",
            f"at most {SWITCHES_A_MINUTE:g}",
            (f"{f.switches_a_minute:.2f}" for f in both),
        ),
        row(
            "prediction of latency, mean absolute error",
            f"at most {ERROR_LIMIT:.0%}",
            (f"{f.error:.1%}" for f in both),
        ),
        row(
            f"phases predicted within {ERROR_LIMIT:.0%}",
            "",
            (f"{f.errors_within} of {f.phases}" for f in both),
        ),
        row("windows lost, answered twice, wrong", "0, 0, 0",
            (f"{lost[o]}, {repeated[o]}, {wrong[o]}" for o in OBJECTIVES)),
    ]  # fmt: skip
    head = ("over all phases", "asked for", *(NAMES[o] for o in OBJECTIVES))
    return _table(head, rows, right=2)


def _method(results: Results) -> str:
    loads = "; ".join(load.text() for load in results.loads)
    runs = max(len(phase.runs) for row in results.links for phase in row.phases)
    return f"""## What is measured, and how

**Real**: the agent's own loop, live choice, `FogLink` and codecs; a fog server of its own
process; TCP and gRPC between them. **Emulated**: the link, by `tests/chaos/proxy_link.py` (a
rate each way, the downlink four times faster up to 100 Mbit/s, and a delay; TCP ends at the
proxy, so slow start and loss do not show); and the edge device: heads here are far faster than
on a small board, so after each the process sleeps until the device of
`tests/regret/slow-board.toml` (a Raspberry Pi Zero 2 W held at 0.4 GHz, assumed figures) would
be done. Encoding, messages and threads cost what they cost here.

The network has random weights, five stages and 230 ms on that device (`regret_bundle.py`); it
is cut after each stage into what crosses as 48, 16, 8, 4 or 1 KB of float32, less as float16,
int8 or deflated.

**Links**: steady ones; noisy ones, whose rate scatters by a fifth and whose delay by a fifth or
2 ms every quarter of a second, the same {NOISE_PERIOD_S:g} s over and over for everybody; and
stepping ones, which change every {STEP_S:g} s. A phase is the time between steps; other links
have one. Windows come one at a time, the next once the last is answered but no sooner than
{PERIOD_S:g} s after it.

**Fixed**: every plan in every weather that a link has, at least {FULL_WINDOWS} windows, those
that promise least latency first. Left early, and never the best: a plan of which
{LEAVE[0][0]} windows were all over {LEAVE[0][1]:g} times the best mean so far in both
objectives or, on steady links, {LEAVE[1][0]} all over {LEAVE[1][1]:g} times; and one that
{MISSED} of {DEADLINE_S:g} s. **Live**: the same deadline, after which the edge finishes a
window itself. The first {SETTLE_WINDOWS} windows of a phase are for settling and are in no mean.
Settled is whose next {GOOD_RUN} windows take plans within {GOOD_RATIO - 1:.0%} of the best. A
needless switch is any change of plan after settling, to look at another plan for one window
included.

Each link and objective is run {runs} times, one round after the other. What is said of a phase is
of the run with the median regret (least and most in brackets); settling is the median as well,
switches and lost windows are of all runs. What a busy moment of this machine does to one run is
thus not in it.

**Cost**: latency from a window's arrival to its outputs. Edge energy is the agent's own price
functions applied to what was observed: the head's time, and the bytes sent at the rate that the
proxy gave them (`wifi-esp32`), every probe of 50 B or more included, with the headers of its
packet; waiting for the answer is not priced.
Predictions of latency are those that the agent made when it sent the window.

Load while measuring: {loads}."""


def _best(results: Results) -> str:
    parts = ["## How often each fixed plan is the best", ""]
    counts = {o: best_counts(results, o) for o in OBJECTIVES}
    names = dict.fromkeys(name for o in OBJECTIVES for name in counts[o])
    rows = [(name, *(str(counts[o].get(name, 0)) for o in OBJECTIVES)) for name in names]
    head = ("plan (point, encoding)", *(NAMES[o] for o in OBJECTIVES))
    weathers = f"Of {len(results.weathers)} weathers; point 0 is all in the fog, 5 all on the edge."
    drawings = "\n\n".join(
        f"![{kind} {NAMES[o]}]({kind}-{o}.svg)"
        for o in OBJECTIVES
        for kind in ("regret", "prediction")
    )
    return "\n".join([*parts, weathers, "", _table(head, rows, right=1), "", drawings])


def _links(part: tuple[str, Sequence[LinkRow]]) -> str:
    objective, rows = part
    factor, unit = UNITS[objective]
    head = ("link", "phase", "best fixed", unit, "live", unit, "regret", "of medians",
            "settled after", "switches", "prediction off by")  # fmt: skip
    lines = [
        (
            f"{row.kind}: {row.name}" if i == 0 else "",
            str(i + 1),
            plan_name(p.best),
            f"{factor * p.best_cost:.1f}",
            _taken(p),
            f"{factor * p.live_cost:.1f}",
            _regret(p),
            f"{p.median_regret:+.1%}",
            "never" if p.settled_after is None else str(p.settled_after),
            str(p.switches),
            "" if p.prediction is None else f"{p.prediction.error:.1%}",
        )
        for row in rows
        for i, p in enumerate(row.phases)
    ]
    return f"## Every link, objective {NAMES[objective]}\n\n" + _table(head, lines, right=3)


def _regret(phase: Phase) -> str:
    """Return the regret, and the least and the most of several runs."""
    spread = f" ({phase.runs[0]:+.1%} to {phase.runs[-1]:+.1%})" if len(phase.runs) > 1 else ""
    return f"{phase.regret:+.1%}{spread}"


def _taken(phase: Phase) -> str:
    """Return the plans that windows took, the most frequent first."""
    shares = sorted(phase.shares.items(), key=lambda item: -item[1])
    return ", ".join(f"{name} {share:.0%}" if share < 1 else name for name, share in shares[:3])


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], right: int) -> str:
    """Return a Markdown table whose columns from `right` on are aligned to the right."""
    rule = ["---" if i < right else "---:" for i in range(len(head))]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (head, rule, *rows))


def _write(path: Path, text: str) -> None:
    path.write_text(text.rstrip("\n") + "\n", encoding="utf-8")
