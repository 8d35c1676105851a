"""Workers as real programs: they answer, are counted together, come back, and drain."""

import os
import queue
import re
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import grpc
import numpy as np
import pytest

from headtail.oip import RAW_INPUT_FIELD, InferWriter, read_response, read_stream_response
from headtail.tensor import TensorSpec

DOCS = Path(__file__).parents[3] / "docs" / "workers.md"
FOG = [sys.executable, "-m", "fog_server.cli"]
SERVICE = "/inference.GRPCInferenceService/"
TIMEOUT_S = 30.0
X = np.random.default_rng(1).standard_normal((1, 16, 2)).astype(np.float32)
OWN = [("grpc.use_local_subchannel_pool", 1)]
"""A connection of its own for each channel: the kernel chooses a worker for each anew."""


def request(request_id: str = "1") -> bytes:
    """Return one window for the whole model."""
    writer = InferWriter("chain", "", [TensorSpec("x", "float32", X.shape)], RAW_INPUT_FIELD)
    return writer.write(request_id, {}, [X])


def infer(address: str) -> np.ndarray:
    """Send one window over a new connection; return what it gives."""
    with grpc.insecure_channel(address, OWN) as channel:
        call = channel.unary_unary(f"{SERVICE}ModelInfer")
        (tensor,) = read_response(call(request(), timeout=TIMEOUT_S, wait_for_ready=True)).outputs
    return np.frombuffer(tensor.content, "<f4").reshape(tensor.shape)


class Stream:
    """An open stream, one window at a time."""

    def __init__(self, address: str) -> None:
        """Connect and open it."""
        self.channel = grpc.insecure_channel(address, OWN)
        self._frames: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        call = self.channel.stream_stream(f"{SERVICE}ModelStreamInfer")
        self.call = call(iter(self._frames.get, None), timeout=TIMEOUT_S, wait_for_ready=True)

    def ask(self, request_id: str) -> str:
        """Send a window and return the id of the answer."""
        self._frames.put(request(request_id))
        return read_stream_response(next(self.call)).id

    def answers(self, request_id: str) -> bool:
        """Send a window and return whether it was answered, rather than the stream broken."""
        try:
            return request_id == self.ask(request_id)
        except grpc.RpcError:
            return False

    def close(self) -> None:
        """End it."""
        self._frames.put(None)
        self.channel.close()


@pytest.fixture(scope="module")
def workers(start_workers, bundle_folder):
    """Two workers, for tests that leave two behind."""
    return start_workers(bundle_folder, "--health", "127.0.0.1:0")


def connected(workers) -> set[int]:
    """Return the workers that hold a connection to the port, as the system lists them."""
    port = int(workers.address.rpartition(":")[2])
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()]
    held = {f"socket:[{row[9]}]" for row in rows if row[3] == "01" and f":{port:04X}" in row[1]}
    found = set()
    for pid in workers.pids():
        for file in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(FileNotFoundError):  # closed a moment ago
                if str(file.readlink()) in held:
                    found.add(pid)
    return found


@pytest.fixture
def streams(workers, wait_until):
    """Return sixteen streams, or as many more as it takes for every worker to have one."""
    wait_until(lambda: not connected(workers))
    opened = []
    while len(opened) < 16 or connected(workers) != set(workers.pids()):
        assert len(opened) < 64, "the system gives one of them everything"
        opened.append(Stream(workers.address))
        name = f"s{len(opened)}"
        assert name == opened[-1].ask(name)
    yield opened
    for stream in opened:
        stream.close()


def test_every_worker_answers_and_one_page_counts_all(workers, whole, wait_until):
    """Every window is on the page, whichever worker ran it."""
    ok = {"model": "chain", "outcome": "ok"}
    before = workers.value("fog_windows_total", **ok)
    answers = [infer(workers.address) for _ in range(12)]
    assert all(np.allclose(whole("chain", {"x": X}), answer, atol=1e-6) for answer in answers)
    wait_until(lambda: workers.value("fog_windows_total", **ok) == before + 12)
    assert 2 == workers.value("fog_workers") == len(workers.pids())
    processes = {dict(labels).get("worker") for name, labels in workers.samples()
                 if name == "process_cpu_seconds_total"}  # fmt: skip
    assert {"0", "1", "parent"} == processes


def test_probes_and_health_answer(workers):
    assert (200, "ok\n") == workers.get("/livez") == workers.get("/readyz")
    address = workers.said(r"health checks on (\S+) ", 2)
    with grpc.insecure_channel(address) as channel:
        check = channel.unary_unary("/grpc.health.v1.Health/Check")
        assert b"\x08\x01" == check(b"", timeout=TIMEOUT_S)  # SERVING


def test_a_killed_worker_comes_back_and_the_others_go_on(workers, streams, wait_until):
    """Its streams break, which their agents notice; the rest does not; no count goes back."""
    wait_until(lambda: workers.value("fog_streams") == len(streams))
    counted = workers.samples()
    restarts = workers.value("fog_worker_restarts_total")
    victim = workers.pids()[0]
    os.kill(victim, signal.SIGKILL)
    broken = [number for number, stream in enumerate(streams) if not stream.answers(f"a{number}")]
    assert 0 < len(broken) < len(streams)
    for number in broken:  # what an agent does: connect anew, send again
        again = Stream(workers.address)
        assert f"b{number}" == again.ask(f"b{number}")
        again.close()
    wait_until(lambda: workers.value("fog_worker_restarts_total") == restarts + 1)
    wait_until(lambda: workers.value("fog_workers") == 2)
    assert restarts + 1 == workers.value("fog_worker_restarts_total")
    assert victim not in workers.pids()
    assert 2 == len(workers.pids())
    after = workers.samples()
    goes_on = [k for k in counted if k[0].endswith(("_total", "_bucket", "_count", "_sum"))]
    assert not [k for k in goes_on if after[k] < counted[k]]
    assert "ended by SIGKILL; started again in" in workers.log


