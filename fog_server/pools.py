"""Methods that run in pools of their own."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any


class InPool:
    """A method that runs in a pool of its own, so that it cannot starve the others."""

    def __init__(self, behavior: Callable[..., Any], pool: ThreadPoolExecutor) -> None:
        """Let gRPC call `behavior` on a thread of `pool`."""
        self._behavior = behavior
        self.experimental_thread_pool = pool

    def __call__(self, *arguments: Any) -> Any:
        """Run the method."""
        return self._behavior(*arguments)


class StreamInPool(InPool):
    """A streaming method that is handed a function to send with, which any thread may call.

    With a generator only the thread that waits for the agent's next window could end the stream.
    """

    experimental_non_blocking = True
