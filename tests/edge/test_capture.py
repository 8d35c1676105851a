"""Inputs that an agent sends for the fog's sample: what it saw, where wanted, never in the way."""

import logging
import threading

import grpc
import numpy as np
import pytest
from captured_windows import kept

from edge_agent import capture as capture_module
from edge_agent.capture import Capture
from edge_agent.capture_queue import MAX_WAITING
from edge_agent.config import Config, read_config
from edge_agent.loaded import load_bundle
from edge_agent.sources.frame import Frame
from fog_server.config import Capture as Section
from fog_server.config import Config as FogConfig
from fog_server.config import Wire
from fog_server.server import FogServer
from headtail.captured import read_shard, window_id
from headtail.errors import ConfigError


@pytest.fixture(autouse=True)
def no_hurry(monkeypatch):
    """Have windows sent on a busy machine, too, before the run ends."""
    monkeypatch.setattr(capture_module, "_NICE", 0)
    monkeypatch.setattr(capture_module, "CLOSE_S", 30.0)


@pytest.fixture
def capturing_fog(bundle_path, key_folder, tmp_path):
    """Return a function that starts a fog with a section [capture] and returns it."""
    servers = []

    def start(listen="127.0.0.1:0", **section):
        usual = {"enabled": True, "ratio": 1.0, "folder": str(tmp_path / "kept")}
        config = FogConfig(
            bundles=str(bundle_path.parent),
            listen=listen,
            trust=str(key_folder / "trust"),
            wire=Wire(settle_s=0.05),
            capture=Section(**usual | section),
        )
        servers.append(FogServer(config))
        return servers[-1]

    yield start
    for server in servers:
        server.drain()


@pytest.mark.parametrize(
    ("point", "encoding", "ratio"),
    [("0", "float32", 0.0), ("0", "float32", 1.0), ("0", "int8", 1.0), ("1", "float32", 1.0),
     ("2", "int8", 1.0), ("3", "float32", 1.0)],
)  # fmt: skip
def test_what_is_kept_is_what_the_agent_saw(
    point, encoding, ratio, capturing_fog, run_agent, windows, tmp_path
):
    """Bit by bit at every point; where requests bring the inputs nothing is sent twice."""
    fog = capturing_fog()
    lines = run_agent(
        fog=fog.address, point=point, encoding=encoding, agent="a-7", capture_ratio=ratio
    )
    fog.drain()
    assert 20 == len(lines)
    assert {window_id([w]): w.tobytes() for w in windows} == {
        name: inputs[0].tobytes() for name, inputs in kept(tmp_path / "kept").items()
    }
    found = [read_shard(path).index for path in (tmp_path / "kept").rglob("*.npz")]
    assert list(range(20)) == sorted(s for index in found for s in index.sequences.tolist())
    assert 1 == len({a for index in found for a in index.agents.tolist()})


def test_nothing_is_sent_unless_asked_for(capturing_fog, run_agent, tmp_path):
    """Points above 0 keep inputs on the device by default."""
    fog = capturing_fog()
    run_agent(fog=fog.address, point="2")
    fog.drain()
    assert {} == kept(tmp_path / "kept")


def test_a_fog_that_captures_nothing_gets_no_input(start_fog, run_agent, caplog, bundle_path):
    """It is asked once, without a window; the agent says so once and goes on."""
    caplog.set_level(logging.INFO)
    fog = start_fog()
    lines = run_agent(fog=fog.address, point="2", capture_ratio=1.0)
    assert 20 == len(lines)
    assert 1 == caplog.text.count("takes no inputs now: FAILED_PRECONDITION")
    assert not (bundle_path.parent / "capture").exists()


def test_a_fog_of_another_kind_is_left_alone(scripted_fog, run_agent, caplog):
    """UNIMPLEMENTED, once."""
    caplog.set_level(logging.INFO)
    lines = run_agent(fog=scripted_fog.address, point="1", capture_ratio=1.0)
    assert 20 == len(lines)
    assert 1 == caplog.text.count("takes no inputs now: UNIMPLEMENTED")


