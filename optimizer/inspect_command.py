"""The command `optimizer inspect`: what is in a bundle, checked as every reader checks it."""

import argparse
import sys
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table

from headtail.bundle import Bundle, Manifest, read_bundle
from headtail.bundle.keys import read_trust
from headtail.bundle.manifest import Segment
from headtail.bundle.offers import keeps_floor
from headtail.segment import Chain
from headtail.tensor import TensorSpec
from optimizer.package.table import format_amount, format_bytes, points_table

SYNTHETIC = "SYNTHETIC: made from generated data, says nothing about real signals"


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `inspect` to the program's commands."""
    parser = commands.add_parser(
        "inspect",
        help="print what is in a bundle",
        description="Check a bundle's signature, digests and self-test, and print what it holds.",
        epilog="examples:\n  optimizer inspect model.bundle\n"
        "  optimizer inspect model.bundle --json | jq .digest\n",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help="a .bundle file")
    parser.add_argument("--json", action="store_true", help="print everything as JSON")
    parser.add_argument("--trust", type=Path, metavar="DIR", help="folder of trusted keys (*.pub)")
    parser.set_defaults(handler=handle)


def handle(arguments: argparse.Namespace) -> int:
    """Run the command; returns the exit code."""
    bundle = read_bundle(arguments.bundle, read_trust(arguments.trust))
    error = Chain(bundle).self_test(bundle)
    if arguments.json:
        text = msgspec.json.format(msgspec.json.encode(_record(bundle, error)), indent=2)
        sys.stdout.write(text.decode("utf-8") + "\n")
        return 0
    _print(Console(), bundle, error)
    return 0


def _record(bundle: Bundle, error: float) -> dict[str, Any]:
    return {
        "digest": bundle.digest,
        "signed_by": bundle.key_id,
        "bytes": bundle.size_bytes,
        "self_test_error": error,
        "manifest": msgspec.to_builtins(bundle.manifest),
        "report": msgspec.json.decode(bundle.report),
    }


def _print(output: Console, bundle: Bundle, error: float) -> None:
    manifest = bundle.manifest
    if manifest.lineage.is_synthetic:
        output.print(SYNTHETIC, style="bold reverse")
    for table in (_identity(bundle, error), _segments(manifest), points_table(manifest)):
        output.print(table)
    if manifest.lineage.is_synthetic:
        output.print(SYNTHETIC, style="bold reverse")


def _identity(bundle: Bundle, error: float) -> Table:
    manifest, lineage = bundle.manifest, bundle.manifest.lineage
    rows = {
        "bundle": f"{manifest.name} {manifest.version}, {format_bytes(bundle.size_bytes)}",
        "digest": bundle.digest,
        "signed by": f"key {bundle.key_id}, trusted",
        "self-test": f"passed, largest error {error:.1e} of the largest output",
        "task": manifest.task,
        "labels": _shortened(manifest.labels),
        "inputs": "; ".join(map(_spec, manifest.inputs)),
        "outputs": "; ".join(map(_spec, manifest.outputs)),
        "preprocess": ", ".join(s.name for s in manifest.preprocess) or "none",
        "default": f"partition point {manifest.default_point} of {len(manifest.segments)},"
        f" {manifest.default_encoding.value}",
        "floor": _floor(manifest),
        "metrics": "; ".join(
            f"{m.name} {m.value:.4g} ({m.protocol} protocol, {m.split})" for m in manifest.metrics
        )
        or "none measured",
        "data": _flat(lineage.data),
        "recipe": _flat(lineage.recipe),
        "seed": str(lineage.seed),
        "packages": _flat(lineage.packages),
        "profiles": _flat({n: d[:12] for n, d in lineage.profiles.items()}),
        "parent": lineage.parent or "none",
    }
    table = Table(show_header=False, box=None)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, value in rows.items():
        table.add_row(name, value)
    return table


def _floor(manifest: Manifest) -> str:
    """Say which encodings agents may pick."""
    floor = manifest.accuracy_floor
    if floor is None:
        return "none: agents may pick any encoding"
    wires = [wire for point in manifest.points for wire in point.encodings]
    left = sum(not keeps_floor(manifest, wire) for wire in wires)
    return f"{floor:.1%}; below it {left} of {len(wires)} encodings, which agents never pick"


def _segments(manifest: Manifest) -> Table:
    table = Table(title="segments")
    for column in ("segment", "inputs", "outputs", "MACs", "parameters", "file"):
        table.add_column(column, justify="left" if column in {"inputs", "outputs"} else "right")
    for i, segment in enumerate(manifest.segments):
        table.add_row(str(i), *_segment_cells(segment))
    return table


def _segment_cells(segment: Segment) -> list[str]:
    return [
        "\n".join(map(_spec, segment.inputs)),
        "\n".join(map(_spec, segment.outputs)),
        format_amount(float(segment.operations.macs), ""),
        format_amount(float(segment.operations.parameters), ""),
        format_bytes(segment.member.bytes),
    ]


def _spec(spec: TensorSpec) -> str:
    shape = " x ".join("batch" if n < 0 else str(n) for n in spec.shape)
    return f"{spec.name} {spec.dtype} {shape or 'scalar'}"


def _shortened(labels: tuple[str, ...]) -> str:
    shown = ", ".join(labels[:8])
    return f"{shown}, ... ({len(labels)})" if len(labels) > 8 else shown or "none"


def _flat(record: dict[str, Any]) -> str:
    return ", ".join(f"{k} {_value(v)}" for k, v in record.items()) or "none"


def _value(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode("utf-8")
