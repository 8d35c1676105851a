"""What systemd is told, over a real datagram socket."""

import logging
import os
import socket

import pytest

from headtail.systemd import Notifier, notifier

PID = 77


@pytest.fixture(params=["path", "abstract"])
def manager(request, tmp_path):
    """Return a bound socket and the address that NOTIFY_SOCKET would hold."""
    if request.param == "path":
        address = bound = str(tmp_path / "notify")
    else:
        address = f"@headtail-test-{os.getpid()}"
        bound = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(bound)
        receiver.settimeout(5)
        yield receiver, address


def test_each_change_is_one_datagram_of_assignments(manager):
    receiver, address = manager
    told = notifier({"NOTIFY_SOCKET": address}, PID)
    told.ready("serving on\n127.0.0.1:1")
    told.beat("busy")
    told.status("stuck")
    told.stopping()
    assert [
        b"READY=1\nSTATUS=serving on 127.0.0.1:1",
        b"WATCHDOG=1\nSTATUS=busy",
        b"STATUS=stuck",
        b"STOPPING=1\nSTATUS=stopping",
    ] == [receiver.recv(4096) for _ in range(4)]


def test_without_a_manager_nothing_is_sent():
    told = notifier({}, PID)
    told.ready("x")
    assert told.watchdog_s is None


@pytest.mark.parametrize(
    ("variables", "expected_s"),
    [
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "500000", "WATCHDOG_PID": str(PID)}, 0.5),
        ({"WATCHDOG_USEC": "500000", "WATCHDOG_PID": str(PID + 1)}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({}, None),
    ],
)
def test_watchdog_is_the_one_meant_for_this_process(variables, expected_s):
    assert expected_s == notifier(variables, PID).watchdog_s


def test_manager_that_is_gone_is_said_once_and_harms_nobody(tmp_path, caplog):
    told = Notifier(str(tmp_path / "nobody"))
    with caplog.at_level(logging.WARNING):
        told.ready("x")
        told.beat("x")
    assert ["NOTIFY_SOCKET: cannot be told: No such file or directory"] == caplog.messages
