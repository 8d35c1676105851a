"""The threads that run what waited: as many as there is work for, kept when there is none."""

import logging
import threading
from collections.abc import Callable
from queue import SimpleQueue

log = logging.getLogger(__name__)
Task = Callable[[], None]


class Crew:
    """Does every task at once: it goes to a thread that is idle, or else to a new one.

    A thread may be kept by a client that does not take its answers; no task ever waits for that,
    but where the system has no more threads.
    """

    def __init__(self) -> None:
        """Begin without threads."""
        self._lock = threading.Lock()
        self._tasks: SimpleQueue[Task | None] = SimpleQueue()
        self._idle = self._threads = 0  # idle: less the tasks that wait for a thread

    def give(self, task: Task) -> None:
        """Have a task done, which must not raise."""
        with self._lock:
            is_new = self._idle <= 0
            if is_new:
                self._threads += 1
            else:
                self._idle -= 1
        self._tasks.put(task)
        if is_new:
            self._begin()

    def close(self) -> None:
        """End every thread once it is idle."""
        for _ in range(self._threads):
            self._tasks.put(None)

    def _begin(self) -> None:
        thread = threading.Thread(target=self._work, name=f"batch-{self._threads}", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            with self._lock:
                self._threads -= 1
                self._idle -= 1
            log.warning("a batch has to wait for a thread: %s", error)

    def _work(self) -> None:
        while (task := self._tasks.get()) is not None:
            task()
            del task  # who is idle keeps nothing of it: a retired model, for one
            with self._lock:
                self._idle += 1
