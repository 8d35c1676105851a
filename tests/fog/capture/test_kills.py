"""A fog killed while it captures leaves shards that can be read, and goes on after a restart."""

import random
import signal
import threading
from contextlib import suppress

import grpc
import numpy as np
import pytest
from captured_windows import kept

from fog_server.capture.commands import main as command
from headtail.captured import read_shard

CONFIG = """
[capture]
enabled = true
ratio = 1.0
max_windows = 900
folder = "{folder}"
"""


class Address:
    """Where a process listens, for `connect`."""

    def __init__(self, address):
        """Remember it."""
        self.address = address


@pytest.fixture
def offer(connect):
    """Return a function that sends windows to a fog until it is gone."""

    def run(process, seed):
        client = connect(Address(process.address))
        rng = np.random.default_rng(seed)
        with suppress(grpc.RpcError):
            while True:
                client.infer("chain", {"x": rng.standard_normal((256, 16, 2)).astype("f4")})

    return run


@pytest.mark.parametrize("rounds", [1, pytest.param(8, marks=pytest.mark.slow)])
def test_killed_at_random_moments_every_shard_is_whole(rounds, start, offer, tmp_path, wait_until):
    """Two fogs share the folder and are killed in turn; one that ends in order tidies up."""
    folder = tmp_path / "kept"
    config = tmp_path / "fog.toml"
    config.write_text(CONFIG.format(folder=folder))
    rng = random.Random(4)
    for number in range(rounds):
        processes = [start("--config", str(config)) for _ in range(2)]
        threads = [
            threading.Thread(target=offer, args=(process, 2 * number + i), daemon=True)
            for i, process in enumerate(processes)
        ]
        for thread in threads:
            thread.start()
        wait_until(lambda: any(folder.rglob("*.npz")))
        for process in processes:
            threading.Event().wait(rng.uniform(0.0, 0.4))  # the moment is what is tried
            process.stop(signal.SIGKILL)
        for thread in threads:
            thread.join(20)
        shards = [read_shard(path) for path in folder.rglob("*.npz")]
        assert sum(len(shard.index) for shard in shards) > 0
    last = start("--config", str(config))
    thread = threading.Thread(target=offer, args=(last, 99), daemon=True)
    thread.start()
    assert 0 == last.stop()
    thread.join(20)
    assert 0 < len(kept(folder)) <= 900
    assert not list(folder.rglob(".*.npz.*"))


def test_forgotten_while_a_fog_captures(start, connect, tmp_path, wait_until):
    """What was there is gone, and the fog goes on with what comes."""
    folder = tmp_path / "kept"
    config = tmp_path / "fog.toml"
    config.write_text(CONFIG.format(folder=folder))
    process = start("--config", str(config))
    rng = np.random.default_rng(1)
    client = connect(Address(process.address))
    for _ in range(2):
        client.infer("chain", {"x": rng.standard_normal((256, 16, 2)).astype("f4")})
        wait_until(lambda: sum(1 for _ in kept(folder)) == 256)
        assert 0 == command(["forget", "--all", "--config", str(config), "--json"])
        assert {} == kept(folder)
