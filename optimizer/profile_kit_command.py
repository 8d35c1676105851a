"""The command `optimizer profile-kit`: sample layers for profiling a device elsewhere."""

import argparse
import sys
from pathlib import Path

from headtail.profile_kit import MAX_LAYERS

_EPILOG = """\
examples:
  optimizer profile-kit --out kit.zip           # here
  edge-agent profile kit.zip --out device.toml  # on the device
"""


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `profile-kit` to the program's commands."""
    parser = commands.add_parser(
        "profile-kit",
        help="write layers of the search space for a device to be profiled with",
        description="Write a sample of the layers that a search may choose, as small ONNX files in"
        " one zip. `edge-agent profile` measures them.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--out", type=Path, required=True, metavar="KIT", help="file to write")
    add_sample_flags(parser)
    parser.set_defaults(handler=handle)


def add_sample_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags that say which layers are drawn."""
    parser.add_argument(
        "--layers", type=int, default=96, metavar="N", help=f"32 to {MAX_LAYERS}; default: 96"
    )
    parser.add_argument("--kit-seed", type=int, default=0, metavar="N", help="draws the layers")


def handle(arguments: argparse.Namespace) -> int:
    """Run the command; returns the exit code."""
    from optimizer.profile_kit import write_sample

    digest = write_sample(arguments.out, arguments.layers, arguments.kit_seed)
    sys.stdout.write(f"{arguments.out} {digest}\n")
    return 0
