"""Windows to capture, and those that a folder keeps."""

import fcntl
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path

from fog_server.capture.folder import LOCK
from fog_server.capture.window import Window
from headtail.captured import Header, read_shard
from headtail.tensor import Array, TensorSpec

BUNDLE = "e" * 64


def header(bundle: str = BUNDLE) -> Header:
    """Return what the windows have in common."""
    return Header(
        "chain", "1.0", bundle, (TensorSpec("x", "float32", (-1, -1)),), (), is_batchable=True
    )


def window(array: Array, key: float, sequence: int = 0) -> Window:
    """Return a window of one input."""
    return Window(header(), (array,), key, 0.0, "a", sequence)


def kept(folder: Path) -> dict[str, tuple[Array, ...]]:
    """Return the windows of every shard below a folder by id; each is there once.

    No folder is changed meanwhile; one that is new since the locks were taken is seen next time.
    """
    while True:
        with ExitStack() as locks:
            locked = sorted(folder.rglob(LOCK))
            for path in locked:
                fcntl.flock(locks.enter_context(path.open()), fcntl.LOCK_SH)
            paths = sorted(folder.rglob("*.npz"))
            if {path.parent for path in paths} <= {path.parent for path in locked}:
                return _read(paths)


def _read(paths: Iterable[Path]) -> dict[str, tuple[Array, ...]]:
    found: dict[str, tuple[Array, ...]] = {}
    for path in paths:
        shard = read_shard(path)
        for row, name in enumerate(shard.index.ids.tolist()):
            assert name not in found
            found[name] = tuple(array[row] for array in shard.inputs)
    return found
