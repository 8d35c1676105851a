"""The agent as a service: ready, alive and ending, as systemd and the probes are told."""

import re
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request

import pytest

from edge_agent.service import Service
from headtail.systemd import Notifier

STALL_S, DEADLINE_S = 0.1, 0.05
AGENT = "import sys; from edge_agent.cli import main; sys.exit(main())"


class Work:
    """Windows in the hands of nobody."""

    def __init__(self) -> None:
        self.underway, self.written = 0, 0


@pytest.fixture
def manager(tmp_path):
    """Return a bound socket and its address."""
    address = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(address)
        receiver.settimeout(20)
        yield receiver, address


def test_ready_then_beats_then_stopping(manager):
    receiver, address = manager
    service = Service(Notifier(address, STALL_S), DEADLINE_S)
    with service.starting():
        assert "starting" == service.check_ready()
        with service.running(Work(), lambda: "fog up"):
            assert service.check_ready() is None
            told = [receiver.recv(4096) for _ in range(3)]
    assert [b"READY=1\nSTATUS=fog up"] + [b"WATCHDOG=1\nSTATUS=fog up"] * 2 == told
    assert "stopping" == service.check_ready()
    assert b"STOPPING=1\nSTATUS=stopping" in _until_empty(receiver)


def _until_empty(receiver: socket.socket) -> list[bytes]:
    receiver.setblocking(False)
    found = []
    while True:
        try:
            found.append(receiver.recv(4096))
        except BlockingIOError:
            return found


def test_windows_that_never_end_make_the_agent_not_live(wait_until):
    """Those of a source that is silent, or a fog that is away, are none."""
    work = Work()
    service = Service(Notifier("", STALL_S), DEADLINE_S)
    with service.running(work, str):
        assert service.check_live() is None
        work.underway = 2
        wait_until(lambda: service.check_live() is not None)
        assert re.match(r"2 windows under way and none ended for \d s", service.check_live())
        work.written += 1
        assert service.check_live() is None


def test_dead_thread_makes_the_agent_not_live():
    service = Service(Notifier(), DEADLINE_S)
    with service.starting(), service.running(Work(), str):
        thread = threading.Thread(target={}.popitem, name="fog-keeper")
        thread.start()
        thread.join()
        assert "thread fog-keeper died of KeyError" == service.check_live()


def get(url: str) -> tuple[int, str]:
    """Return status and body of a page."""
    try:
        with urllib.request.urlopen(url, timeout=20) as page:
            return page.status, page.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_program_tells_systemd_and_answers_the_probes(manager, run_agent, monkeypatch):
    """The program itself, with a source that stays open until it has been asked."""
    receiver, address = manager
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    monkeypatch.setenv("WATCHDOG_USEC", "300000")
    settings = run_agent.settings
    arguments = ["--bundle", settings["bundle"], "--trust", settings["trust"], "--point", "3"]
    arguments += ["--source", "stdin", "--sink", "stdout", "--metrics", "127.0.0.1:0"]
    command = [sys.executable, "-c", AGENT, "run", *arguments]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stderr=pipe, stdout=pipe, text=True) as agent:
        assert receiver.recv(4096).startswith(b"READY=1\nSTATUS=no fog; 0 windows")
        assert receiver.recv(4096).startswith(b"WATCHDOG=1\nSTATUS=no fog; 0 windows")
        page = re.search(r"metrics on (\S+)/metrics", agent.stderr.readline())[1]
        assert (200, "ok\n") == get(f"{page}/livez") == get(f"{page}/readyz")
        assert "edge_windows_total" in get(f"{page}/metrics")[1]
        agent.stdin.close()
        # The socket's queue is short: who does not read it makes the last words be lost.
        while not (told := receiver.recv(4096)).startswith(b"STOPPING=1"):
            assert told.startswith(b"WATCHDOG=1\n")
        assert b"STOPPING=1\nSTATUS=stopping" == told
        assert 0 == agent.wait(20)
