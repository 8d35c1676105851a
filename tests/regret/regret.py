"""The regret of the live choice over a grid of links: every plan measured fixed, then the agent's.

Real agents and a real fog server, with a proxy between them that is the link. The edge is slowed to
the device of `slow-board.toml`, whose waiting lets many links be measured side by side; the program
prints how busy the machine was with it. Writes `regret.json`, `regret.md` and drawings.
"""

import argparse
import multiprocessing
import random
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "deploy"), str(ROOT / "tests" / "chaos")]

from programs import running  # noqa: E402 - lies beside the demo, in no package
from regret_bundle import write_regret_bundle  # noqa: E402
from regret_cost import OBJECTIVES  # noqa: E402
from regret_links import Link, Weather, grid, reduced, weathers  # noqa: E402
from regret_machine import Meter  # noqa: E402
from regret_page import write_page  # noqa: E402
from regret_results import LiveRuns, Results, judge, read_costs  # noqa: E402
from regret_run import Site  # noqa: E402
from regret_work import FixedRun, measure_fixed, measure_live, start  # noqa: E402

SEED = 1
T = TypeVar("T")


def main() -> int:
    """Run the program; return its exit status: 1 where a window was lost, repeated or wrong."""
    options = _parser().parse_args()
    links = reduced(grid(), options.links) if options.links else grid()
    with tempfile.TemporaryDirectory(prefix="regret-") as folder:
        bundle, trust = write_regret_bundle(Path(folder), np.random.default_rng(SEED))
        command = ["fog-server", "--bundles", bundle.parent, "--trust", trust]
        log = Path(folder) / "fog.log"
        with running([*command, "--listen", "127.0.0.1:0"], log) as fog:
            site = Site(bundle, trust, fog.wait_for(r"serving on (\S+)"))
            results = _measure(site, links, fog.process.pid, options)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "regret.json").write_bytes(msgspec.json.format(msgspec.json.encode(results)))
    write_page(results, options.out)
    print(results.summary())
    return 0 if results.is_whole else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--links", type=int, default=0, help="about so many of them (all)")
    parser.add_argument(
        "--processes", type=int, default=16, help="that measure side by side (%(default)s)"
    )
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "benchmarks")
    parser.add_argument(
        "--fixed", type=Path, help="regret.json of an earlier run whose fixed plans will do"
    )
    parser.add_argument(
        "--runs", type=int, default=3, help="of the agent on each link, an odd number (%(default)s)"
    )
    parser.add_argument("--raw", type=Path, help="folder for every window of every run, as JSON")
    return parser


def _measure(
    site: Site, links: Sequence[Link], fog_pid: int, options: argparse.Namespace
) -> Results:
    """Measure every plan in every weather, then every live run."""
    meter = Meter(fog_pid)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(options.processes, context, start, (site,)) as pool:
        every = weathers(links)
        fixed: dict[Weather, list[FixedRun]] = {}
        if options.fixed:
            costs = read_costs(options.fixed, every)
        else:
            tasks = {w: pool.submit(measure_fixed, site, w) for w in _mixed(every)}
            fixed = _gather(tasks, "weathers", meter)
            costs = {w: [run.fixed for run in fixed[w]] for w in every}
        pairs = _mixed([(k, o) for k in links for o in OBJECTIVES])
        runs = _gather(
            {
                (*pair, i): pool.submit(measure_live, site, *pair)
                for i in range(options.runs)
                for pair in pairs
            },
            "live runs",
            meter,
        )
        live = {pair: [runs[*pair, i] for i in range(options.runs)] for pair in pairs}
        if options.raw:
            _write_raw(options.raw, fixed, live)
    return judge(links, costs, live, meter.loads)


def _gather(futures: "dict[Any, Future[Any]]", name: str, meter: Meter) -> dict[Any, Any]:
    """Wait for all of some tasks; tell how far it is and how busy the machine was."""
    meter.begin()
    began_s = time.monotonic()
    for done, future in enumerate(as_completed(futures.values()), 1):
        future.result()
        if done % 10 == 0 or done == len(futures):
            print(
                f"{done} of {len(futures)} {name}, {time.monotonic() - began_s:.0f} s", flush=True
            )
    print(meter.end(name), flush=True)
    return {key: future.result() for key, future in futures.items()}


def _mixed(items: Iterable[T]) -> list[T]:
    """Return items in an order of chance, so that those side by side differ."""
    mixed = list(items)
    random.Random(SEED).shuffle(mixed)
    return mixed


def _write_raw(folder: Path, fixed: dict[Weather, list[FixedRun]], live: LiveRuns) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for weather, runs in fixed.items():
        _write(folder, f"fixed {weather.name}", runs)
    for (link, objective), runs in live.items():
        _write(folder, f"live {objective} {link.name}", runs)


def _write(folder: Path, name: str, value: object) -> None:
    name = name.replace("it/s", "ps").replace(" -> ", "-to-").replace(" ", "-").replace(",", "")
    (folder / f"{name}.json").write_bytes(msgspec.json.encode(value))


if __name__ == "__main__":
    sys.exit(main())
