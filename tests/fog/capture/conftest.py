"""A fog that captures."""

from collections.abc import Callable, Iterator

import msgspec
import numpy as np
import pytest

from fog_server.config import Capture
from fog_server.server import FogServer
from headtail.tensor import Array


@pytest.fixture
def capturing(make_config, tmp_path) -> Iterator[Callable[..., FogServer]]:
    """Return a function that starts a server with a section [capture]; each is drained."""
    servers: list[FogServer] = []

    def start(**keys: object) -> FogServer:
        usual = {"enabled": True, "ratio": 1.0, "folder": str(tmp_path / "kept")}
        section = Capture(**usual | keys)
        config = msgspec.structs.replace(make_config(metrics="127.0.0.1:0"), capture=section)
        servers.append(FogServer(config))
        return servers[-1]

    yield start
    for server in servers:
        server.drain()


@pytest.fixture
def many() -> Array:
    """Return 200 windows of the batchable model."""
    return np.random.default_rng(8).standard_normal((200, 16, 2)).astype(np.float32)
