"""A running fog that captures: what it keeps of requests, and what it never does to them."""

import random
import re
import subprocess
import sys
import threading
from urllib.request import urlopen

import grpc
import msgspec
import numpy as np
import pytest
from captured_windows import kept

from fog_server.capture import capture as capture_module
from fog_server.capture.commands import main as command
from headtail.captured import read_shard, window_id
from headtail.v1 import capture_pb2 as pb
from headtail.v1.capture_pb2_grpc import CaptureStub

FOG = [sys.executable, "-m", "fog_server.cli"]


def metric(fog, name, **labels):
    """Return a metric's value for one model."""
    with urlopen(f"http://{fog.metrics_address}/metrics", timeout=20) as page:
        text = page.read().decode()
    listed = ",".join(f'{k}="{v}"' for k, v in labels.items())
    pattern = re.escape(f"{name}{{{listed}}}" if listed else name) + r" (\S+)"
    match = re.search(rf"^{pattern}$", text, re.MULTILINE)
    return float(match[1]) if match else 0.0


def captured(fog, outcome, model="chain"):
    """Return how many windows of a model had an outcome."""
    return metric(fog, "fog_captured_windows_total", model=model, outcome=outcome)


def test_inputs_at_point_zero_are_kept_bit_by_bit(capturing, connect, many, tmp_path):
    """As the whole model, one by one and in a batch; with agent and number, the agent hashed."""
    fog = capturing()
    client = connect(fog)
    client.infer("chain", {"x": many[:1]}, agent="agent-7", sequences="41")
    client.infer("chain-tail0-float32", {"x": many[1:5]}, agent="agent-8", sequences="5,6,7,8")
    fog.drain()
    found = kept(tmp_path / "kept" / "chain")
    assert {window_id([w]): w.tobytes() for w in many[:5]} == {
        name: inputs[0].tobytes() for name, inputs in found.items()
    }
    (path,) = (tmp_path / "kept" / "chain").glob("*.npz")
    index = read_shard(path).index
    assert [5, 6, 7, 8, 41] == sorted(index.sequences.tolist())
    assert 2 == len(set(index.agents.tolist()))
    assert all(re.fullmatch("[0-9a-f]{16}", agent) for agent in index.agents.tolist())
    assert ("chain", "1.10.0") == (index.header.model, index.header.version)
    assert 5 == captured_lines(tmp_path, "chain")[0]["windows"]


