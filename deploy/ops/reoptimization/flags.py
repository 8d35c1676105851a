"""The command line of `reoptimize`."""

import argparse
import time
from pathlib import Path

from fog_server.rollout.command_line import add_rules, limits_of, ratio, seconds
from headtail.tls import ClientTls, check_plaintext, choose_files
from optimizer.recipe.recipe import parse_seed
from optimizer.serve.job import Resources
from optimizer.serve.submit_command import parse_size
from reoptimization.request import Ends, Request, read_recipe

_EPILOG = """\
examples:
  deploy/ops/reoptimize --fog fog.local:8500 --optimizer optimizer.local:8600 \\
    --recipe recipes/demo.toml --reason "p95 latency" --canary 10% --bake 5m --timeout 2h
  deploy/ops/reoptimize --recipe recipes/demo.toml --dry-run

Sends the recipe to the job service, follows the job, publishes its bundle to the fog, puts it on
trial on a share of the agents and waits for the verdict. What is there already is joined: the same
command twice, at once or after a kill, ends in the same state.

exit codes:
  0 promoted, or nothing better found   1 failed   2 wrong flags   3 fog or job service away
  4 not possible as things stand   5 another change came first   6 not allowed
  7 recipe or bundle refused   8 no room at the fog or the job service   9 the job failed or was
  cancelled   10 rolled back   11 no verdict in time: run it again   12 the same was rolled back
  before: --retry
"""


def make_parser() -> argparse.ArgumentParser:
    """Return the parser."""
    parser = argparse.ArgumentParser(
        prog="reoptimize",
        description="Ask for a better model and put it on trial.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--recipe", type=Path, metavar="RECIPE.toml", required=True, help="what to make")
    add("--fog", default="127.0.0.1:8500", metavar="HOST:PORT", help="default: %(default)s")
    add("--optimizer", default="127.0.0.1:8600", metavar="HOST:PORT", help="default: %(default)s")
    add("--reason", default="", metavar="TEXT", help="kept with the job and the fog's events")
    add("--timeout", type=seconds, default=3600.0, metavar="T", help="for all of it (default 1h)")
    add(
        "--since",
        type=seconds,
        metavar="T",
        help="a trial of this recipe that began up to so long ago is this one's: for after a kill",
    )
    add("--retry", action="store_true", help="try again what was rolled back before")
    add("--dry-run", action="store_true", help="say what would be done; change nothing")
    add("--json", action="store_true", help="print one JSON object")
    job = parser.add_argument_group("job")
    job.add_argument("--seed", metavar="N", help="replaces the recipe's seed")
    job.add_argument("--name", default="", help="beginning of its id (default: the model's name)")
    job.add_argument("--cpus", type=int, default=1, metavar="N", help="cores (default 1)")
    job.add_argument("--gpus", type=int, default=0, metavar="N", help="GPUs (default 0)")
    job.add_argument(
        "--memory",
        type=parse_size,
        default=0,
        metavar="SIZE",
        help="as 4G (default: the service's)",
    )
    trial = parser.add_argument_group("trial (default: the fog's own rules)")
    trial.add_argument("--canary", type=ratio, metavar="SHARE", help="agents that try it: 10%%")
    add_rules(trial)
    trial.add_argument(
        "--wait-promote",
        action="store_true",
        help="the rule only takes it back: wait until somebody promotes it",
    )
    _add_tls(parser)
    return parser


def read_request(flags: argparse.Namespace) -> Request:
    """Return what the flags ask for.

    Raises:
        HeadtailError: If they ask for what cannot be.
    """
    recipe, model = read_recipe(flags.recipe)
    tls = choose_files(flags.tls_ca, flags.tls_cert, flags.tls_key)
    rules = limits_of(flags)
    if flags.canary is not None:
        rules["share_ratio"] = flags.canary
    if flags.wait_promote:
        rules["promotes"] = False
    ends = Ends(flags.fog, flags.optimizer, tls, _optimizer_tls(flags, tls))
    for where, address, files in (
        ("--fog", ends.fog, ends.fog_tls),
        ("--optimizer", ends.optimizer, ends.optimizer_tls),
    ):
        if files is None:
            check_plaintext(address, is_allowed=flags.insecure, where=where)
    return Request(
        ends=ends,
        recipe=recipe,
        model=model,
        reason=flags.reason,
        seed=None if flags.seed is None else parse_seed(flags.seed),
        job_name=flags.name,
        resources=Resources(flags.cpus, flags.gpus, flags.memory),
        rules=rules,
        timeout_s=flags.timeout,
        since_s=None if flags.since is None else time.time() - flags.since,
        is_dry=flags.dry_run,
        retries=flags.retry,
    )


def _add_tls(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("mutual TLS, the same files for both ends unless named")
    for end, whose in (("", "both"), ("optimizer-", "the job service")):
        add = group.add_argument
        add(f"--{end}tls-ca", metavar="FILE", default="", help=f"authorities of {whose}")
        add(f"--{end}tls-cert", metavar="FILE", default="", help="your certificate")
        add(f"--{end}tls-key", metavar="FILE", default="", help="your private key")
    group.add_argument("--insecure", action="store_true", help="plaintext to other machines")


def _optimizer_tls(flags: argparse.Namespace, usual: ClientTls | None) -> ClientTls | None:
    named = flags.optimizer_tls_ca, flags.optimizer_tls_cert, flags.optimizer_tls_key
    if usual is None or not any(named):
        return choose_files(*named) or usual
    return choose_files(
        *(
            own or str(path)
            for own, path in zip(named, (usual.ca, usual.cert, usual.key), strict=True)
        )
    )
