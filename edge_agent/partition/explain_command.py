"""The command `edge-agent explain`: the table that a plan is chosen from."""

import argparse
import math
import re
import sys
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

import msgspec

from edge_agent.loaded import load_bundle
from edge_agent.meter import open_meter
from edge_agent.partition.choose import Objective
from edge_agent.partition.path import PATH
from edge_agent.partition.predict import Estimates, Predictor
from edge_agent.partition.table import Table, of_link, render
from edge_agent.trust import open_trust
from headtail.bundle import read_bundle
from headtail.constant import UNITS
from headtail.errors import ConfigError

DESCRIPTION = (
    "Print what every partition point, encoding and compression is predicted to cost, the best"
    " first: on a link that you describe, or as a running agent sees its own."
)
TIMEOUT_S = 10.0
_QUANTITY = re.compile(r"^([0-9.]+(?:e[+-]?[0-9]+)?)\s*([A-Za-z/]+)$")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `explain`."""
    parser.description = DESCRIPTION
    parser.add_argument(
        "agent", nargs="?", default="", metavar="http://HOST:PORT", help="a running agent's page"
    )
    parser.add_argument("--json", action="store_true", help="a JSON object in the table's place")
    link = parser.add_argument_group("a link that you describe")
    link.add_argument(
        "--bundle", default="", metavar="FILE", help="bundle to load and measure here"
    )
    link.add_argument("--uplink", default="", metavar="RATE", help="1Mbit/s, 20kbit/s")
    link.add_argument("--round-trip", default="20ms", metavar="TIME", help="20ms (default), 0.2s")
    link.add_argument(
        "--tail-ratio", type=float, default=1.0, metavar="X", help="the fog's time over this one's"
    )
    what = parser.add_argument_group("what is best")
    what.add_argument(
        "--objective", choices=("latency", "edge_energy", "weighted", "deadline"), default="latency"
    )
    what.add_argument("--latency-weight", type=float, default=0.5, metavar="W")
    what.add_argument("--deadline-s", type=float, default=1.0, metavar="S")
    what.add_argument("--max-latency-s", type=float, default=math.inf, metavar="S")
    what.add_argument("--max-energy-j", type=float, default=math.inf, metavar="J")
    more = parser.add_argument_group("as in a run")
    for flag in ("--device-profile", "--link-profile", "--trust", "--key"):
        more.add_argument(flag, default="", metavar="NAME")
    more.add_argument("--point", default="auto", metavar="auto|K")
    more.add_argument("--encoding", default="auto", metavar="auto|NAME")
    more.add_argument("--threads", type=int, default=1, metavar="N")


def run(arguments: argparse.Namespace) -> None:
    """Print the table.

    Raises:
        ConfigError: If neither an agent nor a bundle is named, or the agent chooses nothing.
        BundleError: If the bundle is not fit to run.
    """
    if bool(arguments.agent) == bool(arguments.bundle):
        raise ConfigError("edge-agent explain", "expected http://HOST:PORT, or --bundle")
    table = fetch(arguments.agent) if arguments.agent else predict(arguments)
    text = msgspec.json.encode(table).decode() + "\n" if arguments.json else render(table)
    sys.stdout.write(text)


def fetch(address: str) -> Table:
    """Return the table of a running agent.

    Raises:
        ConfigError: If there is none.
    """
    url = (address if "://" in address else f"http://{address}").rstrip("/") + PATH
    if not url.startswith(("http://", "https://")):
        raise ConfigError(address, "expected http://HOST:PORT")
    try:
        with urlopen(url, timeout=TIMEOUT_S) as page:  # noqa: S310 - http, as just checked
            return msgspec.json.decode(page.read(), type=Table)
    except (msgspec.MsgspecError, HTTPError) as error:
        raise ConfigError(url, "no such table there: is --partition live?") from error
    except (URLError, OSError, ValueError) as error:
        raise ConfigError(url, f"cannot be read: {error}") from error


def predict(arguments: argparse.Namespace) -> Table:
    """Return the table for the link that the flags describe; the bundle is measured here."""
    rate = quantity(arguments.uplink, "bit/s", "--uplink")
    round_trip_s = quantity(arguments.round_trip, "s", "--round-trip")
    bundle = read_bundle(Path(arguments.bundle), open_trust(arguments.trust, arguments.key))
    plan = arguments.point, arguments.encoding
    loaded = load_bundle(bundle, plan, arguments.threads, is_live=True)
    meter = open_meter(bundle.manifest, arguments.device_profile, arguments.link_profile)
    objective = Objective(
        arguments.objective,
        arguments.latency_weight,
        arguments.max_latency_s,
        arguments.max_energy_j,
        arguments.deadline_s,
    )
    objective.check(meter)
    estimates = Estimates(round_trip_s, 1.0 / rate, tail_ratio=arguments.tail_ratio)
    return of_link(Predictor(loaded.options, meter), objective, estimates)


def quantity(text: str, dimension: str, flag: str) -> float:
    """Return a number with a unit (1Mbit/s, 20ms) in SI units.

    Raises:
        ConfigError: If it is none, of something else, or not positive.
    """
    match = _QUANTITY.match(text)
    units = [unit for unit, (kind, _) in UNITS.items() if kind == dimension]
    if match is None or match[2] not in units:
        raise ConfigError(flag, f"expected a number of {', '.join(units)}, received '{text}'")
    try:
        value = float(match[1]) * UNITS[match[2]][1]
    except ValueError as error:
        raise ConfigError(flag, f"expected a number, received '{text}'") from error
    if not 0.0 < value < math.inf:
        raise ConfigError(flag, f"expected more than zero, received '{text}'")
    return value
