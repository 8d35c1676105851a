"""The flags of the operators' commands."""

import argparse
import re
from pathlib import Path
from typing import Any

from fog_server.command_parser import make_command_parser

COMMANDS = ("publish", "bundles", "canary", "share", "promote", "rollback", "retire")
EPILOG = """\
exit codes:
  0 done   1 failed   2 wrong flags   3 fog away: ask again   4 not possible as things stand
  5 another change came first   6 not allowed   7 bundle or request refused   8 no room
  with canary --wait: 0 promoted, 10 rolled back, 11 no verdict yet
"""
_UNITS_S = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of every operator's command."""
    parser, command = make_command_parser(EPILOG, _add_common)
    publish = command("publish", "send a bundle; checked and tested, it becomes a candidate")
    publish.add_argument("file", type=Path, metavar="FILE.bundle")
    publish.add_argument(
        "--allow-older", action="store_true", help="take a version older than the active one"
    )
    bundles = command("bundles", "list bundles, states, the canary's comparison and last events")
    bundles.add_argument("name", nargs="?", default="", metavar="NAME", help="default: all")
    bundles.add_argument("--agents", action="store_true", help="what each agent runs")
    canary = command("canary", "try a candidate on a share of the agents")
    _add_which(canary)
    rules = canary.add_argument_group("rules (default: the fog's own)")
    rules.add_argument(
        "--share", type=ratio, metavar="SHARE", help="share of the agents: 10%% or 0.1"
    )
    add_rules(rules)
    rules.add_argument(
        "--promotes",
        action=argparse.BooleanOptionalAction,
        help="promote it when it has passed; otherwise somebody has to",
    )
    canary.add_argument(
        "--wait", type=seconds, metavar="T", help="wait so long for the verdict; see exit codes"
    )
    share = command("share", "give the canary another share of the agents")
    share.add_argument("name", metavar="NAME")
    share.add_argument("share", type=ratio, metavar="SHARE", help="20%% or 0.2")
    promote = command("promote", "make the canary, or a candidate, active for all agents")
    _add_which(promote)
    roll_back = command("rollback", "take the canary back, or what was promoted last")
    roll_back.add_argument("name", metavar="NAME")
    retire = command("retire", "retire a candidate, or remove a retired bundle's file")
    _add_which(retire)
    for changing in (canary, share, promote, roll_back, retire):
        changing.add_argument(
            "--generation", type=int, metavar="N", help="change only this one (default: as it is)"
        )
    for reasoned in (publish, canary, share, promote, roll_back, retire):
        reasoned.add_argument("--reason", default="", help="kept with the event")
    return parser


def ratio(text: str) -> float:
    """Return 0.1 for "10%" and for "0.1"."""
    try:
        value = float(text.removesuffix("%")) / (100.0 if text.endswith("%") else 1.0)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"expected 0 to 1 or 0% to 100%, received {text!r}")
    return value


def seconds(text: str) -> float:
    """Return 300.0 for "5m", "300s" and "300"."""
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)([smhd]?)", text)
    if not match:
        raise argparse.ArgumentTypeError(f"expected a duration as 300, 5m or 1h, received {text!r}")
    return float(match[1]) * _UNITS_S[match[2]]


def _add_common(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--fog", default="127.0.0.1:8500", metavar="HOST:PORT", help="default: %(default)s")
    add("--tls-ca", metavar="FILE", help="authorities that the fog is trusted by")
    add("--tls-cert", metavar="FILE", help="your certificate")
    add("--tls-key", metavar="FILE", help="your private key")
    add("--timeout", type=seconds, default=180.0, metavar="T", help="of a call (default: 3m)")
    add("--json", action="store_true", help="print one JSON object")


def _add_which(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME")
    parser.add_argument(
        "version",
        nargs="?",
        metavar="VERSION",
        help="version, or the first 12 digits of the digest; default: the only one it can be",
    )


def add_rules(group: "argparse._ArgumentGroup") -> None:
    """Add the flags of the limits that a canary is held to; one that is absent is None."""
    add = group.add_argument
    add("--bake", type=seconds, metavar="T", help="how long it runs before it may be promoted: 5m")
    add("--give-up", type=seconds, metavar="T", help="roll back without enough windows by then")
    add("--min-windows", type=int, metavar="N", help="windows without which it is not judged")
    add("--max-failed", type=ratio, metavar="R", help="more failed windows than the active one")
    add("--max-latency", type=float, metavar="R", help="mean latency above the active one's: 0.25")
    add("--max-energy", type=float, metavar="R", help="mean energy above the active one's: 0.1")
    add("--min-agreement", type=ratio, metavar="R", help="shadowed windows that must agree")
    add("--min-shadows", type=int, metavar="N", help="how many of them there must be")
    add(
        "--needs-agreement",
        action=argparse.BooleanOptionalAction,
        help="wait for enough that can be compared, and roll back without",
    )
    add("--shadow", type=ratio, metavar="SHARE", help="share of the windows that is shadowed")


def limits_of(flags: argparse.Namespace) -> dict[str, Any]:
    """Return what the flags of `add_rules` say, as fields of CanaryRules."""
    given = {
        "bake_s": flags.bake,
        "timeout_s": flags.give_up,
        "min_windows": flags.min_windows,
        "max_failed_increase": flags.max_failed,
        "max_latency_increase_ratio": flags.max_latency,
        "max_energy_increase_ratio": flags.max_energy,
        "min_agreement_ratio": flags.min_agreement,
        "min_shadows": flags.min_shadows,
        "needs_agreement": flags.needs_agreement,
        "shadow_ratio": flags.shadow,
    }
    return {key: value for key, value in given.items() if value is not None}
