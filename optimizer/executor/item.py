"""What an evaluation away from the caller brings back, and how often its worker may die."""

import os
import reprlib
import traceback
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from headtail.errors import HeadtailError, SearchError

Item = TypeVar("Item")
Result = TypeVar("Result")
MAX_DEATHS = 3
# Two threads on one core only wait for each other; read by the libraries as they are loaded.
SINGLE_THREAD: Mapping[str, str] = dict.fromkeys(
    (
        "OMP_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "MKL_NUM_THREADS",
        "NUMBA_NUM_THREADS",
        "TF_NUM_INTRAOP_THREADS",
        "TF_NUM_INTEROP_THREADS",
    ),
    "1",
)


class ItemFailed(RuntimeError):
    """An evaluation raised what none should; the text is the worker's own traceback."""


@dataclass(frozen=True, slots=True)
class Failure:
    """An exception of a worker, in a form that any process can read."""

    kind: type[HeadtailError] | None
    """The class of one of our errors; None for any other exception."""
    text: str

    def error(self) -> Exception:
        """Return the exception to raise in the caller; the text is as it was."""
        if self.kind is None:
            return ItemFailed(self.text)
        error = self.kind.__new__(self.kind)  # the class builds its text, and here it is built
        error.args = (self.text,)
        return error


@dataclass(frozen=True, slots=True)
class Success(Generic[Result]):
    """What an evaluation returned."""

    result: Result


def attempt(function: Callable[[Item], Result], item: Item) -> Success[Result] | Failure:
    """Call the function; return its result, or what it raised."""
    try:
        return Success(function(item))
    except HeadtailError as error:
        return Failure(type(error), str(error))
    except Exception:  # noqa: BLE001 - the caller raises it
        return Failure(None, f"in a worker:\n{traceback.format_exc()}")


class Ledger(Generic[Item]):
    """Which items wait, and how many workers each one has cost."""

    def __init__(self, items: Sequence[Item]) -> None:
        self._items = items
        self._waiting = deque(range(len(items)))
        self._open = set(self._waiting)
        self._deaths: dict[int, int] = {}

    @property
    def is_open(self) -> bool:
        """Whether an item has no result yet."""
        return bool(self._open)

    @property
    def waiting(self) -> int:
        """How many items wait for a worker."""
        return len(self._waiting)

    def take(self) -> tuple[int, Item]:
        """Return the next item with its index; it is the taker's from now on."""
        index = self._waiting.popleft()
        return index, self._items[index]

    def finish(self, index: int) -> None:
        """Note that an item has its result; each one once."""
        self._open.remove(index)

    def worker_died(self, index: int, how: str) -> None:
        """Put back the item of a worker that is gone.

        Raises:
            SearchError: If the item has cost as many workers as one may; names it.
        """
        deaths = self._deaths[index] = self._deaths.get(index, 0) + 1
        if deaths >= MAX_DEATHS:
            shown = reprlib.repr(self._items[index])
            raise SearchError(
                f"item {index}, {shown}", f"its worker died {deaths} times, the last one {how}"
            )
        self._waiting.append(index)


def count_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0))
