"""The command `optimizer submit`: a recipe to the job service."""

import argparse
import re
import sys
import uuid
from pathlib import Path

from headtail.config import MAX_CONFIG_BYTES
from headtail.errors import ConfigError
from optimizer.serve.client import JobsClient
from optimizer.serve.connection import add_command, write_json
from optimizer.serve.job import Request, Resources

_EXAMPLES = """\
  optimizer submit recipes/demo.toml --reason "p95 latency" --cpus 4 --memory 4G
  optimizer submit recipe.toml --key alert-2026-11-21    # twice: one job
  optimizer submit recipe.toml --watch
"""
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `submit` to the program's commands."""
    summary = "queue a recipe at the job service and print the job's id"
    parser = add_command(commands, "submit", summary, _EXAMPLES, _submit)
    add = parser.add_argument
    add("recipe", type=Path, metavar="RECIPE.toml", help="what to make")
    add("--name", default="", help="beginning of the job's id (default: the recipe's name)")
    add("--seed", metavar="N", help="replaces the recipe's seed")
    add("--bundle-version", metavar="V", default="", help="replaces the recipe's version")
    add("--reason", default="", metavar="TEXT", help="why, for those who read the list")
    add("--cpus", type=int, default=1, metavar="N", help="cores that it runs on (default 1)")
    add("--gpus", type=int, default=0, metavar="N", help="GPUs that it sees (default 0)")
    add(
        "--memory",
        type=parse_size,
        default=0,
        metavar="SIZE",
        help="memory of all its processes, as 512M or 4G (default: the service's)",
    )
    add(
        "--key",
        default="",
        metavar="TEXT",
        help="idempotency key: the same key with the same request is the same job",
    )
    add("--watch", action="store_true", help="then watch it, as `optimizer watch` does")


def parse_size(text: str) -> int:
    """Return the bytes of a size such as 512M or 4G; units are powers of 1024."""
    match = re.fullmatch(r"(\d{1,15})([KMGT]?)(?:i?B)?", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"expected a size as 512M or 4G, received '{text}'")
    return int(match[1]) * _UNITS[match[2]]


def _submit(client: JobsClient, arguments: argparse.Namespace) -> int:
    from optimizer.recipe.image import read_any_recipe
    from optimizer.recipe.recipe import parse_seed, parse_version

    seed = None if arguments.seed is None else parse_seed(arguments.seed)
    version = arguments.bundle_version and parse_version(arguments.bundle_version)
    # A typing error is told here, with its file.
    recipe = read_any_recipe(arguments.recipe, seed, version)
    request = Request(
        name=arguments.name or recipe.name,
        recipe=_read(arguments.recipe),
        seed=seed,
        resources=Resources(arguments.cpus, arguments.gpus, arguments.memory),
        reason=arguments.reason,
        version=version,
        key=arguments.key or uuid.uuid4().hex,  # a call that is made again makes no second job
    )
    job, is_known = client.submit(request)
    if arguments.json:
        write_json({"job": job, "is_known": is_known})
    else:
        sys.stdout.write(f"{job.id}\n")
        sys.stdout.flush()
    if not arguments.watch:
        return 0
    from optimizer.serve.watch_command import follow

    return follow(client, job.id, is_json=arguments.json, timeout_s=None)


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_CONFIG_BYTES)
    except OSError as error:
        raise ConfigError(str(path), f"cannot be read: {error.strerror or error}") from error
