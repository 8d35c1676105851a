"""The command `edge-agent profile`: a device profile from the times of a kit's layers here."""

import argparse
from pathlib import Path

from headtail.profile_run import add_flags, profile_device

DESCRIPTION = (
    "Measure the layers of a profile kit with onnxruntime on one thread, fit the device's rates,"
    " test them on layers held out, and write a device profile."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `profile`."""
    parser.description = DESCRIPTION
    parser.add_argument(
        "kit", type=Path, metavar="KIT", help="file written by `optimizer profile-kit`"
    )
    add_flags(parser)


def run(arguments: argparse.Namespace) -> None:
    """Run the command; errors are those of `headtail.profile_run.profile_device`."""
    profile_device(arguments.kit, arguments)
