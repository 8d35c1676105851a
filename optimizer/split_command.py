"""The command `optimizer split`: an existing model, the best place to cut it, a bundle."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import msgspec
from rich.console import Console
from rich.table import Table

from headtail.errors import ConfigError
from headtail.profile import list_device_profiles, list_link_profiles
from headtail.wire import Encoding
from optimizer.cut.cut import Cut, Selection, legal_cuts
from optimizer.cut.graph import Graph
from optimizer.package.cuts import cuts_table
from optimizer.package.table import format_bytes, points_table
from optimizer.partition import Bounds
from optimizer.progress import Terminal
from optimizer.split.model import SplitRequest, SplitResult, read_source, split_model

_EPILOG = """\
examples:
  optimizer split resnet50.onnx --out resnet50.bundle
  optimizer split model.keras --out model.bundle --samples windows.npz \\
      --device-profile raspberry-pi-5 --link-profile ethernet
  optimizer split model.onnx --points list
  optimizer split model.onnx --out model.bundle --points 12,31 --ram-bytes 200000
"""


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `split` to the program's commands."""
    parser = commands.add_parser(
        "split",
        help="cut a finished .onnx or .keras model and bundle it",
        description="Find the cuts of a finished model, prove head and tail equal to the whole,"
        " price every partition point for a device and a link, and write a signed bundle.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", type=Path, metavar="MODEL", help="an .onnx or .keras file")
    parser.add_argument("--out", type=Path, metavar="FILE", help="the bundle to write")
    parser.add_argument(
        "--points",
        default="auto",
        metavar="auto|all|list|I,J,...",
        help="cuts to offer: those that shrink what is sent (auto), every legal one, those with"
        " these numbers, or only print the legal ones (list)",
    )
    _add_pricing(parser)
    _add_contents(parser)
    parser.set_defaults(handler=handle)


def _add_pricing(parser: argparse.ArgumentParser) -> None:
    defaults = SplitRequest(Path(), Path())
    parser.add_argument(
        "--device-profile",
        action="append",
        metavar="NAME",
        help="device to price for, a name or a .toml file; may be repeated, the first decides the"
        f" default point ({defaults.devices[0]}); known: {', '.join(list_device_profiles())}",
    )
    parser.add_argument(
        "--link-profile",
        action="append",
        metavar="NAME",
        help=f"link to price for, likewise ({defaults.links[0]}); known:"
        f" {', '.join(list_link_profiles())}",
    )
    parser.add_argument(
        "--objective",
        choices=("edge_energy", "total_energy", "latency"),
        default=defaults.objective,
        help="what the default point minimises (%(default)s)",
    )
    for flag, text in (
        ("--flash-bytes", "bound on the head's parameters, 4 bytes each"),
        ("--ram-bytes", "bound on the tensors alive at once in the head"),
        ("--edge-j", "bound on the modelled edge energy of one window"),
        ("--latency-s", "bound on the predicted time of head and transmission"),
    ):
        parser.add_argument(flag, type=float, metavar="N", help=text)


def _add_contents(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--samples",
        type=Path,
        metavar="X.npz",
        help="windows as the model takes them, an array per input (or `x`), optionally labels `y`:"
        " verifies on them, calibrates int8 and int4 and measures accuracy",
    )
    parser.add_argument(
        "--encodings",
        metavar="NAME,...",
        help="how the activation may travel beside float32: float16, int8, int4 (all but int4)",
    )
    parser.add_argument(
        "--accuracy-floor",
        type=float,
        metavar="N",
        help="least accuracy, 0 to 1, of an encoding that agents may pick; needs labels `y`",
    )
    parser.add_argument("--labels", type=Path, metavar="FILE", help="class names, one a line")
    parser.add_argument("--name", help="bundle name (the file's name)")
    parser.add_argument("--version", dest="bundle_version", default="1", metavar="V", help="(1)")
    parser.add_argument("--key", type=Path, metavar="FILE", help="private key that signs (PEM)")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def handle(arguments: argparse.Namespace) -> int:
    """Run the command; returns the exit code."""
    terminal = Terminal(Console(stderr=True))
    output = Console()
    if arguments.points == "list":
        with terminal.stage("read the model"):
            graph = read_source(arguments.model).graph
        _print_cuts(output, graph, arguments.json)
        return 0
    request = _request(arguments)
    result = split_model(request, terminal)
    if arguments.json:
        _print_json(_record(request, result))
    else:
        _print_result(output, request, result)
    return 0


