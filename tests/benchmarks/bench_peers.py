"""Our fog against other inference servers: Triton, MLServer and KServe, the same tails and clients.

make bench-peers
"""

import argparse
from pathlib import Path

from bench_run import pin, run_tasks, say
from environments import Unavailable, environment, requirements_of
from lanes import Start, own_fog, peer
from machine import peer_versions
from record import Record, write_record
from tail_servers import PEERS
from tasks import RECIPES

MINUTES = 15.0


def main() -> None:
    """Measure, record and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=MINUTES, help=f"default: {MINUTES}")
    parser.add_argument("--tasks", help="names, separated by commas; default: all")
    parser.add_argument("--peers", default=",".join(PEERS), help=f"default: {','.join(PEERS)}")
    given = parser.parse_args()
    wanted = given.tasks.split(",") if given.tasks else [recipe.name for recipe in RECIPES]
    servers: list[tuple[str, Start]] = [("headtail", own_fog)]
    versions, skipped = {}, {}
    for name in given.peers.split(","):
        try:
            package = name.partition("-")[0]
            python = environment(package, requirements_of(package))
        except Unavailable as error:
            skipped[name] = str(error)
            say(f"skipped: {error}")
            continue
        versions[package] = peer_versions(package, python)
        servers.append((name, peer(name)))
    recipes = [recipe for recipe in RECIPES if recipe.name in wanted]

    def save(record: Record) -> Path:
        record["versions"] |= versions
        record["skipped"] |= skipped
        return write_record("peers", record)

    record = run_tasks(servers, given.minutes, pin(), recipes, save)
    say(f"wrote {save(record)} after {record['seconds']} s")
    from page import write_page

    say(f"wrote {write_page()}")


if __name__ == "__main__":
    main()
