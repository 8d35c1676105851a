"""The kinds of sources, and how KIND:PATH opens one."""

import sys
import time
from collections.abc import Callable
from pathlib import Path

from edge_agent.sources.frame import FrameSource
from edge_agent.sources.intake import Intake
from edge_agent.stop import Stop
from headtail.bundle import Manifest
from headtail.errors import ConfigError

KINDS = ("wfdb", "npz", "images", "stdin")


def parse_source(text: str) -> tuple[str, str]:
    """Split KIND:PATH; `stdin` has no path.

    Raises:
        ConfigError: If the kind is unknown or the path is missing.
    """
    kind, _, path = text.partition(":")
    if kind not in KINDS or (kind == "stdin") == bool(path):
        raise ConfigError(
            "--source",
            f"expected wfdb:RECORD, npz:FILE, images:DIR or stdin, received '{text}'",
        )
    return kind, path


def open_source(
    text: str,
    manifest: Manifest,
    stop: Stop,
    speed: float | None,
    clock: Callable[[], float] = time.monotonic,
) -> FrameSource:
    """Open a source; each kind is imported only here, when it is asked for.

    Raises:
        ConfigError: If `text` names no source, or the bundle's steps do not suit it.
        DataError: If what it names is missing or malformed.
    """
    kind, path = parse_source(text)
    intake = Intake(manifest)
    if kind == "wfdb":
        from edge_agent.sources.record import RecordSource

        return RecordSource(Path(path), intake, speed, clock, stop.wait)
    if kind == "npz":
        from edge_agent.sources.npz import NpzSource

        return NpzSource(Path(path), intake)
    if kind == "images":
        from edge_agent.sources.ahead import ReadAhead
        from edge_agent.sources.images import ImagesSource

        # An image is decoded in milliseconds, most of them without the interpreter.
        return ReadAhead(ImagesSource(Path(path), intake, manifest.labels))
    from edge_agent.sources.stdin import StdinSource

    return StdinSource(sys.stdin.fileno(), intake, stop)
