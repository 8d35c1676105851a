"""What the system does not take at once is kept, and leaves when it does."""

import socket
import threading

from http2_peers import WAIT_S

from headtail.http2.outgoing import Outgoing
from headtail.http2.transport import Plain


def test_what_is_kept_leaves_once_the_system_has_threads_again(monkeypatch):
    """The thread that sends it is begun by whoever sends next."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        outgoing, part = Outgoing(Plain(ours)), bytes(100_000)
        theirs.settimeout(WAIT_S)

        def refuse(_thread) -> None:
            raise RuntimeError("can't start new thread")

        with monkeypatch.context() as patched:
            patched.setattr(threading.Thread, "start", refuse)
            for _ in range(20):
                outgoing.put(part)
        outgoing.put(b"last")
        left = 20 * len(part) + len(b"last")
        while left:
            left -= len(theirs.recv(left))
        for thread in threading.enumerate():
            if thread.name == "http2-flusher":
                thread.join(WAIT_S)
