"""Fogs with a rollout, and bundles for them."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from operating import Operator

from fog_server.config import Config, Rollout, Wire
from fog_server.rollout.rules import Rules
from fog_server.server import FogServer
from headtail.bundle import read_bundle


@pytest.fixture(scope="session")
def versions(write_test_bundle, trust, tmp_path_factory) -> dict[str, tuple[Path, str]]:
    """Return path and digest of three versions of `chain`, by version."""
    folder = tmp_path_factory.mktemp("versions")
    paths = {v: write_test_bundle(folder, "chain", version=v) for v in ("1.0", "2.0", "3.0")}
    return {v: (path, read_bundle(path, trust).digest) for v, path in paths.items()}


@pytest.fixture
def folder(tmp_path) -> Path:
    """Return an empty folder of bundles."""
    (tmp_path / "bundles").mkdir()
    return tmp_path / "bundles"


@pytest.fixture
def start_managed(folder, key_folder) -> Iterator[Callable[..., FogServer]]:
    """Return a function that starts a fog with a rollout; all are stopped afterwards."""
    servers: list[FogServer] = []

    def start(rules: Rules | None = None, metrics: str = "", **settings: float) -> FogServer:
        values = {"poll_s": 0.02, **settings}
        config = Config(
            bundles=str(folder),
            listen="127.0.0.1:0",
            metrics=metrics,
            trust=str(key_folder / "trust"),
            wire=Wire(settle_s=0.05),
            rollout=Rollout(enabled=True, rules=rules or Rules(), **values),
        )
        servers.append(FogServer(config))
        return servers[-1]

    yield start
    for server in servers:
        server.drain()


@pytest.fixture
def operate() -> Iterator[Callable[[str], Operator]]:
    """Return a function that connects an operator to an address; all are closed afterwards."""
    operators: list[Operator] = []

    def make(address: str) -> Operator:
        operators.append(Operator(address))
        return operators[-1]

    yield make
    for operator in operators:
        operator.channel.close()


@pytest.fixture
def fog(folder, start_managed, versions) -> FogServer:
    """Return a fog with a rollout where version 1.0 is active; it hides that of other tests."""
    shutil.copy(versions["1.0"][0], folder)
    return start_managed(report_s=600.0)


@pytest.fixture
def managed(fog, operate, versions) -> Operator:
    """Return the operator of a fog where version 1.0 is active and 2.0 a candidate."""
    operator = operate(fog.address)
    operator.publish(versions["2.0"][0])
    return operator
