"""One thread that waits for many sockets and calls what handles them."""

import logging
import os
import select
import socket
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from fog_server.front.deadlines import Deadlines

log = logging.getLogger(__name__)

Handler = Callable[[int], None]
"""Takes epoll's event mask; called on the poller's thread, on which nothing may block."""
READ, WRITE, FAILED = select.EPOLLIN, select.EPOLLOUT, select.EPOLLERR | select.EPOLLHUP
ENDED = select.EPOLLRDHUP
ONCE = select.EPOLLET
"""Report a change, not a state."""
_EVENTS = 64  # a call; memory for as many is asked for each time
_ANSWER_S = 5.0


class Poller:
    """Level-triggered, so that who has much to say takes its turns with the others.

    All methods but `start`, `call` and `close` are for the poller's own thread once it has started.
    """

    def __init__(self, name: str) -> None:
        """Make the thread."""
        self._epoll = select.epoll()
        self._handlers: dict[int, Handler] = {}
        self._deadlines: list[Deadlines[Any]] = []
        self._left: list[socket.socket] = []
        self._posted: deque[tuple[Callable[[], None], threading.Event]] = deque()
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._handlers[self._wake] = self._woken
        self._epoll.register(self._wake, READ)
        self._is_over = self._is_closed = False
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def look_after(self, deadlines: Deadlines[Any]) -> None:
        """Expire them in time."""
        self._deadlines.append(deadlines)

    def add(self, sock: socket.socket, mask: int, handler: Handler) -> None:
        """Call `handler` with what happens at `sock`; failures are reported in any case.

        Raises:
            OSError: If the system watches no more.
        """
        self._epoll.register(sock.fileno(), mask)
        self._handlers[sock.fileno()] = handler

    def change(self, sock: socket.socket, mask: int) -> None:
        """Wait for something else."""
        self._epoll.modify(sock.fileno(), mask)

    def handle(self, sock: socket.socket, handler: Handler) -> None:
        """Have something else handle a socket."""
        self._handlers[sock.fileno()] = handler

    def remove(self, sock: socket.socket) -> None:
        """Leave a socket alone."""
        if self._handlers.pop(sock.fileno(), None) is not None and not self._epoll.closed:
            self._epoll.unregister(sock.fileno())

    def drop(self, sock: socket.socket) -> None:
        """Leave a socket alone and close it soon: its number must not serve another meanwhile."""
        self.remove(sock)
        self._left.append(sock)
        if self._epoll.closed:
            self._close_left()

    def call(self, action: Callable[[], None], timeout_s: float = _ANSWER_S) -> bool:
        """Run `action` on the thread; return whether that was done in time."""
        done = threading.Event()
        with self._lock:
            if not self.is_running:
                return False
            self._posted.append((action, done))
            os.eventfd_write(self._wake, 1)
        return done.wait(timeout_s)

    @property
    def has_started(self) -> bool:
        """Whether the thread lives or has lived."""
        return self._thread.ident is not None

    @property
    def is_running(self) -> bool:
        """Whether the thread lives."""
        return self._thread.is_alive()

    def close(self) -> None:
        """End the thread, and leave every socket alone."""
        self.call(self._end)
        if self.has_started:
            self._thread.join(_ANSWER_S)
        with self._lock:
            if not self._is_closed and not self.is_running:
                self._is_closed = True
                self._close_left()
                self._epoll.close()
                os.close(self._wake)

    def _end(self) -> None:
        self._is_over = True

    def _run(self) -> None:
        try:
            while not self._is_over:
                self._turn()
        except BaseException:
            log.exception("the thread that waits for sockets has ended")
            raise

    def _turn(self) -> None:
        waits = [left_s for d in self._deadlines if d and (left_s := d.sweep()) is not None]
        self._close_left()
        for number, events in self._epoll.poll(min(waits) if waits else None, _EVENTS):
            handler = self._handlers.get(number)
            if handler is not None:
                handler(events)
        done = []
        while self._posted:
            action, is_done = self._posted.popleft()
            action()
            done.append(is_done)
        self._close_left()
        for is_done in done:
            is_done.set()

    def _close_left(self) -> None:
        while self._left:
            self._left.pop().close()

    def _woken(self, _events: int) -> None:
        os.eventfd_read(self._wake)
