"""Your own arrays: an .npz file with `x`, `y` and, if you split them yourself, more.

| array | shape | meaning |
|---|---|---|
| `x` | (N, L), (N, L, C) or (N, H, W, C) | windows to train on, any number type |
| `y` | (N,) | class numbers from 0, or names |
| `x_validation`, `y_validation` | as above | optional |
| `x_test`, `y_test` | as above | optional; with `x_validation` or not at all |
| `labels` | (classes,) | optional names of the class numbers |

Without the optional arrays the windows are split at random 70/15/15 within each class.
"""

import zipfile
import zlib
from pathlib import Path

import numpy as np

from headtail.errors import DataError
from headtail.tensor import Array
from optimizer.data.dataset import (
    DataConfig,
    Dataset,
    Labels,
    Split,
    capped,
    expand,
    split_at_random,
)

REQUIRED = {"x", "y"}
GIVEN = {"x_validation", "y_validation", "x_test", "y_test"}
MAX_CLASSES = 10_000


def load_npz(config: DataConfig) -> Dataset:
    """Load the file that `config.path` names.

    Raises:
        DataError: If it is missing, no .npz, or its arrays do not fit each other; the text names
            the file and the array.
    """
    if config.path is None:
        raise DataError("data source 'npz'", "expected `path`, the .npz file")
    path = expand(config.path)
    arrays = _read(path)
    names, labels = _labels(arrays, path)
    rng = np.random.default_rng(config.seed)
    train = _split(arrays, "", names, path)
    if arrays.keys() >= GIVEN:
        protocol = "given splits"
        validation = _split(arrays, "_validation", names, path)
        test = _split(arrays, "_test", names, path)
    else:
        protocol = "random 70/15/15 split"
        train, validation, test = split_at_random(train.x, train.y, rng)
    train = capped(train, config.max_train_per_class, rng)
    return Dataset(path.name, train, validation, test, labels, (), protocol, is_synthetic=False)


def _read(path: Path) -> dict[str, Array]:
    try:
        # numpy leaves a file open that it opened and cannot read.
        with path.open("rb") as file:
            members = np.load(file, allow_pickle=False)
            if not isinstance(members, np.lib.npyio.NpzFile):
                raise DataError(str(path), "expected an .npz file, received a single array")
            arrays = {name: members[name] for name in members.files}
    except FileNotFoundError as error:
        raise DataError(str(path), "no such file") from error
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(str(path), f"expected an .npz file: {reason}") from error
    unknown = arrays.keys() - REQUIRED - GIVEN - {"labels"}
    if unknown or not arrays.keys() >= REQUIRED:
        raise DataError(
            str(path),
            f"expected arrays x, y and optionally {', '.join(sorted(GIVEN))}, labels;"
            f" received {', '.join(sorted(arrays)) or 'none'}",
        )
    if arrays.keys() & GIVEN and not arrays.keys() >= GIVEN:
        raise DataError(str(path), f"expected all of {', '.join(sorted(GIVEN))} or none")
    return arrays


def _labels(arrays: dict[str, Array], path: Path) -> tuple[list[str] | None, tuple[str, ...]]:
    """Return the class names where `y` holds names, and the labels."""
    y = arrays["y"]
    if y.dtype.kind == "U":
        names = sorted({str(name) for name in y.reshape(-1)})
        return names, tuple(names)
    if y.dtype.kind not in "iu" or y.ndim != 1 or y.size == 0 or y.min() < 0:
        raise DataError(f"{path} 'y'", "expected class numbers from 0, or names, shape (N,)")
    count = int(y.max()) + 1
    if count > MAX_CLASSES:
        raise DataError(f"{path} 'y'", f"expected at most {MAX_CLASSES} classes, received {count}")
    if "labels" not in arrays:
        return None, tuple(str(i) for i in range(count))
    labels = tuple(str(name) for name in arrays["labels"].reshape(-1))
    if len(labels) < count:
        raise DataError(f"{path} 'labels'", f"expected {count} names, received {len(labels)}")
    return None, labels


def _split(arrays: dict[str, Array], suffix: str, names: list[str] | None, path: Path) -> Split:
    x, y = arrays["x" + suffix], arrays["y" + suffix]
    where = f"{path} 'x{suffix}'"
    if x.dtype.kind not in "fiub" or not 2 <= x.ndim <= 4 or x.size == 0:
        raise DataError(where, f"expected windows of numbers, received {x.dtype} {x.shape}")
    if x.shape[1:] != arrays["x"].shape[1:] or y.shape != (len(x),):
        raise DataError(
            where,
            f"expected windows of shape {arrays['x'].shape[1:]} and as many labels,"
            f" received {x.shape} and {y.shape}",
        )
    if x.dtype.kind == "f":
        with np.errstate(over="ignore"):  # becomes infinity
            x = x.astype(np.float32)
        is_finite = np.isfinite(x).reshape(len(x), -1).all(axis=1)
        if not is_finite.all():
            bad = int(np.argmin(is_finite))
            raise DataError(where, f"window {bad} holds NaN or infinity, or more than float32 can")
    return Split(x if x.dtype.kind == "u" else x.astype(np.float32), _numbers(y, names, where))


def _numbers(y: Array, names: list[str] | None, where: str) -> Labels:
    if names is None:
        if y.dtype.kind not in "iu":
            raise DataError(where, "its labels: expected class numbers, as in 'y'")
        return y.astype(np.int64)
    unknown = sorted({str(name) for name in y} - set(names))
    if unknown:
        raise DataError(where, f"its labels: '{unknown[0]}' does not occur in 'y'")
    return np.searchsorted(np.array(names), y).astype(np.int64)
