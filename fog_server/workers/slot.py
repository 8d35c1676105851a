"""One place for a worker: started, watched, and started again when it ends before its time."""

import contextlib
import logging
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from fog_server.workers.channel import Ask, Begin, Channel, ChannelClosed, Drain, Failed, State
from fog_server.workers.merge import Pages

log = logging.getLogger(__name__)

FIRST_DELAY_S, MAX_DELAY_S = 0.5, 30.0
"""Before a worker that ended is started again: doubled each time, the first anew after a while."""
SETTLED_S = 60.0
"""Life after which a worker's end is no longer of a kind with the end of the one before."""
ASK_S = 2.0
"""How long an answer to a question is waited for at once; the next one waits on."""
_LOOK_S = 5.0
_KILL_S = 5.0
_MANAGER = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")
"""Variables of systemd, which hears of all workers from their parent."""


@dataclass(frozen=True, slots=True)
class Orders:
    """What every slot is told."""

    begin: Callable[[int], Begin]
    """What the worker of a number is to serve."""
    pages: Pages
    ended: Callable[[], None]
    """Called when a worker ended before its time."""
    silence_s: float
    """Silence after which a worker is ended."""


class Slot:
    """Keeps one worker running until told to drain; a thread of its own does."""

    def __init__(self, number: int, orders: Orders) -> None:
        """Prepare; nothing is started yet."""
        self._number = number
        self._orders = orders
        self._asking = threading.Lock()
        self._asked = 0
        self._channel: Channel | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._draining = threading.Event()
        self._tried = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"worker-{number}", daemon=True)
        self._is_first = False
        self._is_silent = False
        self.is_serving = False
        self.wrong: str | None = None
        """What the worker found wrong with itself when it was asked last."""
        self.reason = ""
        """Why it could not serve, in its own words."""
        self.end = ""
        """How it ended."""

    def start(self, *, is_first: bool) -> None:
        """Begin; the worker is started on another thread, and once only where the first fails."""
        self._is_first = is_first
        self._thread.start()

    def wait_tried(self) -> bool:
        """Wait until the first worker serves or has failed; return whether it serves."""
        self._tried.wait()
        return self.is_serving

    def ask(self, *, with_check: bool = False) -> bool:
        """Take the worker's page as it is now; return whether it answered.

        One that did not answer is asked again only with the check, which is made now and then.
        """
        with self._asking:
            channel = self._channel
            if channel is None or not self.is_serving or (self._is_silent and not with_check):
                return False
            self._is_silent = True
            self._asked += 1
            try:
                channel.send(Ask(self._asked, with_check), ASK_S)
                until_s = time.monotonic() + ASK_S
                while (left_s := until_s - time.monotonic()) > 0:
                    state = channel.receive(left_s)
                    self._take(state)
                    if isinstance(state, State) and state.number == self._asked:
                        self.wrong = state.wrong if with_check else self.wrong
                        self._is_silent = False
                        return True
            except (ChannelClosed, TimeoutError):
                pass
            return False

    def drain(self) -> None:
        """Tell the worker to answer what is in flight and end, and start no other."""
        self._draining.set()
        channel = self._channel
        if channel is not None:
            if self.is_serving:
                with contextlib.suppress(ChannelClosed):  # ended by itself, or hung
                    channel.send(Drain(), ASK_S)
            else:
                self._kill(signal.SIGKILL)  # it loads, and has answered nobody

    def wait(self, until_s: float) -> bool:
        """Wait for the end; kill the worker where it has not ended by then. Return whether it has.

        Args:
            until_s: On the monotonic clock.
        """
        if self._thread.ident is None:
            return True  # never started
        self._thread.join(max(0.0, until_s - time.monotonic()))
        is_over = not self._thread.is_alive()
        if not is_over:
            self._kill(signal.SIGKILL)
            self._thread.join()
        return is_over

    def _run(self) -> None:
        delay_s = FIRST_DELAY_S
        while not self._draining.is_set():
            started_s = time.monotonic()
            self._live()
            is_tried = self._tried.is_set()
            self._tried.set()
            if self._draining.is_set() or (self._is_first and not is_tried):
                return
            if time.monotonic() - started_s >= SETTLED_S:
                delay_s = FIRST_DELAY_S
            self._orders.ended()
            why = self.reason or self.end
            log.error("worker %d: %s; started again in %g s", self._number, why, delay_s)
            self._draining.wait(delay_s)
            delay_s = min(MAX_DELAY_S, 2 * delay_s)

    def _live(self) -> None:
        """Start a worker, and look after it until it ends."""
        self.reason, self.end, self.wrong, self._is_silent = "", "", None, False
        try:
            ours, theirs = socket.socketpair()
            channel = Channel(ours)
            with theirs:
                self._process = process = _spawn(theirs.fileno())
        except OSError as error:  # no memory, no more processes
            self.end = f"could not be started: {error.strerror or error}"
            return
        self._channel = channel
        try:
            channel.send(self._orders.begin(self._number), ASK_S)
            message = channel.receive()
            if isinstance(message, Failed):
                self.reason = message.reason
            else:
                self.is_serving = True
                self.ask()
                self._tried.set()
                if self._draining.is_set():
                    self.drain()
                self._watch(channel)
        except ChannelClosed:
            pass
        with self._asking:
            self._drink(channel)
            self.is_serving, self.wrong = False, None
            self._channel = None
            channel.close()
        self.end = _how(process.wait())
        self._orders.pages.ended(self._number)

    def _watch(self, channel: Channel) -> None:
        """Return when the worker has closed its end; end one that stands still."""
        poll = select.poll()
        poll.register(channel, select.POLLRDHUP | select.POLLHUP)
        look_s = min(_LOOK_S, self._orders.silence_s / 3)
        answered_s = time.monotonic()
        while not poll.poll(look_s * 1e3):
            now_s = time.monotonic()
            if self.ask(with_check=True):
                answered_s = now_s
            if self.wrong is None and now_s - answered_s < self._orders.silence_s:
                continue
            if self._draining.is_set():
                continue  # a drain has an end of its own
            reason = self.wrong or f"no answer for {now_s - answered_s:.0f} s"
            log.error("worker %d is not live: %s; ended", self._number, reason)
            self._kill(signal.SIGABRT)
            if not poll.poll(_KILL_S * 1e3):
                self._kill(signal.SIGKILL)
            return

    def _drink(self, channel: Channel) -> None:
        """Take what the worker said last."""
        try:
            while True:
                self._take(channel.receive(_KILL_S))
        except (ChannelClosed, TimeoutError):
            pass

    def _take(self, message: object) -> None:
        if isinstance(message, State):
            self._orders.pages.put(self._number, message.page)

    def _kill(self, number: int) -> None:
        if self._process is not None:
            self._process.send_signal(number)


def _spawn(channel: int) -> "subprocess.Popen[bytes]":
    environment = {name: value for name, value in os.environ.items() if name not in _MANAGER}
    return subprocess.Popen(
        [sys.executable, "-m", "fog_server.workers.worker"],
        stdin=channel,
        env=environment,
    )


def _how(code: int) -> str:
    if code < 0:
        return f"ended by {signal.Signals(-code).name}"
    return f"ended with code {code}" if code else "drained and ended"
