"""Who waits for news of jobs is woken when there are any."""

import threading


class Changes:
    """A number that grows with every change, and a way to wait for the next."""

    def __init__(self) -> None:
        self._number = 0
        self._condition = threading.Condition()
        self._is_closed = False

    @property
    def number(self) -> int:
        """How many changes there were; read it before looking, to miss none."""
        return self._number

    @property
    def is_closed(self) -> bool:
        """Whether there will be no more."""
        return self._is_closed

    def announce(self) -> None:
        """Wake everybody who waits."""
        with self._condition:
            self._number += 1
            self._condition.notify_all()

    def close(self) -> None:
        """Wake everybody for good."""
        with self._condition:
            self._is_closed = True
            self._condition.notify_all()

    def wait(self, seen: int, timeout_s: float) -> int:
        """Return the number once it is not `seen` any more, or it is closed, or time is up."""
        with self._condition:
            self._condition.wait_for(lambda: self._is_closed or self._number != seen, timeout_s)
            return self._number
