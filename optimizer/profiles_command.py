"""The command `optimizer profiles`: the device and link profiles that come with headtail."""

import argparse
import sys

from headtail.profile import (
    list_device_profiles,
    list_link_profiles,
    read_device_profile,
    read_link_profile,
)


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `profiles` to the program's commands."""
    parser = commands.add_parser(
        "profiles",
        help="list the device and link profiles that come with headtail",
        description="List the names that --device-profile, --link-profile and recipes take.",
    )
    parser.set_defaults(handler=handle)


def handle(_arguments: argparse.Namespace) -> int:
    """Run the command; returns the exit code."""
    rows = [(n, "device", read_device_profile(n).description) for n in list_device_profiles()]
    rows += [
        (n, f"link, mode {read_link_profile(n).mode}", read_link_profile(n).description)
        for n in list_link_profiles()
    ]
    for name, kind, description in rows:
        sys.stdout.write(f"{name:<22} {kind:<18} {' '.join(description.split())}\n")
    return 0
