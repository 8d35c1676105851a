"""A million malformed messages against a running fog: no crash, no hang, no memory kept.

Several processes send damaged, contradictory and absurd requests over streams, unary calls and
plain connections, while a good client asks for windows whose answers are known.
"""

import argparse
import multiprocessing
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

import grpc
import numpy as np

from attack import Order, attack
from headtail.oip import RAW_INPUT_FIELD, InferWriter, read_response
from headtail.tensor import TensorSpec
from scene import LARGEST_ERROR, Scene, fog, free_address, make_scene
from soak import read_process

GOOD_EVERY_S, GOOD_TIMEOUT_S = 0.05, 10.0
MAX_RSS_RATIO = 1.10
SETTLE_S = 60.0
SETTLE_FIRST_S = 15.0
"""After the warm-up, so that what it left is not taken for the fog's own."""
WARM_UP = 5000
"""Malformed messages before memory is first read: gRPC's and Python's caches fill once."""


class GoodClient(threading.Thread):
    """Asks at a pace, checks every answer, and keeps how long each took."""

    def __init__(self, address: str, scene: Scene) -> None:
        """Prepare; `start` begins."""
        super().__init__(daemon=True)
        self._address = address
        self._scene = scene
        self._stop_asked = threading.Event()
        self.times_s: list[float] = []
        self.faults: Counter[str] = Counter()

    def run(self) -> None:
        """Ask until told to stop."""
        spec = TensorSpec("x", "float32", (-1, 16, 2))
        writer = InferWriter("chain", "", (spec,), RAW_INPUT_FIELD)
        limit = LARGEST_ERROR * float(np.abs(self._scene.expected).max())
        with grpc.insecure_channel(self._address) as channel:
            infer = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
            while not self._stop_asked.wait(GOOD_EVERY_S):
                i = len(self.times_s) % len(self._scene.windows)
                begin_s = time.monotonic()
                try:
                    data = infer(
                        writer.write("g", {}, [self._scene.windows[i : i + 1]]),
                        timeout=GOOD_TIMEOUT_S,
                    )
                except grpc.RpcError as error:
                    self.faults[error.code().name] += 1
                    continue
                self.times_s.append(time.monotonic() - begin_s)
                output = np.frombuffer(read_response(data).outputs[0].content, "<f4")
                if np.abs(output - self._scene.expected[i]).max() > limit:
                    self.faults["wrong answer"] += 1

    def finish(self) -> None:
        """Stop asking."""
        self._stop_asked.set()
        self.join()


def storm(address: str, count: int, processes: int, seed: int, seconds: float) -> "Counter[str]":
    """Let several processes send `count` messages in all; return what they were answered."""
    context = multiprocessing.get_context("spawn")  # gRPC does not survive a fork
    results = context.Queue()
    stop_s = time.monotonic() + seconds
    orders = [Order(address, count // processes, 1000 * seed + i, stop_s) for i in range(processes)]
    workers = [context.Process(target=attack, args=(o, results), daemon=True) for o in orders]
    for worker in workers:
        worker.start()
    total: Counter[str] = Counter()
    for _ in workers:
        total += results.get(timeout=seconds + 120)
    for worker in workers:
        worker.join()
    return total


def settled_rss(pid: int, limit: float, settle_s: float) -> int:
    """Return resident memory as soon as it is below `limit`, or after `settle_s`."""
    stop_s = time.monotonic() + settle_s
    while (rss := read_process(pid).rss) > limit and time.monotonic() < stop_s:
        time.sleep(0.5)
    return rss


def run(arguments: argparse.Namespace, folder: Path) -> bool:
    """Run the attack; print its counts; return whether the fog stood it."""
    scene, address = make_scene(folder, 64, arguments.seed), free_address()
    with fog(scene, address) as program:
        pid = program.process.pid
        client = GoodClient(address, scene)
        client.start()
        storm(address, WARM_UP, arguments.processes, arguments.seed + 1, arguments.seconds)
        time.sleep(SETTLE_FIRST_S)
        before = read_process(pid)
        begin_s = time.monotonic()
        size = (arguments.messages, arguments.processes, arguments.seed, arguments.seconds)
        counts = storm(address, *size)
        took_s = time.monotonic() - begin_s
        peak = read_process(pid)
        after_rss = settled_rss(pid, MAX_RSS_RATIO * before.rss, SETTLE_S)
        client.finish()
        is_alive = program.process.poll() is None
        tracebacks = program.text.count("Traceback")
    for name, count in sorted(counts.items()):
        print(f"{count:9d} {name[:100]}")
    times_ms = 1e3 * np.array(client.times_s or [np.inf])
    print(
        f"{counts['sent']} malformed messages in {took_s:.0f} s;"
        f" fog {'alive' if is_alive else 'DEAD'}, {tracebacks} tracebacks in its log\n"
        f"resident {before.rss / 2**20:.1f} MB before, {peak.rss / 2**20:.1f} MB at the end,"
        f" {after_rss / 2**20:.1f} MB settled ({after_rss / before.rss - 1:+.1%})\n"
        f"good client: {len(client.times_s)} right answers, p50 {np.median(times_ms):.1f} ms,"
        f" p99 {np.percentile(times_ms, 99):.1f} ms, longest {times_ms.max():.0f} ms,"
        f" faults {dict(client.faults) or 'none'}"
    )
    is_good = all(
        (
            is_alive,
            tracebacks == 0,
            after_rss <= MAX_RSS_RATIO * before.rss,
            client.times_s and not client.faults,
            counts["sent"] >= 0.999 * arguments.messages,
            not counts["unanswered"],
        )
    )
    print("malformed: PASS" if is_good else "malformed: FAIL")
    return is_good


def main() -> int:
    """Run the program; return its exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--messages", type=int, default=1_000_000, help="default 1,000,000")
    parser.add_argument("--processes", type=int, default=3, help="that send (default 3)")
    parser.add_argument("--seconds", type=float, default=1200.0, help="at most (default 1200)")
    parser.add_argument("--seed", type=int, default=1)
    with tempfile.TemporaryDirectory(prefix="malformed-") as folder:
        return 0 if run(parser.parse_args(), Path(folder)) else 1


if __name__ == "__main__":
    sys.exit(main())
