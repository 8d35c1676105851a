"""The command `optimizer data`: bring data sets to this machine."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

_EPILOG = """\
examples:
  optimizer data fetch mitbih --to data
  HEADTAIL_DATA=data optimizer run recipes/demo.toml --out runs/demo
"""


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `data` to the program's commands."""
    parser = commands.add_parser(
        "data",
        help="download data sets",
        description="Download data sets from where they are published.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    fetch = actions.add_parser(
        "fetch",
        help="download one data set, checked against its published checksums",
        description="Download a data set. Files that are there and right are kept, one broken off"
        " is continued.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    fetch.add_argument(
        "name",
        choices=("mitbih", "chbmit", "deepweeds"),
        help="of PhysioNet, ODC-By 1.0: mitbih, the MIT-BIH Arrhythmia Database 1.0.0, 90 MB;"
        " chbmit, the recordings with seizures of the CHB-MIT Scalp EEG Database 1.0.0, several GB."
        " deepweeds, 17,509 images of weeds, CC BY 4.0, 490 MB",
    )
    fetch.add_argument(
        "--to",
        type=Path,
        metavar="DIR",
        required=True,
        help="folder for data sets; this one goes into DIR/mitdb, DIR/chbmit or"
        " DIR/deepweeds, where HEADTAIL_DATA=DIR finds it",
    )
    fetch.set_defaults(handler=handle)


def handle(arguments: argparse.Namespace) -> int:
    """Run the command; returns the exit code."""
    from optimizer.data.dataset import Progress
    from optimizer.data.deepweeds_fetch import fetch_deepweeds
    from optimizer.data.fetch import fetch_chbmit, fetch_mitbih
    from optimizer.progress import Terminal

    sources: dict[str, tuple[Callable[[Path, Progress], Path], str, str]] = {
        "mitbih": (fetch_mitbih, "mitdb", "MIT-BIH"),
        "chbmit": (fetch_chbmit, "chbmit", "CHB-MIT"),
        "deepweeds": (fetch_deepweeds, "deepweeds", "DeepWeeds"),
    }
    fetch, place, title = sources[arguments.name]
    with Terminal(Console(stderr=True)).stage(f"download {title}") as advance:
        folder = fetch(arguments.to / place, lambda what, done, total: advance(done, total, what))
    sys.stdout.write(f"{folder}\nuse it with: export HEADTAIL_DATA={arguments.to}\n")
    return 0
