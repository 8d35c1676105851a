"""Our fog and edge programs against the floors: raw TCP and bare gRPC around the same tail.

make bench
"""

import argparse
import tempfile
from functools import partial
from pathlib import Path

from bench_run import pin, run_tasks, say
from edge_program import as_record, measure_edge, shown
from lanes import floors, own_fog
from record import write_record
from tasks import RECIPES, make_task

MINUTES = 5.5
EDGE_TASK = "256 KB"


def main() -> None:
    """Measure, record and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=MINUTES, help=f"default: {MINUTES}")
    parser.add_argument("--tasks", help="names, separated by commas; default: all")
    given = parser.parse_args()
    wanted = given.tasks.split(",") if given.tasks else [recipe.name for recipe in RECIPES]
    cores = pin()
    servers = [("floors", floors), ("headtail", own_fog)]
    recipes = [recipe for recipe in RECIPES if recipe.name in wanted]
    record = run_tasks(servers, given.minutes, cores, recipes, partial(write_record, "bench"))
    (recipe,) = (recipe for recipe in RECIPES if recipe.name == EDGE_TASK)
    say("the edge agent, about half a minute")
    with tempfile.TemporaryDirectory(prefix="headtail-bench-") as work:
        edge = measure_edge(make_task(recipe, say), Path(work), cores)
    say(shown(edge))
    record["edge"] = as_record(edge)
    say(f"wrote {write_record('bench', record)} after {record['seconds']} s")
    from page import write_page

    say(f"wrote {write_page()}")


if __name__ == "__main__":
    main()
