"""Evaluations in processes on this machine.

Not concurrent.futures: its pool is lost with the first worker that is killed, and it starts workers
by importing the caller's own program.
"""

import contextlib
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import IO, Any

from headtail.errors import SearchError
from optimizer.executor.item import (
    MAX_DEATHS,
    SINGLE_THREAD,
    Failure,
    Item,
    Ledger,
    Result,
    Success,
    count_cores,
)

# A signal that comes just before a wait does not end it; its handler runs when the wait is over.
WAKE_S = 1.0
GRACE_S = 5.0  # for a worker that hung up by itself to be gone


class LocalExecutor:
    """A fixed number of processes, started with the first run and kept for the next ones.

    What is evaluated is pickled once, into a file without a name that all workers map. A worker has
    one thread for arithmetic, ends as soon as this process does, however it ends, and does not
    import this program's main module.
    """

    def __init__(self, workers: int = 0, recycle: int = 200) -> None:
        """Start nothing yet; `workers` 0 is one per core."""
        self._count = workers or count_cores()
        self._recycle = recycle
        self._evaluate: Callable[[Any], Any] | None = None
        self._data: IO[bytes] | None = None
        self._workers: dict[Connection[Any, Any], _Worker] = {}
        self._stillborn = 0  # workers in a row that died before their first item

    def run(
        self, evaluate: Callable[[Item], Result], items: Sequence[Item]
    ) -> Iterator[tuple[int, Result]]:
        """Yield the index and the result of every item, each once, as they come.

        An item whose worker is killed runs again in another one. One run at a time.

        Raises:
            HeadtailError: As `evaluate` raised it in a worker.
            SearchError: If an item, or nothing but the start, kills three workers.
            ItemFailed: If `evaluate` raised anything else.
        """
        self._share(evaluate)
        ledger = Ledger(items)
        try:
            while ledger.is_open:
                self._staff(ledger)
                for connection in wait(list(self._workers), WAKE_S):
                    assert isinstance(connection, Connection), "nothing else is waited for"
                    heard = self._hear(self._workers[connection], ledger)
                    self._staff(ledger)  # the worker goes on while the caller sees to the result
                    yield from heard
        finally:
            for worker in [w for w in self._workers.values() if w.index is not None]:
                self._dismiss(worker)

    def close(self) -> None:
        """End the workers and forget the data."""
        for worker in list(self._workers.values()):
            self._dismiss(worker)
        if self._data is not None:
            self._data.close()
        self._data = self._evaluate = None

    def _share(self, evaluate: Callable[[Any], Any]) -> None:
        if self._evaluate is evaluate:
            return
        self.close()
        self._data = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the executor
        pickle.dump(evaluate, self._data, protocol=5)
        self._data.flush()
        self._evaluate = evaluate

    def _staff(self, ledger: Ledger[Any]) -> None:
        """Start workers that are missing and give waiting items to idle ones."""
        assert self._data is not None, "shared before"
        busy = sum(w.index is not None for w in self._workers.values())
        while len(self._workers) < min(self._count, busy + ledger.waiting):
            worker = _Worker(self._data.fileno())
            self._workers[worker.connection] = worker
        for worker in list(self._workers.values()):
            if not ledger.waiting:
                return
            if worker.is_ready and worker.index is None:
                worker.index, item = ledger.take()
                try:
                    worker.connection.send(item)
                except OSError:
                    self._bury(worker, ledger)

    def _hear(self, worker: "_Worker", ledger: Ledger[Any]) -> list[tuple[int, Any]]:
        """Take what a worker has to say: that it is ready, a result, or that it is gone."""
        try:
            outcome: Success[Any] | Failure = worker.connection.recv()
        except (EOFError, OSError):
            self._bury(worker, ledger)
            return []
        if isinstance(outcome, Failure):
            raise outcome.error()
        if worker.index is None:
            worker.is_ready = True
            return []
        index, worker.index = worker.index, None
        self._stillborn = 0
        worker.done += 1
        if worker.done >= self._recycle:
            self._dismiss(worker)
        ledger.finish(index)
        return [(index, outcome.result)]

    def _bury(self, worker: "_Worker", ledger: Ledger[Any]) -> None:
        how = self._dismiss(worker, is_gone=True)
        if worker.index is not None:
            ledger.worker_died(worker.index, how)
        elif not worker.is_ready:
            self._stillborn += 1
            if self._stillborn >= MAX_DEATHS:
                raise SearchError(
                    "executor", f"{MAX_DEATHS} workers died as they started, the last one {how}"
                )

    def _dismiss(self, worker: "_Worker", is_gone: bool = False) -> str:
        del self._workers[worker.connection]
        return worker.end(is_gone)


class _Worker:
    """One process and the socket to it."""

    def __init__(self, data: int) -> None:
        self.connection, theirs = multiprocessing.Pipe()
        self.index: int | None = None
        self.is_ready = False
        self.done = 0
        path = os.pathsep.join(p or str(Path.cwd()) for p in sys.path)
        with theirs:
            command = ["-P", "-m", "optimizer.executor.worker", str(theirs.fileno()), str(data)]
            self._process = subprocess.Popen(  # noqa: S603 - our own program
                [sys.executable, *command],
                stdin=subprocess.DEVNULL,
                stdout=2,
                pass_fds=(theirs.fileno(), data),
                env={**os.environ, **SINGLE_THREAD, "PYTHONPATH": path},
                process_group=0,  # Ctrl-C is the caller's; the workers end with it
            )

    def end(self, is_gone: bool) -> str:
        """Return in words how the process ended; it is killed unless it `is_gone` by itself."""
        self.connection.close()  # which it would not survive anyway
        if is_gone:
            # It may have hung up and go on, in native code that lets no thread of its end it.
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(GRACE_S)
        self._process.kill()  # does nothing to one that is gone
        code = self._process.wait()
        return f"by {signal.Signals(-code).name}" if code < 0 else f"with status {code}"
