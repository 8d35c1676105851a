"""The command `optimizer rivals`: ways to make an image model cheaper, in one table."""

import argparse
import sys
from pathlib import Path

from rich.console import Console

_EPILOG = """\
examples:
  optimizer rivals recipes/rivals-cifar10.toml --out runs/rivals
  optimizer rivals recipes/rivals-cifar10.toml --out runs/rivals --no-test

The folder then holds rivals.md, rivals.json, rivals.svg and every model. A finished part is not
repeated; an interrupted comparison goes on.
"""


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `rivals` to the program's commands."""
    parser = commands.add_parser(
        "rivals",
        help="compare pruning, freezing and quantising of an image model",
        description="Train a recipe's image model for several seeds, hand each to every method of"
        " its [rivals] with the same budget, and print accuracy, size, latency and training energy"
        " beside what ToSiM-IoT prints.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("recipe", type=Path, metavar="RECIPE.toml", help="what to compare")
    parser.add_argument(
        "--out", type=Path, metavar="DIR", required=True, help="new or empty folder, or one begun"
    )
    parser.add_argument(
        "--no-test",
        action="store_true",
        help="leave the test images alone: the table is of the validation images",
    )
    parser.set_defaults(handler=handle)


def handle(arguments: argparse.Namespace) -> int:
    """Run the command; returns the exit code."""
    from optimizer.progress import Terminal
    from optimizer.recipe.rivals import read_rivals_recipe

    read_rivals_recipe(arguments.recipe)  # a typing error must not wait for TensorFlow
    reporter = Terminal(Console(stderr=True))
    from optimizer.chatter import load_tensorflow

    with reporter.stage("start TensorFlow"):
        load_tensorflow()
    from optimizer.rivals.run import RivalsRequest, run_rivals
    from optimizer.rivals.table import terminal_lines

    request = RivalsRequest(arguments.recipe, arguments.out, is_tested=not arguments.no_test)
    record = run_rivals(request, reporter)
    sys.stdout.write("".join(f"{line}\n" for line in terminal_lines(record)))
    return 0
