"""Windows to capture, and those that a folder keeps."""

from collections.abc import Iterable
from pathlib import Path

from fog_server.capture.window import Window
from headtail.captured import Header, read_shard
from headtail.errors import DataError
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

    A folder that is changed meanwhile is looked at again.
    """
    while True:
        paths = sorted(folder.rglob("*.npz"))
        try:
            return _read(paths)
        except DataError:
            if all(path.exists() for path in paths):
                raise


def _read(paths: Iterable[Path]) -> dict[str, tuple[Array, ...]]:
    found: dict[str, tuple[Array, ...]] = {}
    for path in paths:
        shard = read_shard(path)
        for row, name in enumerate(shard.index.ids.tolist()):
            assert name not in found
            found[name] = tuple(array[row] for array in shard.inputs)
    return found
