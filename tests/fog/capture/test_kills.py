"""A fog killed while it captures leaves shards that can be read, and goes on after a restart."""

import random
import signal
import threading
from contextlib import suppress

import grpc
import numpy as np
import pytest
from captured_windows import kept

from headtail.captured import read_shard

ROUNDS = 4
CONFIG = """
[capture]
enabled = true
ratio = 1.0
max_windows = 900
folder = "{folder}"
"""


@pytest.fixture
def offer(connect):
    """Return a function that sends windows to a fog until it is gone."""

    class Address:
        def __init__(self, address):
            self.address = address

    def run(process, seed):
        client = connect(Address(process.address))
        rng = np.random.default_rng(seed)
        with suppress(grpc.RpcError):
            while True:
                client.infer("chain", {"x": rng.standard_normal((256, 16, 2)).astype("f4")})

    return run


def test_killed_at_random_moments_every_shard_is_whole(start, offer, tmp_path, wait_until):
    """A fog is killed again and again; one that ends in order leaves the sample in its bound."""
    folder = tmp_path / "kept"
    config = tmp_path / "fog.toml"
    config.write_text(CONFIG.format(folder=folder))
    rng = random.Random(4)
    for number in range(ROUNDS):
        process = start("--config", str(config))
        thread = threading.Thread(target=offer, args=(process, number), daemon=True)
        thread.start()
        wait_until(lambda: any(folder.rglob("*.npz")))
        threading.Event().wait(rng.uniform(0.0, 0.6))  # the moment is what is tried
        process.stop(signal.SIGKILL)
        thread.join(20)
        shards = [read_shard(path) for path in folder.rglob("*.npz")]
        assert sum(len(shard.index) for shard in shards) > 0
    last = start("--config", str(config))
    thread = threading.Thread(target=offer, args=(last, ROUNDS), daemon=True)
    thread.start()
    assert 0 == last.stop()
    thread.join(20)
    assert 0 < len(kept(folder)) <= 900
    assert not list(folder.rglob(".*.npz.*"))
