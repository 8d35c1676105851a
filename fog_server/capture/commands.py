"""What an operator does with captured inputs from a shell: captured, forget."""

import argparse
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from fog_server.capture.capture import capture_folder
from fog_server.capture.command_line import make_parser
from fog_server.capture.folder import ModelFolder
from fog_server.capture.names import SALT
from fog_server.capture.reservoir import Bounds
from fog_server.config import Capture, Config
from headtail.captured import PATTERN, Index, read_index
from headtail.config import read_toml
from headtail.errors import DataError, HeadtailError

FAILED, ABSENT = 1, 4


def main(argv: Sequence[str]) -> int:
    """Run one command; return its exit code."""
    flags = make_parser().parse_args(argv)
    try:
        folder = _folder(flags)
        if flags.command == "forget":
            return _forget(flags, folder)
        return _list(flags, folder)
    except (HeadtailError, OSError) as error:
        sys.stderr.write(f"fog-server {flags.command}: {error}\n")
        return FAILED


def _folder(flags: argparse.Namespace) -> Path:
    if flags.folder is not None:
        return Path(flags.folder)
    config = read_toml(flags.config, Config) if flags.config else Config(bundles=flags.bundles)
    return capture_folder(config.capture, config.bundles)


def _models(folder: Path, name: str) -> list[Path]:
    found = sorted({path.parent for path in folder.glob(f"*/{PATTERN}")})
    return [path for path in found if name in ("", path.name)]


def _list(flags: argparse.Namespace, folder: Path) -> int:
    models = [_describe(path, with_windows=flags.windows) for path in _models(folder, flags.name)]
    if flags.json:
        sys.stdout.write(msgspec.json.encode({"folder": str(folder), "models": models}).decode())
        sys.stdout.write("\n")
    else:
        sys.stdout.write("\n".join(map(_text, models)) + "\n" if models else "nothing captured\n")
    return ABSENT if flags.name and not models else 0


def _describe(path: Path, *, with_windows: bool) -> dict[str, Any]:
    found: list[Index] = []
    broken: list[str] = []
    size = 0
    for shard in sorted(path.glob(PATTERN)):
        try:
            found.append(read_index(shard))
            size += shard.stat().st_size
        except (DataError, OSError) as error:  # the server may have replaced it meanwhile
            if shard.exists():
                broken.append(str(error))
    times = [float(t) for index in found for t in index.times_s]
    described: dict[str, Any] = {
        "model": path.name,
        "windows": len(times),
        "bytes": size,
        "shards": len(found),
        "agents": len({str(a) for index in found for a in index.agents}),
        "versions": sorted({index.header.version for index in found}),
        "oldest_s": min(times, default=None),
        "newest_s": max(times, default=None),
        "damaged": broken,
    }
    if with_windows:
        described["listed"] = sorted(
            (
                {"id": str(id_), "time_s": float(t), "agent": str(a), "sequence": int(s)}
                for index in found
                for id_, t, a, s in zip(
                    index.ids, index.times_s, index.agents, index.sequences, strict=True
                )
            ),
            key=lambda window: window["time_s"],
        )
    return described


def _text(model: dict[str, Any]) -> str:
    line = f"{model['model']}: {model['windows']} windows, {model['bytes']} bytes"
    if model["windows"]:
        line += f", {_utc(model['oldest_s'])} to {_utc(model['newest_s'])}"
    lines = [line, *(f"  damaged: {text}" for text in model["damaged"])]
    lines += [
        f"  {w['id']} {_utc(w['time_s'])} {w['agent']} {w['sequence']}"
        for w in model.get("listed", ())
    ]
    return "\n".join(lines)


def _utc(time_s: float) -> str:
    return datetime.fromtimestamp(time_s, UTC).isoformat(timespec="seconds")


def _forget(flags: argparse.Namespace, folder: Path) -> int:
    models = _models(folder, flags.name or "")
    bounds = Bounds(1, 1, Capture().retention_s)
    forgotten = {path.name: ModelFolder(path, bounds).forget() for path in models}
    if flags.all:
        (folder / SALT).unlink(missing_ok=True)
    if flags.json:
        sys.stdout.write(msgspec.json.encode({"forgotten": forgotten}).decode() + "\n")
    else:
        said = [f"{name}: {windows} windows deleted" for name, windows in forgotten.items()]
        sys.stdout.write("\n".join(said or ["nothing captured"]) + "\n")
    return ABSENT if flags.name and not models else 0
