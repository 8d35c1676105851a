"""Parsers of the commands beside serving, each with an epilog on its exit codes."""

import argparse
from collections.abc import Callable


def make_command_parser(
    epilog: str, add_common: Callable[[argparse.ArgumentParser], None]
) -> tuple[argparse.ArgumentParser, Callable[[str, str], argparse.ArgumentParser]]:
    """Return a parser, and a function that adds a command, with its help, to it.

    Args:
        epilog: Ends the help of each.
        add_common: Adds the flags that all of them have.
    """
    parser = argparse.ArgumentParser(
        prog="fog-server", epilog=epilog, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, help_text: str) -> argparse.ArgumentParser:
        made = commands.add_parser(
            name,
            help=help_text,
            description=help_text,
            epilog=epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        add_common(made)
        return made

    return parser, add
