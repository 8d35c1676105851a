"""Many agents at once: processes with an equal share of the connections, one request each."""

import multiprocessing
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from closed_loop import run_many
from connections import Client, Target, connect

PROCESSES = 8
SWITCH_INTERVAL_S = 0.0005  # as our agent sets it: threads hand over between two messages
ANSWER_S = 90.0  # longest time that a process may take to obey
STUCK_S = 20.0  # after the end of a block, when those still waiting are hung up on
LEAD_S = 0.05  # until a block begins: the command must have reached every process


@dataclass(frozen=True, slots=True)
class Crowded:
    """What a block with many agents gave."""

    counts: list[int]
    """Requests answered in time, by agent."""
    requests: int
    """Those answered in all."""
    wall_s: float
    """Until the last one."""
    cpu_s: float
    """Of all clients."""


class Crowd:
    """The processes; they live as long as the block, on this process' core."""

    def __init__(self) -> None:
        """Start nothing yet."""
        self._context = multiprocessing.get_context("spawn")
        self._workers: list[tuple[Any, Connection]] = []

    def __enter__(self) -> "Crowd":
        """Start the processes."""
        for _ in range(PROCESSES):
            ours, theirs = self._context.Pipe()
            process = self._context.Process(target=_work, args=(theirs,), daemon=True)
            process.start()
            self._workers.append((process, ours))
        return self

    def __exit__(self, *_: object) -> None:
        """End them."""
        for process, pipe in self._workers:
            with suppress(OSError):  # it ended before us
                pipe.send(None)
            process.join(10)
            process.kill()

    def open(self, key: str, target: Target, agents: int) -> None:
        """Open so many connections to a target, each proved by one request."""
        share = agents // PROCESSES
        self._ask([("open", key, target, share)] * PROCESSES)

    def close(self) -> None:
        """Close every connection."""
        self._ask([("close",)] * PROCESSES)

    def run(self, key: str, agents: int, seconds: float) -> Crowded:
        """Keep one request of each agent under way for so long.

        Raises:
            RuntimeError: If one failed.
        """
        start_s = time.monotonic() + LEAD_S
        share = agents // PROCESSES
        answers = self._ask([("run", key, share, start_s, start_s + seconds)] * PROCESSES)
        counts = [count for counts, _, _ in answers for count in counts]
        end_s = max(end_s for _, end_s, _ in answers)
        cpu_s = sum(cpu_s for _, _, cpu_s in answers)
        return Crowded(counts, sum(counts) + len(counts), end_s - start_s, cpu_s)

    def _ask(self, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        for (_, pipe), command in zip(self._workers, commands, strict=True):
            pipe.send(command)
        answers = []
        for _, pipe in self._workers:
            if not pipe.poll(ANSWER_S):
                raise RuntimeError(f"a client was silent for {ANSWER_S:g} s")
            answers.append(pipe.recv())
        for answer in answers:
            if isinstance(answer, str):
                raise RuntimeError(answer)
        return answers


def _work(pipe: Connection) -> None:
    """Obey until told to end; a text is an error."""
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    places: dict[str, _Place] = {}
    while (command := pipe.recv()) is not None:
        try:
            pipe.send(_obey(command, places))
        except Exception as error:  # noqa: BLE001 - told to the other side
            pipe.send(f"{type(error).__name__}: {error}")


@dataclass(slots=True)
class _Place:
    """This process' connections to one target."""

    target: Target
    clients: list[Client]

    @classmethod
    def open(cls, target: Target, count: int) -> "_Place":
        """Connect, and prove every connection by one request."""
        place = cls(target, [connect(target, 1) for _ in range(count)])
        for client in place.clients:
            client.send()
            client.receive()
        return place

    def close(self) -> None:
        """Hang up."""
        for client in self.clients:
            client.close()


def _obey(command: tuple[Any, ...], places: dict[str, _Place]) -> object:
    match command:
        case "open", key, target, count:
            places[key] = _Place.open(target, count)
        case "run", key, count, start_s, stop_s:
            before_s = time.process_time()
            place = places[key]
            hang_up = threading.Timer(stop_s + STUCK_S - time.monotonic(), place.close)
            hang_up.start()
            try:
                counts, end_s = run_many(place.clients[:count], start_s, stop_s)
            except RuntimeError:
                place.close()
                places[key] = _Place.open(place.target, len(place.clients))
                raise
            finally:
                hang_up.cancel()
            return counts, end_s, time.process_time() - before_s
        case ("close",):
            for place in places.values():
                place.close()
            places.clear()
    return None
