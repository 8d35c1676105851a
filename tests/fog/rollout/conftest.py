"""Fogs with a rollout, and bundles for them."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from operating import Operator
from remaking import Change, negate_output, remake, shift_output, want_memory

from fog_server.config import Config, Rollout, Wire
from fog_server.rollout.rules import Rules
from fog_server.server import FogServer
from headtail.bundle import read_bundle
from headtail.bundle.keys import read_signer
from headtail.tensor import Array


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


def make_config(
    folder: Path,
    key_folder: Path,
    rules: Rules | None = None,
    metrics: str = "",
    **settings: float,
) -> Config:
    """Return the configuration of a fog with a rollout."""
    return Config(
        bundles=str(folder),
        listen="127.0.0.1:0",
        metrics=metrics,
        trust=str(key_folder / "trust"),
        wire=Wire(settle_s=0.05),
        rollout=Rollout(enabled=True, rules=rules or Rules(), **{"poll_s": 0.02, **settings}),
    )


@pytest.fixture
def start_managed(folder, key_folder) -> Iterator[Callable[..., FogServer]]:
    """Return a function that starts a fog with a rollout; all are stopped afterwards."""
    servers: list[FogServer] = []

    def start(rules: Rules | None = None, metrics: str = "", **settings: float) -> FogServer:
        servers.append(FogServer(make_config(folder, key_folder, rules, metrics, **settings)))
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


@pytest.fixture(scope="session")
def template(versions, key_folder, tmp_path_factory) -> Path:
    """Return the folder of a fog that had version 1.0 put into it, and 2.0 published."""
    folder = tmp_path_factory.mktemp("template")
    shutil.copy(versions["1.0"][0], folder)
    server = FogServer(make_config(folder, key_folder))
    operator = Operator(server.address)
    operator.publish(versions["2.0"][0])
    operator.channel.close()
    server.drain()
    return folder


@pytest.fixture
def fog(folder, start_managed, template) -> FogServer:
    """Return a fog where version 1.0 is active and 2.0 a candidate; it hides other tests' one."""
    shutil.copytree(template, folder, dirs_exist_ok=True)
    return start_managed(report_s=600.0)


@pytest.fixture
def managed(fog, operate) -> Operator:
    """Return its operator."""
    return operate(fog.address)


@pytest.fixture(scope="session")
def remade(versions, key_folder, trust, tmp_path_factory) -> Callable[..., Path]:
    """Return a function that writes `chain` anew with some segments changed."""
    pytest.importorskip("onnx", reason="changing a model needs the optimizer's extra")
    signer = read_signer(key_folder / "test.key")
    folder = tmp_path_factory.mktemp("remade")
    bundle = read_bundle(versions["1.0"][0], trust)

    def make(
        version: str,
        changes: Mapping[int, Change],
        outputs: Mapping[str, Array] | None = None,
    ) -> Path:
        return remake(bundle, folder / f"chain-{version}.bundle", signer, version, changes, outputs)

    return make


@pytest.fixture(scope="session")
def opposite_bundle(remade) -> Path:
    """Return version 4.0, whose tail answers the opposite; it passes its own self-test."""
    return remade("4.0", {2: negate_output})


@pytest.fixture(scope="session")
def shifted_bundle(remade) -> Path:
    """Return version 5.0, whose tail gives other numbers and the same answer."""
    return remade("5.0", {2: shift_output})


@pytest.fixture(scope="session")
def hungry_bundle(remade, versions, trust) -> Path:
    """Return version 6.0, whose tail wants more memory than there is."""
    outputs = read_bundle(versions["1.0"][0], trust).samples.outputs
    return remade("6.0", {2: want_memory}, outputs)