def test_a_fog_that_is_away_holds_nothing_up(unused_address, run_agent):
    lines = run_agent(fog=unused_address, point="3", capture_ratio=1.0, connect_s=0.2)
    assert 20 == len(lines)


def test_a_ratio_without_a_fog_is_an_error(run_agent):
    with pytest.raises(ConfigError, match="--capture-ratio"):
        run_agent(point="3", capture_ratio=0.1)
    with pytest.raises(ConfigError, match="--capture-ratio"):
        read_config(None, {"capture_ratio": 1.5})


def test_the_queue_has_bounds(bundle, unused_address, wait_until, monkeypatch):
    """Windows that nobody takes are dropped and counted; offering never waits."""
    loaded = load_bundle(bundle, ("2", "float32"), 1)
    config = Config(fog=unused_address, capture_ratio=1.0, agent="a")
    monkeypatch.setattr(capture_module, "FIRST_S", 1e-3)
    capture = Capture(config, lambda: loaded)
    rng = np.random.default_rng(1)
    frames = [Frame(i, i, {"x": rng.standard_normal((16, 2)).astype("f4")}) for i in range(1000)]
    for frame in frames:
        capture.offer([frame])
    assert len(capture.queue) <= MAX_WAITING
    assert 1000 == capture.queue.windows["dropped"] + len(capture.queue)
    capture.close()
    assert 0 == capture.queue.windows["sent"]
    assert not capture._thread.is_alive()


def test_a_share_of_the_windows_is_drawn(bundle, unused_address):
    """2000 windows at a tenth: 200 within five standard deviations."""
    loaded = load_bundle(bundle, ("2", "float32"), 1)
    capture = Capture(Config(fog=unused_address, capture_ratio=0.1, agent="a"), lambda: loaded)
    frame = Frame(0, 0, {"x": np.zeros((16, 2), "f4")})
    for _ in range(2000):
        capture.offer([frame])
    drawn = capture.queue.windows.total() + len(capture.queue)
    capture.close()
    assert abs(drawn - 200) < 5 * np.sqrt(2000 * 0.1 * 0.9)


def test_unwanted_answers_are_those_that_do_not_pass():
    """An outage, an overload or a bundle that is yet to come is tried again."""
    passing = {
        grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.NOT_FOUND, grpc.StatusCode.INTERNAL,
    }  # fmt: skip
    assert not passing & capture_module.UNWANTED


def test_a_fog_that_comes_later_gets_what_waits(
    bundle, unused_address, capturing_fog, monkeypatch, wait_until, tmp_path
):
    """Nothing is lost to attempts that fail; each window is sent once."""
    monkeypatch.setattr(capture_module, "FIRST_S", 1e-3)
    monkeypatch.setattr(capture_module, "CAP_S", 0.05)
    loaded = load_bundle(bundle, ("2", "float32"), 1)
    capture = Capture(Config(fog=unused_address, capture_ratio=1.0, agent="a"), lambda: loaded)
    rng = np.random.default_rng(2)
    frames = [Frame(i, i, {"x": rng.standard_normal((16, 2)).astype("f4")}) for i in range(40)]
    capture.offer(frames)
    threading.Event().wait(0.1)  # some attempts fail
    fog = capturing_fog(listen=unused_address)
    wait_until(lambda: capture.queue.windows["sent"] == 40)
    capture.close()
    fog.drain()
    assert {"sent": 40} == dict(capture.queue.windows)
    assert {window_id([f.tensors["x"]]) for f in frames} == kept(tmp_path / "kept").keys()


def test_where_none_is_wanted_none_is_kept_waiting(bundle, start_fog, wait_until):
    """After the fog's refusal windows are counted and let go."""
    loaded = load_bundle(bundle, ("2", "float32"), 1)
    capture = Capture(Config(fog=start_fog().address, capture_ratio=1.0, agent="a"), lambda: loaded)
    frame = Frame(0, 0, {"x": np.zeros((16, 2), "f4")})
    capture.offer([frame] * 5)
    wait_until(lambda: capture.queue.windows["unwanted"] == 5)
    capture.offer([frame] * 3)
    assert (0, {"unwanted": 8}) == (len(capture.queue), dict(capture.queue.windows))
    capture.close()
    assert 0 == capture.sent_bytes
