"""The few windows a bundle carries to test itself with, small enough for its limits."""

from collections.abc import Mapping

import numpy as np

from headtail.bundle.archive import Samples, encode_samples
from headtail.bundle.manifest import MAX_SAMPLES, MAX_SAMPLES_BYTES
from headtail.errors import ExportError
from headtail.tensor import Array
from optimizer.cut.cut import CutModel
from optimizer.verify import Runner, batches, load_runner

# What a bundle's reader unpacks at most per array, see headtail.bundle.archive.
MAX_ARRAY_BYTES = 16 * MAX_SAMPLES_BYTES
# float32 has 23 bits of mantissa; zeroed ones compress to nothing.
MANTISSA_BITS = 23
COARSER_BITS = (10, 7, 4, 2, 0)


def build_samples(model: CutModel, windows: Mapping[str, Array]) -> Samples:
    """Return up to eight windows with the chain's outputs, within 1 MiB once compressed.

    Fewer windows are kept where eight are too large. Where even one is, its values are rounded to
    fewer bits (down to powers of two), which compresses well and still reaches every weight; the
    outputs are those of the rounded window.

    Raises:
        ExportError: If not even one such window fits with its outputs.
    """
    runner = load_runner(model)
    for bits in (MANTISSA_BITS, *COARSER_BITS):
        samples, size = _samples(runner, windows, 1, bits)
        if size > MAX_SAMPLES_BYTES:
            continue
        # Compressed sizes add up only nearly; below a megabyte one too many is soon found out.
        most = MAX_SAMPLES_BYTES // size + 1 if bits == MANTISSA_BITS else 1
        for count in range(min(MAX_SAMPLES, most), 1, -1):
            several, total = _samples(runner, windows, count, bits)
            if total <= MAX_SAMPLES_BYTES:
                return several
        return samples
    raise ExportError(
        "samples",
        f"one window with its outputs is over the {MAX_SAMPLES_BYTES} bytes a bundle may hold",
    )


def _samples(
    runner: Runner, windows: Mapping[str, Array], count: int, bits: int
) -> tuple[Samples, int]:
    """Return the first windows with their outputs, and their size in the bundle."""
    first = next(batches(windows, runner.model.inputs, count))
    feed = {n: _rounded(a, bits) for n, a in first.items()}
    known = runner.run(feed)
    samples = Samples(feed, {s.name: known[s.name] for s in runner.model.outputs})
    largest = max(a.nbytes for a in (*samples.inputs.values(), *samples.outputs.values()))
    return samples, len(encode_samples(samples)) if largest <= MAX_ARRAY_BYTES else largest


def _rounded(array: Array, bits: int) -> Array:
    """Return float32 values with `bits` bits of mantissa, the rest cut off; others as they are."""
    if bits == MANTISSA_BITS or array.dtype != np.float32:
        return array
    mask = np.uint32((0xFFFFFFFF << (MANTISSA_BITS - bits)) & 0xFFFFFFFF)
    return (np.ascontiguousarray(array).view(np.uint32) & mask).view(np.float32)
