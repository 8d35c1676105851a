"""First bytes are looked at where they lie, no more often than they can say something."""

import socket
from collections.abc import Callable
from contextlib import ExitStack

from first_bytes import MARKED

from fog_server.front.arrival import Arrival
from fog_server.front.poller import Poller
from fog_server.front.verdict import Verdict


class Looked:
    """An arrival on a thread of its own, and what has been seen of it."""

    def __init__(self, mark: Callable[[bytes], int], resources: ExitStack) -> None:
        """Begin to look."""
        self.seen: list[bytes] = []
        self.decided: list[bytes] = []
        self._mark = mark
        listening = resources.enter_context(socket.create_server(("127.0.0.1", 0)))
        self.client = resources.enter_context(socket.create_connection(listening.getsockname()))
        accepted = resources.enter_context(listening.accept()[0])
        accepted.setblocking(False)
        self._poller = Poller("test")
        resources.callback(self._poller.close)
        arrival = Arrival(accepted, "", self._look, 39, self._decide)
        self._poller.start()
        assert self._poller.call(lambda: arrival.begin(self._poller))

    def turn(self, count: int = 1) -> None:
        """Have the thread go round."""
        for _ in range(count):
            assert self._poller.call(lambda: None)

    def _look(self, data: bytes) -> int:
        self.seen.append(data)
        return self._mark(data)

    def _decide(self, arrival: Arrival, data: bytes, verdict: Verdict) -> None:
        self.decided.append(data)


def test_bytes_that_are_left_unread_are_looked_at_once(resources):
    """The thread goes round often here; it looks when enough has come, and only then."""
    looked = Looked(lambda data: 33 if len(data) < 33 else 39, resources)
    looked.client.sendall(MARKED[:10])
    while not looked.seen:
        looked.turn()
    looked.client.sendall(MARKED[10:20])
    looked.turn(100)
    assert [MARKED[:10]] == looked.seen
    looked.client.sendall(MARKED[20:33])
    while len(looked.seen) < 2:
        looked.turn()
    looked.turn(100)
    assert ([MARKED[:10], MARKED[:33]], []) == (looked.seen, looked.decided)


def test_socket_that_is_reported_in_vain_is_left_alone(resources):
    """Short of memory the system reports fewer bytes than are waited for."""
    looked = Looked(lambda data: 5, resources)
    looked.client.sendall(MARKED[:10])
    while not looked.seen:
        looked.turn()
    looked.turn(100)
    assert len(looked.seen) <= 2
    assert [] == looked.decided