def captured_lines(folder, *arguments, where=None):
    """Return what `fog-server captured --json` lists."""
    run = subprocess.run(
        [*FOG, "captured", *arguments, "--json", "--folder", where or folder / "kept"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return msgspec.json.decode(run.stdout)["models"]


def test_models_with_two_inputs_and_no_batch_axis_are_captured(capturing, connect, tmp_path):
    rng = np.random.default_rng(1)
    fog = capturing(keep_agent_names=True)
    specs = {s.name: s for s in fog._store.bundle("fixed").manifest.inputs}
    arrays = {n: rng.standard_normal(s.shape).astype(s.dtype) for n, s in specs.items()}
    connect(fog).infer("fixed", arrays, agent="agent-7", sequences="x")
    fog.drain()
    (found,) = kept(tmp_path / "kept" / "fixed").values()
    assert [arrays[name].tobytes() for name in specs] == [array.tobytes() for array in found]
    (path,) = (tmp_path / "kept" / "fixed").glob("*.npz")
    index = read_shard(path).index
    assert (["agent-7"], [-1]) == (index.agents.tolist(), index.sequences.tolist())


def test_nothing_but_whole_inputs_of_the_models_named_is_kept(capturing, connect, many, tmp_path):
    """Not activations, not inputs that were made coarser on the wire, not other models'."""
    fog = capturing(models=("fixed",))
    connect(fog).infer("chain", {"x": many[:4]})
    fog.drain()
    other = capturing()
    client = connect(other)
    client.infer("chain-tail0-float16", {"x": many[:4].astype("f2")})
    tail = other._store.tail("chain-tail2-float32")
    client.infer(tail.name, {s.name: np.ones((2, *s.shape[1:]), "f4") for s in tail.inputs})
    with pytest.raises(grpc.RpcError):
        client.infer("chain", {"x": np.full((1, 16, 2), np.nan, "f4")})
    other.drain()
    assert {} == kept(tmp_path / "kept")


def test_off_by_default_leaves_nothing(start_fog, connect, many, make_config):
    from pathlib import Path

    fog = start_fog()
    connect(fog).infer("chain", {"x": many[:4]})
    assert not (Path(make_config().bundles) / "capture").exists()
    assert fog._capture is None


def test_share_is_that_of_the_settings(capturing, connect, many, tmp_path):
    """2000 windows at a fifth: 400 within five standard deviations."""
    rng = np.random.default_rng(9)
    fog = capturing(ratio=0.2)
    fog._capture._rng = random.Random(1)
    client = connect(fog)
    for _ in range(10):
        client.infer("chain", {"x": rng.standard_normal((200, 16, 2)).astype("f4")})
    fog.drain()
    assert abs(len(kept(tmp_path / "kept")) - 400) < 5 * np.sqrt(2000 * 0.2 * 0.8)


def test_bound_holds_while_requests_come(capturing, connect, tmp_path, wait_until, monkeypatch):
    """Never more than 60, and all stored, replaced and kept windows add up."""
    monkeypatch.setattr(capture_module, "FLUSH_S", 0.01)
    rng = np.random.default_rng(10)
    fog = capturing(max_windows=60)
    client = connect(fog)
    for i in range(10):
        client.infer("chain", {"x": rng.standard_normal((50, 16, 2)).astype("f4")})
        wait_until(lambda: not fog._capture._waiting)
        if i % 3 == 0:
            assert len(kept(tmp_path / "kept")) <= 60
    fog._capture.close()
    found = len(kept(tmp_path / "kept"))
    assert 40 <= found <= 60
    assert found == captured(fog, "stored") - captured(fog, "replaced")
    assert found == metric(fog, "fog_capture_windows", model="chain")


def test_a_full_queue_drops_and_never_waits(capturing, connect, many, monkeypatch, tmp_path):
    """While the disk takes its time, requests are answered and what finds no room is counted."""
    gate = threading.Event()
    real = capture_module.ModelFolder.update

    def slow(self, pending, now_s):
        gate.wait(20)
        return real(self, pending, now_s)

    monkeypatch.setattr(capture_module.ModelFolder, "update", slow)
    monkeypatch.setattr(capture_module, "MAX_WAITING", 300)
    fog = capturing()
    client = connect(fog)
    for i in range(5):
        answer = client.infer("chain", {"x": many + i}, timeout_s=10)
        assert (200, 3) == client.output(answer).shape
    gate.set()
    fog._capture.close()
    assert captured(fog, "dropped") >= 200
    assert 1000 == captured(fog, "dropped") + captured(fog, "stored")


def test_a_disk_that_is_full_stops_the_capture_alone(
    capturing, connect, many, monkeypatch, caplog, wait_until, tmp_path
):
    """One line, a metric, answers as before; with room again it goes on."""
    monkeypatch.setattr(capture_module, "RETRY_S", 0.02)
    monkeypatch.setattr(capture_module, "FLUSH_S", 0.02)
    monkeypatch.setattr("fog_server.capture.folder.MIN_FREE_BYTES", 1 << 62)
    caplog.set_level("INFO")
    fog = capturing()
    client = connect(fog)
    client.infer("chain", {"x": many[:5]})
    wait_until(lambda: metric(fog, "fog_capture_stopped") == 1)
    assert client.infer("chain", {"x": many[5:9]})
    wait_until(lambda: captured(fog, "failed") == 5)
    monkeypatch.setattr("fog_server.capture.folder.MIN_FREE_BYTES", 0)
    wait_until(lambda: metric(fog, "fog_capture_stopped") == 0)
    client.infer("chain", {"x": many[10:13]})
    fog.drain()
    assert {window_id([w]) for w in many[10:13]} == kept(tmp_path / "kept").keys()
    assert 1 == caplog.text.count("capture stopped, serving goes on: [Errno 28] No space left")
    assert 1 == caplog.text.count("capture goes on")


@pytest.mark.skipif(sys.platform != "linux", reason="mounts a tmpfs")
def test_a_file_system_of_its_own_that_fills_up(capturing, connect, tmp_path, wait_until):
    """Real writes until there is no room: what is there stays readable, requests are answered."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=65m", "tmpfs", folder],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip(f"cannot mount: {mounted.stderr.decode().strip()}")
    try:
        rng = np.random.default_rng(11)
        fog = capturing(folder=str(folder))
        client = connect(fog)

        def offer() -> bool:
            windows = rng.standard_normal((200, 16, 2)).astype("f4")
            assert (200, 3) == client.output(client.infer("chain", {"x": windows})).shape
            return metric(fog, "fog_capture_stopped") == 1

        wait_until(offer)
        assert not offer() or captured(fog, "failed") > 0
        fog.drain()
        assert len(kept(folder)) == captured_lines(tmp_path, "chain", where=folder)[0]["windows"]
        assert len(kept(folder)) > 200
    finally:
        subprocess.run(["umount", folder], check=True)


def test_old_windows_go_even_where_capturing_is_off(capturing, connect, many, wait_until, tmp_path):
    """Retention is kept by a server that captures no more."""
    fog = capturing()
    connect(fog).infer("chain", {"x": many[:5]})
    fog.drain()
    assert 5 == len(kept(tmp_path / "kept"))
    off = capturing(enabled=False, retention_s=0.1)
    wait_until(lambda: kept(tmp_path / "kept") == {})
    connect(off).infer("chain", {"x": many[:5]})
    off._capture.close()
    assert {} == kept(tmp_path / "kept")
    assert 5 == captured(off, "expired")


def test_operators_list_and_delete(capturing, connect, many, tmp_path, capsys):
    """One model, then all; what is not there is said by the exit code."""
    fog = capturing()
    client = connect(fog)
    client.infer("chain", {"x": many[:5]}, agent="agent-7", sequences="1,2,3,4,5")
    fog.drain()
    where = ["--folder", str(tmp_path / "kept")]
    assert 0 == command(["captured", "--windows", *where])
    text = capsys.readouterr().out
    assert re.match(r"chain: 5 windows, \d+ bytes, \d{4}-\S+ to \d{4}-\S+\n", text)
    assert all(window_id([w]) in text for w in many[:5])
    assert "agent-7" not in text
    assert 4 == command(["captured", "absent", *where])
    assert 4 == command(["forget", "absent", *where])
    assert 0 == command(["forget", "chain", "--json", *where])
    assert capsys.readouterr().out.endswith('{"forgotten":{"chain":5}}\n')
    assert 0 == command(["forget", "--all", *where])
    assert [] == [
        p.name for p in (tmp_path / "kept").rglob("*") if p.name not in ("chain", ".lock")
    ]


@pytest.fixture
def stub(capturing):
    """Return a function that starts a fog and connects to its capture service."""
    channels = []

    def make(**keys):
        fog = capturing(**keys)
        channels.append(grpc.insecure_channel(fog.address))
        return fog, CaptureStub(channels[-1])

    yield make
    for channel in channels:
        channel.close()


def sent(fog, arrays, digest=None):
    """Return the request that brings windows of the batchable model."""
    windows = [
        pb.CapturedWindow(
            sequence=i, inputs=[pb.CapturedTensor(shape=a.shape, content=a.tobytes())]
        )
        for i, a in enumerate(arrays)
    ]
    bundle = digest or fog._store.bundle("chain").digest
    return pb.CaptureWindowsRequest(agent="agent-7", bundle_digest=bundle, windows=windows)


def test_windows_that_agents_send_are_kept(stub, many, tmp_path):
    """Bit by bit; a request without windows asks whether any are wanted."""
    fog, service = stub()
    assert 0 == service.CaptureWindows(sent(fog, [])).received
    assert 5 == service.CaptureWindows(sent(fog, many[:5])).received
    fog._capture.close()
    assert {window_id([w]) for w in many[:5]} == kept(tmp_path / "kept").keys()
    assert many[:5].nbytes == metric(fog, "fog_capture_received_bytes_total", model="chain")


@pytest.mark.parametrize("keys", [{"enabled": False}, {"models": ("fixed",)}])
def test_where_nothing_is_captured_agents_are_told(keys, stub, many, tmp_path):
    (tmp_path / "kept").mkdir()
    fog, service = stub(**keys)
    with pytest.raises(grpc.RpcError, match="it captures no inputs") as info:
        service.CaptureWindows(sent(fog, many[:1]))
    assert grpc.StatusCode.FAILED_PRECONDITION is info.value.code()


def _cases(many):
    nan = many[0].copy()
    nan[3, 1] = np.nan
    return {
        "another shape": [many[0][:5]],
        "another dtype": [many[0].astype("f8")],
        "not finite": [nan],
        "a batch": [many[:2]],
        "too many": list(many[:65]),
    }


@pytest.mark.parametrize("case", ["another shape", "another dtype", "not finite", "a batch",
                                  "too many"])  # fmt: skip
def test_what_is_no_input_is_refused(case, stub, many, tmp_path):
    """The whole request, with INVALID_ARGUMENT; nothing of it is kept."""
    fog, service = stub()
    arrays = _cases(many)[case]
    with pytest.raises(grpc.RpcError) as info:
        service.CaptureWindows(sent(fog, [*arrays]))
    assert grpc.StatusCode.INVALID_ARGUMENT is info.value.code()
    assert len(arrays) == captured(fog, "refused")
    with pytest.raises(grpc.RpcError) as info:
        service.CaptureWindows(sent(fog, [], "0" * 64))
    assert grpc.StatusCode.NOT_FOUND is info.value.code()
    fog._capture.close()
    assert {} == kept(tmp_path / "kept")
