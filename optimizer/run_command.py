"""The command `optimizer run`: a recipe in, a bundle and a report out."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from optimizer.recipe.recipe import parse_seed, parse_version

if TYPE_CHECKING:
    from collections.abc import Iterable

    from optimizer.progress import Reporter
    from optimizer.report.images.summary import ImageSummary
    from optimizer.report.summary import RunSummary
    from optimizer.run.opening import RunResult

    Result = RunResult[RunSummary] | RunResult[ImageSummary]

_EPILOG = """\
examples:
  optimizer run recipes/demo.toml --out runs/demo
  optimizer run recipes/demo.toml --out runs/seed7 --seed 7 --key signing.key
  optimizer run recipes/images-demo.toml --out runs/images

The folder then holds the bundle, report.html, model.keras, model.onnx, test.npz for the edge agent,
and the history of training and search. A finished run is not repeated; an interrupted one goes on.
"""


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `run` to the program's commands."""
    parser = commands.add_parser(
        "run",
        help="train a recipe's network, find its best cut, bundle it",
        description="Load data, train the recipe's network or search for one where it says so, find"
        " every legal partition point, price each for a device and a link, choose the best within"
        " the bounds, prove head and tail equal to the whole, and write a signed bundle with a"
        " report. A recipe with a [backbone] is of an image model: the backbone gets a new head and"
        " is trained, layers to train on are chosen, and channels are pruned, before it is cut.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("recipe", type=Path, metavar="RECIPE.toml", help="what to make")
    parser.add_argument(
        "--out", type=Path, metavar="DIR", required=True, help="new or empty folder of this run"
    )
    parser.add_argument(
        "--key", type=Path, metavar="FILE", help="private key to sign with (the development key)"
    )
    parser.add_argument("--seed", metavar="N", help="replaces the recipe's seed")
    parser.add_argument(
        "--bundle-version", metavar="V", default="", help="replaces the recipe's version"
    )
    parser.add_argument(
        "--json",
        action="store_true",
        help="write progress and result to standard output, a JSON object a line",
    )
    parser.set_defaults(handler=handle)


def handle(arguments: argparse.Namespace) -> int:
    """Run the command; returns the exit code."""
    from optimizer.progress import Terminal
    from optimizer.progress_event import EventWriter, RunFinished

    if arguments.json:
        writer = EventWriter(sys.stdout)
        with writer.run():
            result = _run(arguments, writer)
            writer.write(RunFinished(str(result.bundle), result.digest))
        return 0
    result = _run(arguments, Terminal(Console(stderr=True)))
    sys.stdout.write("".join(f"{line}\n" for line in _lines(result)))
    sys.stdout.write(f"bundle  {result.bundle}\ndigest  {result.digest}\n")
    return 0


def _lines(result: "Result") -> "Iterable[str]":
    from optimizer.report.images.summary import ImageSummary
    from optimizer.report.images.text import image_lines
    from optimizer.report.text import terminal_lines

    if result.summary is None:
        return []
    if isinstance(result.summary, ImageSummary):
        return image_lines(result.summary)
    return terminal_lines(result.summary)


def _run(arguments: argparse.Namespace, reporter: "Reporter") -> "Result":
    from optimizer.recipe.image import ImageRecipe, read_any_recipe

    seed = None if arguments.seed is None else parse_seed(arguments.seed)
    version = arguments.bundle_version and parse_version(arguments.bundle_version)
    # A typing error must not wait for TensorFlow.
    recipe = read_any_recipe(arguments.recipe, seed, version)
    from optimizer.chatter import load_tensorflow

    with reporter.stage("start TensorFlow"):
        load_tensorflow()
    from optimizer.run.opening import RunRequest
    from optimizer.run.run import run_recipe

    request = RunRequest(arguments.recipe, arguments.out, arguments.key, seed, version)
    if isinstance(recipe, ImageRecipe):
        from optimizer.run.image_run import run_image_recipe

        return run_image_recipe(request, reporter)
    return run_recipe(request, reporter)
