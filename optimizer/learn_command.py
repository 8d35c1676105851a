"""The command `optimizer learn`: profiles corrected with what Prometheus recorded of agents."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from headtail.errors import ConfigError

if TYPE_CHECKING:
    from optimizer.recipe.field import FieldConfig

_EPILOG = """\
examples:
  optimizer learn --prometheus http://127.0.0.1:9090 --model ecg-demo \\
    --device-profile raspberry-pi-5 --link-profile ethernet --range 1h
  optimizer learn --prometheus http://127.0.0.1:9090 --model ecg-demo \\
    --device-profile raspberry-pi-5 --link-profile wifi-esp32 \\
    --match instance=10.0.0.7:9101 --out profiles

A recipe does the same within its run: section [field]. See docs/field.md.
"""


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `learn` to the program's commands."""
    parser = commands.add_parser(
        "learn",
        help="correct device and link profiles with what agents measured",
        description="Ask a Prometheus that scrapes the agents how long their heads, messages and"
        " the fog really took, and correct a device and a link profile with it.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--prometheus", metavar="URL", required=True, help="http://HOST:PORT")
    add("--model", metavar="NAME", required=True, help="bundle that the agents run")
    profile = "a name of `optimizer profiles` or a .toml file"
    add("--device-profile", metavar="P", required=True, help=f"to correct: {profile}")
    add("--link-profile", metavar="P", required=True, help=f"to correct: {profile}")
    add("--range", metavar="T", default="1h", help="how far back: a number with s, m, h or d (1h)")
    add(
        "--match", metavar="LABEL=VALUE", action="append", default=[],
        help="a label that the agents' metrics must have; may be repeated",
    )  # fmt: skip
    add("--min-windows", metavar="N", type=int, default=100, help="fewer teach nothing (100)")
    add("--out", type=Path, metavar="DIR", help="write corrected profiles here, as NAME.toml")
    add("--json", action="store_true", help="write all that was learned as one JSON object")
    parser.set_defaults(handler=handle)


def handle(arguments: argparse.Namespace) -> int:
    """Run the command; returns the exit code."""
    from headtail.files import write_file
    from headtail.profile import read_device_profile, read_link_profile
    from headtail.profile_toml import encode_profile
    from optimizer.field.lesson import learn
    from optimizer.field.text import terminal_lines

    lesson = learn(
        _config(arguments),
        arguments.model,
        read_device_profile(arguments.device_profile),
        read_link_profile(arguments.link_profile),
    )
    written = []
    if arguments.out is not None:
        for before, profile in (
            (lesson.base_device, lesson.device),
            (lesson.base_link, lesson.link),
        ):
            if profile != before:
                path = arguments.out / f"{profile.name}.toml"
                write_file(path, encode_profile(profile), 0o644)
                written.append(path)
    if arguments.json:
        sys.stdout.write(msgspec.json.encode(lesson).decode() + "\n")
        return 0
    sys.stdout.write("".join(f"{line}\n" for line in terminal_lines(lesson)))
    sys.stdout.write("".join(f"wrote {path}\n" for path in written))
    return 0


def _config(arguments: argparse.Namespace) -> "FieldConfig":
    from optimizer.recipe.field import FieldConfig

    matchers = {}
    for text in arguments.match:
        name, equals, value = text.partition("=")
        if not equals:
            raise ConfigError("--match", f"expected LABEL=VALUE, received '{text}'")
        matchers[name] = value
    told = {
        "prometheus": arguments.prometheus,
        "range": arguments.range,
        "matchers": matchers,
        "min_windows": arguments.min_windows,
    }
    try:
        return msgspec.convert(told, FieldConfig)
    except msgspec.ValidationError as error:
        raise ConfigError("optimizer learn", str(error)) from error
