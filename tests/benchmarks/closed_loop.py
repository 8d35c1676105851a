"""Closed loops: so many requests under way, the next one sent when an answer comes."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from connections import Client


@dataclass(frozen=True, slots=True)
class Loop:
    """What one loop did."""

    requests: int
    wall_s: float
    latencies_s: list[float] = field(default_factory=list)
    """Of each request; only with one under way."""


def run_loop(
    client: Client, in_flight: int, seconds: float, clock: Callable[[], float] = time.perf_counter
) -> Loop:
    """Keep `in_flight` requests under way for so long, and wait for those that are left."""
    start_s = now_s = clock()
    stop_s = start_s + seconds
    latencies: list[float] = []
    if in_flight == 1:
        while now_s < stop_s:
            client.send()
            client.receive()
            sent_s, now_s = now_s, clock()
            latencies.append(now_s - sent_s)
        return Loop(len(latencies), now_s - start_s, latencies)
    for _ in range(in_flight):
        client.send()
    requests = 0
    while clock() < stop_s:
        client.receive()
        client.send()
        requests += 1
    for _ in range(in_flight):
        client.receive()
    return Loop(requests + in_flight, clock() - start_s)


def run_many(clients: list[Client], start_s: float, stop_s: float) -> tuple[list[int], float]:
    """Keep one request of each client under way.

    Args:
        clients: One thread each.
        start_s: When to begin, on Python's monotonic clock.
        stop_s: When to end, on the same.

    Returns:
        How many of each were answered in time, and when the last answer came: every client has
        one more.

    Raises:
        RuntimeError: If a client failed.
    """
    counts, failures = [0] * len(clients), []

    def loop(index: int) -> None:
        client = clients[index]
        try:
            time.sleep(max(0.0, start_s - time.monotonic()))
            while True:
                client.send()
                client.receive()
                if time.monotonic() >= stop_s:
                    return
                counts[index] += 1
        except Exception as error:  # noqa: BLE001 - told by whoever waits for the thread
            failures.append(f"{type(error).__name__}: {error}")

    threads = [threading.Thread(target=loop, args=(i,)) for i in range(len(clients))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise RuntimeError(failures[0])
    return counts, time.monotonic()
