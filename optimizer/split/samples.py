"""The user's own windows and labels for `optimizer split`, and random ones where there are none."""

import hashlib
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from headtail.errors import DataError
from headtail.tensor import Array
from optimizer.cut.graph import Graph
from optimizer.cut.graph_probe import random_windows
from optimizer.verify import MIN_WINDOWS, Tensors, check_windows

CALIBRATION_WINDOWS = 256
MAX_LABEL_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class SplitData:
    """Windows by input name (the first axis counts them), and where they come from."""

    windows: Tensors
    """What the segments are verified on: at least `MIN_WINDOWS`."""
    source: str
    own: Tensors | None
    """The user's windows, or None."""
    labels: Array | None
    """Class index of each of the user's windows, or None."""
    fingerprint: dict[str, Any]
    """What the lineage says of the data."""

    @property
    def calibration(self) -> Tensors | None:
        """The user's first windows, for int8 ranges; None where there are none."""
        return self.own and {n: a[:CALIBRATION_WINDOWS] for n, a in self.own.items()}


def read_samples(path: Path | None, graph: Graph, rng: np.random.Generator) -> SplitData:
    """Read an .npz with an array per input, or `x` for a model of one input, and labels `y`.

    Without a file, or with fewer than `MIN_WINDOWS` windows in it, random windows make up the
    number for verification.

    Raises:
        DataError: If the file cannot be read or an array is missing.
        TensorError: If an array does not fit the model's inputs.
    """
    if path is None:
        windows = random_windows(graph.inputs, MIN_WINDOWS, rng)
        facts = {"name": "random windows", "windows": MIN_WINDOWS}
        return SplitData(windows, f"{MIN_WINDOWS} random", None, None, facts)
    arrays = _read_npz(path)
    labels = arrays.pop("y", None) if "y" not in {s.name for s in graph.inputs} else None
    own = check_windows(_named(arrays, graph), graph.inputs, str(path))
    count = len(next(iter(own.values())))
    if labels is not None and (labels.shape != (count,) or labels.dtype.kind not in "iu"):
        raise DataError(str(path), f"'y' must hold {count} class indices, shape ({count},)")
    missing = max(MIN_WINDOWS - count, 0)
    windows = {n: a[:MIN_WINDOWS] for n, a in own.items()}
    source = f"{min(count, MIN_WINDOWS)} of {path.name}"
    if missing:
        extra = random_windows(graph.inputs, missing, rng)
        windows = {n: np.concatenate([a, extra[n]]) for n, a in windows.items()}
        source += f" and {missing} random"
    facts = {"name": path.name, "sha256": _sha256(path), "windows": count}
    return SplitData(windows, source, own, labels, facts)


def read_labels(path: Path | None, graph: Graph) -> tuple[str, ...]:
    """Read class names, one a line; () without a file.

    Raises:
        DataError: If the file cannot be read, or their number is not that of the first output.
    """
    if path is None:
        return ()
    try:
        with path.open("rb") as file:
            text = file.read(MAX_LABEL_BYTES + 1)
        labels = tuple(line.strip() for line in text.decode("utf-8").splitlines() if line.strip())
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(str(path), f"cannot be read: {error}") from error
    spec = graph.outputs[0]
    if len(text) > MAX_LABEL_BYTES or len(labels) != spec.window_shape[-1]:
        raise DataError(
            str(path), f"{len(labels)} labels for output '{spec.name}' of {spec.window_shape[-1]}"
        )
    return labels


def _named(arrays: Tensors, graph: Graph) -> Tensors:
    """Give a lone `x` the name of the model's one input, and a lone window its first axis."""
    if len(graph.inputs) == 1 and graph.inputs[0].name not in arrays and "x" in arrays:
        arrays = {graph.inputs[0].name: arrays["x"]}
    fixed = {s.name: s.shape for s in graph.inputs if not s.is_batchable}
    return {n: a[None] if fixed.get(n) == a.shape else a for n, a in arrays.items()}


def _read_npz(path: Path) -> Tensors:
    try:
        with np.load(path, allow_pickle=False) as file:
            if isinstance(file, np.ndarray):
                raise DataError(str(path), "expected an .npz of named arrays, received one array")
            return {name: file[name] for name in file.files}
    except OSError as error:
        raise DataError(str(path), f"cannot be read: {error.strerror or error}") from error
    except (ValueError, EOFError, zipfile.BadZipFile, AttributeError) as error:
        raise DataError(str(path), f"no .npz of plain arrays: {error}") from error


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