def _request(arguments: argparse.Namespace) -> SplitRequest:
    if arguments.out is None:
        raise ConfigError("--out", "name the bundle to write")
    defaults = SplitRequest(arguments.model, arguments.out)
    limits = ("flash_bytes", "ram_bytes", "edge_j", "latency_s")
    return SplitRequest(
        model=arguments.model,
        out=arguments.out,
        name=arguments.name,
        version=arguments.bundle_version,
        points=parse_points(arguments.points),
        devices=tuple(arguments.device_profile or defaults.devices),
        links=tuple(arguments.link_profile or defaults.links),
        bounds=_bounds({n: getattr(arguments, n) for n in limits}),
        objective=arguments.objective,
        encodings=parse_encodings(arguments.encodings),
        accuracy_floor=_floor(arguments.accuracy_floor),
        samples=arguments.samples,
        labels=arguments.labels,
        key=arguments.key,
    )


def parse_points(text: str) -> Selection:
    """Read `--points`: auto, all, or numbers of legal cuts.

    Raises:
        ConfigError: If it is none of these.
    """
    if text in {"auto", "all"}:
        return cast(Selection, text)
    parts = text.split(",")
    if not all(p.strip().isascii() and p.strip().isdigit() and len(p) < 9 for p in parts):
        raise ConfigError("--points", f"expected auto, all, list or I,J,..., received '{text}'")
    return tuple(int(p) for p in parts)


def parse_encodings(text: str | None) -> tuple[Encoding, ...] | None:
    """Read `--encodings`: names with commas between them; None stays None.

    Raises:
        ConfigError: If a name is none of an encoding.
    """
    if text is None:
        return None
    names = [name.strip() for name in text.split(",")]
    known = [e.value for e in Encoding]
    if wrong := [name for name in names if name not in known]:
        raise ConfigError(
            "--encodings", f"expected some of {', '.join(known)}, received '{wrong[0]}'"
        )
    return tuple(Encoding(name) for name in names)


def _bounds(limits: dict[str, float | None]) -> Bounds:
    try:
        return msgspec.convert(limits, Bounds)
    except msgspec.ValidationError as error:
        raise ConfigError("bounds", str(error)) from error


def _floor(value: float | None) -> float | None:
    if value is not None and not 0 < value <= 1:
        raise ConfigError("--accuracy-floor", f"expected an accuracy from 0 to 1, received {value}")
    return value


def _print_cuts(output: Console, graph: Graph, as_json: bool) -> None:
    cuts = legal_cuts(graph)
    if as_json:
        _print_json([_cut_record(cut) for cut in cuts])
        return
    table = Table("cut", "bytes", "of input", "tensors", title=f"{len(cuts)} legal cuts")
    for cut in cuts:
        share = f"{cut.window_bytes / cut.input_bytes:.1%}"
        names = ", ".join(f"{s.name} {list(s.window_shape)}" for s in cut.tensors)
        table.add_row(str(cut.index), format_bytes(cut.window_bytes), share, names)
    output.print(table)


def _print_result(output: Console, request: SplitRequest, result: SplitResult) -> None:
    manifest = result.packed.manifest
    output.print(points_table(manifest))
    if result.costs:
        output.print(cuts_table(result.costs))
    output.print(
        f"{len(result.cuts)} of {result.legal} legal cuts offered; verified on {result.windows}"
        f" windows: largest error {result.error:.1e} of the largest output",
        markup=False,
        highlight=False,
    )
    output.print(
        f"default: partition point {manifest.default_point} of {len(manifest.segments)},"
        f" {manifest.default_encoding.value}",
        markup=False,
        highlight=False,
    )
    output.print(
        f"wrote {request.out}: {manifest.name} {manifest.version},"
        f" {format_bytes(result.packed.size_bytes)}, digest {result.packed.digest}",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )


def _record(request: SplitRequest, result: SplitResult) -> dict[str, Any]:
    manifest = result.packed.manifest
    return {
        "bundle": str(request.out),
        "digest": result.packed.digest,
        "bytes": result.packed.size_bytes,
        "name": manifest.name,
        "version": manifest.version,
        "legal_cuts": result.legal,
        "cuts": [_cut_record(cut) for cut in result.cuts],
        "verified": {"windows": result.windows, "largest_error": result.error},
        "default_point": manifest.default_point,
        "default_encoding": manifest.default_encoding.value,
        "points": [msgspec.to_builtins(p) for p in manifest.points],
        "cut_costs": [msgspec.to_builtins(c) for c in result.costs],
    }


def _cut_record(cut: Cut) -> dict[str, Any]:
    return {
        "cut": cut.index,
        "bytes": cut.window_bytes,
        "tensors": [msgspec.to_builtins(s) for s in cut.tensors],
    }


def _print_json(record: dict[str, Any] | Sequence[Any]) -> None:
    text = msgspec.json.format(msgspec.json.encode(record), indent=2)
    sys.stdout.write(text.decode("utf-8") + "\n")
