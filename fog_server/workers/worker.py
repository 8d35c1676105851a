"""One worker: a fog server in a process of its own, told by its parent what to serve.

`python -m fog_server.workers.worker` reads its configuration from the socket that is its standard
input, and serves until the parent says to drain, a signal does, or the parent is gone.
"""

import faulthandler
import os
import socket
import sys
import threading
from collections.abc import Callable
from contextlib import suppress

from prometheus_client import CollectorRegistry, generate_latest

from fog_server.workers.channel import (
    Ask,
    Begin,
    Channel,
    ChannelClosed,
    Drain,
    Failed,
    Serving,
    State,
)
from headtail import log as logs
from headtail import telemetry
from headtail.errors import HeadtailError
from headtail.grpc_polling import poll_in_place
from headtail.heap import keep_for_good
from headtail.liveness import Check, Threads
from headtail.server.signals import Signals
from headtail.tls import require_tls13

_LAST_S = 2.0
"""How long the last message may take to be sent."""


def main() -> int:
    """Serve; return 0 after a drain and 1 where nothing could be served."""
    channel = _take_channel()
    try:
        begin = channel.receive()
    except ChannelClosed:
        return 1
    assert isinstance(begin, Begin), begin
    logs.configure(begin.config.log_level, begin.config.log_format, f"worker {begin.number}")
    telemetry.disable()
    # A parent that finds nothing moves here ends it with SIGABRT: the stacks go to the log.
    faulthandler.enable()
    signals, threads = Signals(), Threads()
    with signals.handled(), threads.watched():
        require_tls13()
        poll_in_place()
        return _serve(channel, begin, signals, threads.check)


def _take_channel() -> Channel:
    """Return the channel, so that no program that is started from here has it too."""
    channel = Channel(socket.socket(fileno=os.dup(0)))
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    return channel


def _serve(channel: Channel, begin: Begin, signals: Signals, check: Check) -> int:
    from fog_server.server import FogServer  # gRPC and onnxruntime

    try:
        server = FogServer(begin.config, begin.watchdog_s, [check], is_shared=True)
    except HeadtailError as error:
        channel.send(Failed(str(error)))
        return 1
    keep_for_good()
    registry = server.metrics.registry
    try:
        channel.send(Serving())
    except ChannelClosed:
        signals.end()
    answers = (channel, registry, server.check_live, signals.end)
    threading.Thread(target=_answer, args=answers, name="parent", daemon=True).start()
    signals.wait()
    server.drain()
    with suppress(ChannelClosed):  # nobody is left to count what was done
        channel.send(State(0, _page(registry)), _LAST_S)
    return 0


def _answer(
    channel: Channel, registry: CollectorRegistry, check: Check, end: Callable[[], None]
) -> None:
    """Answer the parent until it says to drain, or is gone."""
    with suppress(ChannelClosed):
        while not isinstance(message := channel.receive(), Drain):
            if isinstance(message, Ask):
                wrong = check() if message.with_check else None
                channel.send(State(message.number, _page(registry), wrong))
    end()


def _page(registry: CollectorRegistry) -> str:
    return generate_latest(registry).decode()


if __name__ == "__main__":
    sys.exit(main())
