"""The command `optimizer profile`: a device profile of this machine, kit and measurement in one."""

import argparse
import tempfile
from pathlib import Path

from headtail.profile_run import add_flags, profile_device
from optimizer.profile_kit_command import add_sample_flags

_EPILOG = """\
examples:
  optimizer profile --out this-machine.toml
  optimizer profile --out this-machine.toml --power-idle-w 10 --power-full-w 35 --json
"""


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `profile` to the program's commands."""
    parser = commands.add_parser(
        "profile",
        help="measure a device profile of this machine",
        description="Draw layers of the search space, measure them here with onnxruntime on one"
        " thread, fit the machine's rates, test them on layers held out, and write a device"
        " profile. For another machine: optimizer profile-kit.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_flags(parser)
    add_sample_flags(parser)
    parser.set_defaults(handler=handle)


def handle(arguments: argparse.Namespace) -> int:
    """Run the command; returns the exit code."""
    from optimizer.profile_kit import write_sample

    with tempfile.TemporaryDirectory() as folder:
        kit = Path(folder) / "kit.zip"
        write_sample(kit, arguments.layers, arguments.kit_seed)
        profile_device(kit, arguments)
    return 0
