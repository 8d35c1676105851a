"""A worker of the local executor: a process that evaluates what comes through its socket.

Started as `python -m optimizer.executor.worker SOCKET DATA`, both numbers of open files.
"""

import mmap
import os
import pickle
import select
import sys
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from optimizer.executor.item import Success, attempt


def main(socket: int, data: int) -> None:
    """Load the function from the data, say so, and answer items until the caller is gone."""
    os.set_inheritable(socket, False)
    threading.Thread(target=_leave_with_caller, args=(socket,), daemon=True).start()
    caller = Connection(socket)
    loaded = attempt(_load, data)
    caller.send(Success(None) if isinstance(loaded, Success) else loaded)
    if not isinstance(loaded, Success):
        return
    while True:
        try:
            item = caller.recv()
        except EOFError:
            return
        caller.send(attempt(loaded.result, item))


def _load(data: int) -> Callable[[Any], Any]:
    # Workers share the file's position, so it is mapped and not read.
    with mmap.mmap(data, 0, access=mmap.ACCESS_READ) as content:
        function: Callable[[Any], Any] = pickle.loads(content)  # noqa: S301 - from our caller
    os.close(data)
    return function


def _leave_with_caller(socket: int) -> None:
    """End the process, whatever it does, once nobody holds the other end of the socket."""
    poll = select.poll()
    poll.register(socket, 0)  # hanging up is always told
    poll.poll()
    os._exit(0)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