def test_a_worker_that_is_told_to_end_drains_and_comes_back(workers, wait_until):
    """One after the other: all are new, and the port was never without a server."""
    for pid in workers.pids():
        restarts = workers.value("fog_worker_restarts_total")
        os.kill(pid, signal.SIGTERM)
        again = Stream(workers.address)
        while not again.answers("1"):  # its connection was still with the one that ends
            again = Stream(workers.address)
        wait_until(lambda restarts=restarts: workers.value("fog_worker_restarts_total") > restarts)
        wait_until(lambda: workers.value("fog_workers") == 2)


def test_sigterm_drains_every_worker(start_workers, bundle_folder):
    """Open streams end with OK after their windows; exit code 0; nobody is left."""
    workers = start_workers(bundle_folder, count=3)
    pids = workers.pids()
    assert 3 == len(pids)
    streams = [Stream(workers.address) for _ in range(6)]
    for stream in streams:
        stream.ask("1")
    assert 0 == workers.stop(), workers.log
    for stream in streams:
        assert [] == list(stream.call)
        assert grpc.StatusCode.OK is stream.call.code()
        stream.close()
    assert workers.log.rstrip().endswith("fog_server.workers.supervisor: stopped")
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]
    assert "Traceback" not in workers.log


def test_workers_outlive_no_parent(start_workers, bundle_folder, wait_until):
    """A parent that is killed leaves nobody behind who holds the port."""
    workers = start_workers(bundle_folder)
    pids = workers.pids()
    workers.close()
    wait_until(lambda: not [pid for pid in pids if _runs(pid)])


def _runs(pid: int) -> bool:
    """Return whether a process is there and no mere entry that nobody has asked for."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize("fault", ["bundle", "port", "metrics", "folder"])
def test_what_is_wrong_is_one_line_and_exit_one(
    fault, workers, write_test_bundle, tmp_path, bundle_folder, key_folder
):
    """Said by the first worker or by the parent, once, as a server without workers says it."""
    flags = {"--bundles": bundle_folder, "--listen": "127.0.0.1:0", "--log-level": "error"}
    if fault == "bundle":
        write_test_bundle(tmp_path, corrupt=True)
        flags["--bundles"], expected = tmp_path, "error: bundle chain 1.0.0: self-test of output"
    elif fault == "folder":
        flags["--bundles"], expected = "/nowhere", "error: bundles: '/nowhere' is not a folder"
    elif fault == "port":  # which workers share among themselves and with nobody else
        flags["--listen"] = workers.address
        expected = f"error: --listen: cannot listen on {workers.address}: Address"
    else:
        flags["--metrics"] = workers.page_address
        expected = f"error: --metrics: cannot listen on {workers.page_address}: Address"
    command = [*FOG, "--workers", "3", "--trust", key_folder / "trust"]
    command += [word for flag in flags.items() for word in flag]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert 1 == done.returncode
    assert done.stderr.startswith(expected)
    assert 1 == len(done.stderr.splitlines())


def test_what_the_parent_adds_to_the_page_is_documented(workers):
    """docs/workers.md has its metrics, which a fog without workers does not show."""
    page = workers.get("/metrics")[1]
    for name, kind, text in re.findall(
        r"^\| `(\w+)` \((\w+)\) \| (.*) \|$", DOCS.read_text(), re.M
    ):
        assert f"# HELP {name} {text}\n# TYPE {name} {kind}\n" in page
    assert 2 == page.count("# HELP fog_worker")


@pytest.mark.slow
def test_a_worker_that_stands_still_is_ended_and_started_again(
    start_workers, bundle_folder, wait_until, tmp_path, monkeypatch
):
    """It answers no question for as long as the watchdog waits."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", "5000000")
        workers = start_workers(bundle_folder)
        victim = workers.pids()[0]
        os.kill(victim, signal.SIGSTOP)
        workers.said(r"worker \d is not live: (no answer for \d+ s)")
        workers.said(r"worker \d: (ended by SIG\w+); started again")
        wait_until(lambda: victim not in workers.pids() and workers.value("fog_workers") == 2)
        assert 0 == workers.stop()


def test_the_parent_loads_neither_grpc_nor_onnxruntime(start_workers, workers):
    """Its memory is a fraction of a worker's, and nothing in it minds that it starts programs."""
    code = (
        "import fog_server.workers.supervisor, fog_server.cli, sys;"
        "sys.exit(bool({'grpc', 'onnxruntime'} & sys.modules.keys()))"
    )
    assert 0 == subprocess.run([sys.executable, "-c", code], check=False).returncode
    maps = Path(f"/proc/{workers.process.pid}/maps").read_text()
    assert "cygrpc" not in maps
    assert "onnxruntime" not in maps


def test_systemd_hears_once_that_all_are_ready(bundle_folder, start_workers, tmp_path, monkeypatch):
    """From the parent alone: no worker knows of the socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(TIMEOUT_S)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", "9000000")
        workers = start_workers(bundle_folder)
        said = []
        while not said or "WATCHDOG=1" not in said[-1]:
            said.append(manager.recv(4096).decode())
        assert 0 == workers.stop()
        while "STOPPING=1" not in said[-1]:
            said.append(manager.recv(4096).decode())
    ready = [text for text in said if "READY=1" in text]
    assert 1 == len(ready)
    assert "2 workers" in ready[0]
