"""Calls of agents that wait for directives end with the server, and in order."""

import threading

import grpc
import pytest

from fog_server.rollout.watchers import Watcher, Watchers
from headtail.errors import FogUnavailable
from headtail.v1 import control_pb2 as pb

WAIT_S = 20.0


class Call:
    """What a watching agent is sent."""

    def __init__(self) -> None:
        """Nothing yet."""
        self.sent: list[pb.Directive | None] = []
        self.has_ended = threading.Event()

    def send(self, directive: pb.Directive | None) -> None:
        """Take a directive or, with None, the end."""
        self.sent.append(directive)
        if directive is None:
            self.has_ended.set()


def test_call_counts_until_it_is_over() -> None:
    """Its end may be with gRPC for a while."""
    watchers, call = Watchers(1), Call()
    watcher = Watcher(pb.Directive, call.send)
    watchers.add(watcher)
    watchers.close()
    assert call.has_ended.wait(WAIT_S)
    assert not watchers.wait(0.0)
    over = threading.Thread(target=watchers.discard, args=(watcher,))
    over.start()
    assert watchers.wait(WAIT_S)
    over.join()
    assert [None] == call.sent


def test_closed_twice_ends_calls_once_and_takes_no_other() -> None:
    watchers, call = Watchers(2), Call()
    watchers.add(Watcher(pb.Directive, call.send))
    watchers.close()
    watchers.close()
    assert call.has_ended.wait(WAIT_S)
    assert [None] == call.sent
    with pytest.raises(FogUnavailable):
        watchers.add(Watcher(pb.Directive, call.send))


def test_nobody_watches_and_nothing_is_waited_for() -> None:
    watchers = Watchers(1)
    watchers.close()
    assert watchers.wait(0.0)


def test_drain_waits_for_the_ends_of_watches(managed, fog, monkeypatch) -> None:
    """They are sent by a few threads, which are at work for others until then."""
    directives = managed.control.WatchDirectives(pb.AgentStatus(agent="a", name="chain"))
    next(directives)
    watchers, is_free = fog._control.watchers, threading.Event()
    for _ in range(watchers._pool._max_workers):
        watchers._pool.submit(is_free.wait, WAIT_S)
    wait = watchers.wait

    def free_and_wait(timeout_s: float) -> bool:
        is_free.set()
        return wait(timeout_s)

    monkeypatch.setattr(watchers, "wait", free_and_wait)
    fog.drain()
    assert [] == list(directives)
    assert grpc.StatusCode.OK == directives.code()
