"""The command `optimizer export-triton`: a bundle as a model repository for Triton."""

import argparse
import sys
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from headtail.bundle import read_bundle
from headtail.bundle.keys import read_trust
from headtail.wire import Encoding
from optimizer.export_triton.export import Exported, LeftOut, export
from optimizer.export_triton.settings import Backend, Settings
from optimizer.package.table import format_bytes

_EPILOG = """\
examples:
  optimizer export-triton model.bundle --out repository
  optimizer export-triton model.bundle --out repository --backend python --preferred 4,8
  optimizer export-triton model.bundle --out repository --point 2 --encoding int8
then, where Triton is installed:
  tritonserver --model-repository=$PWD/repository
  edge-agent run --bundle model.bundle --fog 127.0.0.1:8001 --source stdin
"""


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `export-triton` to the program's commands."""
    defaults = Settings()
    parser = commands.add_parser(
        "export-triton",
        help="write a bundle's tails as a model repository for Triton",
        description="Write every tail of a bundle, for every encoding, as a model that a stock"
        " Triton serves under the name that agents ask for, and compare each with our own tail.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("bundle", type=Path, metavar="BUNDLE", help="a .bundle file")
    add("--out", type=Path, required=True, metavar="REPO", help="folder of models")
    add(
        "--backend",
        choices=[b.value for b in Backend],
        default=defaults.backend.value,
        help="what runs the graph: Triton's C++ backend, or its Python backend with onnxruntime"
        " in its environment (%(default)s)",
    )
    add("--point", type=int, action="append", metavar="K", help="partition point (all)")
    add("--encoding", action="append", choices=[e.value for e in Encoding], help="(all offered)")
    add("--max-batch", type=int, default=defaults.max_batch, metavar="N", help="(%(default)s)")
    add(
        "--preferred",
        type=_sizes,
        default=defaults.preferred,
        metavar="N,...",
        help="batch sizes that run as soon as they are reached (none: batches form while busy)",
    )
    add(
        "--queue-delay-s",
        type=float,
        default=defaults.max_queue_delay_s,
        metavar="S",
        help="how long a smaller batch is waited with, in seconds (%(default)s)",
    )
    add("--instances", type=int, default=defaults.instances, metavar="N", help="(%(default)s)")
    add("--threads", type=int, default=defaults.threads, metavar="N", help="(%(default)s)")
    add("--trust", type=Path, metavar="DIR", help="folder of trusted keys (*.pub)")
    add("--json", action="store_true", help="print the result as JSON")
    parser.set_defaults(handler=handle)


def handle(arguments: argparse.Namespace) -> int:
    """Run the command; returns the exit code."""
    settings = Settings(
        backend=Backend(arguments.backend),
        max_batch=arguments.max_batch,
        preferred=arguments.preferred,
        max_queue_delay_s=arguments.queue_delay_s,
        instances=arguments.instances,
        threads=arguments.threads,
    )
    bundle = read_bundle(arguments.bundle, read_trust(arguments.trust))
    encodings = [Encoding(name) for name in arguments.encoding or ()]
    results = export(bundle, arguments.out, settings, arguments.point or (), encodings)
    if arguments.json:
        record = {
            "repository": str(arguments.out),
            "models": [r for r in results if isinstance(r, Exported)],
            "left_out": [r for r in results if isinstance(r, LeftOut)],
        }
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(record), indent=2).decode() + "\n")
    else:
        _print(Console(), results)
    return 0


def _sizes(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(","))


def _print(output: Console, results: list[Exported | LeftOut]) -> None:
    table = Table(title="models for Triton", title_justify="left")
    for heading in ("model", "version", "graph", "against the fog's tail"):
        table.add_column(heading, justify="left" if heading == "model" else "right")
    for result in results:
        if isinstance(result, Exported):
            error = "equal to the bit" if result.error == 0 else f"{result.error:.1e}"
            size = format_bytes(result.graph_bytes)
            table.add_row(result.name, str(result.version), size, error)
    output.print(table)
    for result in results:
        if isinstance(result, LeftOut):
            output.print(f"left out: {result.name}: {result.reason}")
