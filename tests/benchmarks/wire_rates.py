"""How well activations deflate and what encodings cost: a table by bundle, point and encoding.

Run it with bundles that are trusted here: `.venv/bin/python tests/benchmarks/wire_rates.py
NAME=FILE.bundle ...`. Times are of the thread's own CPU, the least of nine rounds, on one window.
Ranges that a bundle does not have are the window's own.
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path

from headtail.bundle import Bundle, read_bundle
from headtail.bundle.keys import read_trust
from headtail.bundle.manifest import Point
from headtail.compression import compress, decompress
from headtail.segment import Chain, Tensors, first_window
from headtail.tensor import to_bytes
from headtail.wire import STORED_RANGES, USUAL_ENCODINGS, Encoding, calibrate, decode, encode

ROUNDS = 9
HEAD = (
    "model, point", "encoding", "bytes", "deflated to", "deflate", "inflate", "encode", "decode",
)  # fmt: skip


def least_s(work: Callable[[], object]) -> float:
    """Return the least CPU time of a few runs, after one that warms up."""
    work()
    times = []
    for _ in range(ROUNDS):
        start_s = time.thread_time()
        work()
        times.append(time.thread_time() - start_s)
    return max(1e-9, min(times))


def rows(name: str, bundle: Bundle) -> list[list[str]]:
    """Return a row per point that can be cut and encoding."""
    chain, window = Chain(bundle), first_window(bundle)
    return [
        [f"{name}, {point.index}", *row(point, chain.head(window, point.index), encoding)]
        for point in bundle.manifest.points[:-1]
        for encoding in USUAL_ENCODINGS
    ]


def row(point: Point, activation: Tensors, encoding: Encoding) -> list[str]:
    """Return the figures of one encoding of one activation."""
    wire = point.wire(encoding)
    affines = {s.name: calibrate(activation[s.name]) for s in point.activation}
    if encoding in STORED_RANGES and wire is not None:
        affines = dict(wire.affine)
    tensors = [(activation[s.name], s, affines[s.name]) for s in point.activation]
    sent = [encode(a, encoding, f, s.is_batchable) for a, s, f in tensors]
    plain = [to_bytes(array) for array in sent]
    small = [compress(content) for content in plain]
    size = sum(map(len, plain))
    times = map(
        least_s,
        (
            lambda: [compress(c) for c in plain],
            lambda: [decompress(c, len(p)) for c, p in zip(small, plain, strict=True)],
            lambda: [encode(a, encoding, f, s.is_batchable) for a, s, f in tensors],
            lambda: [decode(w, s, f) for w, (_, s, f) in zip(sent, tensors, strict=True)],
        ),
    )
    deflate_s, inflate_s, encode_s, decode_s = times
    return [
        encoding.value,
        str(size),
        f"{sum(map(len, small)) / size:.0%}",
        f"{size / deflate_s / 1e6:.0f} MB/s",
        f"{size / inflate_s / 1e6:.0f} MB/s",
        f"{1e6 * encode_s:.0f} us",
        f"{1e6 * decode_s:.0f} us",
    ]


def main() -> None:
    """Print the table of the bundles that the command line names."""
    lines = [HEAD, ("---",) * len(HEAD)]
    trust = read_trust(None)
    for named in sys.argv[1:]:
        name, _, path = named.partition("=")
        lines += map(tuple, rows(name, read_bundle(Path(path), trust)))
    sys.stdout.write("\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n")


if __name__ == "__main__":
    main()
