"""Times by which something must have happened, all of one length, so that the first is the next."""

import time
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Deadlines(Generic[T]):
    """Calls `expire` with what was begun `length_s` seconds ago and has not ended since."""

    def __init__(
        self,
        length_s: float,
        expire: Callable[[T], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Keep nothing yet."""
        self._length_s = length_s
        self._expire = expire
        self._clock = clock
        self._begun: dict[T, float] = {}

    def __contains__(self, item: object) -> bool:
        return item in self._begun

    def __len__(self) -> int:
        return len(self._begun)

    def begin(self, item: T) -> None:
        """Give `item` its time, anew if it had some left."""
        self._begun.pop(item, None)
        self._begun[item] = self._clock() + self._length_s

    def end(self, item: T) -> None:
        """Let `item` have all the time it wants."""
        self._begun.pop(item, None)

    def hasten(self) -> bool:
        """Expire what was begun first, due or not; return whether there was anything."""
        if not self._begun:
            return False
        item = next(iter(self._begun))
        del self._begun[item]
        self._expire(item)
        return True

    def sweep(self) -> float | None:
        """Expire what is due; return the seconds until the next, None if there is none."""
        while self._begun:
            left_s = next(iter(self._begun.values())) - self._clock()
            if left_s > 0:
                return left_s
            self.hasten()
        return None
