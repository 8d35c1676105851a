"""A fog server on a free loopback port, and a client that speaks its bytes."""

import os
import queue
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import grpc
import numpy as np
import onnxruntime as ort
import pytest
from tls_site import EDGE, OPERATOR, Site, site_running

from fog_server.config import Config, Inference, Quota, Wire
from fog_server.server import FogServer
from headtail.oip import (
    RAW_INPUT_FIELD,
    InferResponse,
    InferWriter,
    Parameter,
    read_response,
    read_stream_response,
)
from headtail.tensor import Array, TensorSpec

TIMEOUT_S = 20.0
SERVICE = "/inference.GRPCInferenceService/"
Start = Callable[..., FogServer]
FOG = [sys.executable, "-m", "fog_server.cli"]


class Process:
    """A running fog server, ready to serve."""

    def __init__(self, *arguments: str) -> None:
        """Start it and read its log until it serves."""
        self._process = subprocess.Popen([*FOG, *arguments], stderr=subprocess.PIPE, text=True)
        self.log = ""
        while not (match := re.search(r"serving on (\S+)\n", self.log)):
            line = self._process.stderr.readline()
            assert line, f"it ended: {self.log}"
            self.log += line
        self.address = match[1]
        self.pid = self._process.pid

    def cpu_s(self) -> float:
        """Return the CPU time it has used."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def close(self) -> None:
        """End it whatever it does."""
        with self._process:
            self._process.kill()

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and return the exit code."""
        self._process.send_signal(number)
        self.log += self._process.communicate(timeout=30)[1]
        return self._process.returncode


class Client:
    """Sends arrays to a model; dtypes and shapes on the wire are those of the arrays."""

    def __init__(self, address: str) -> None:
        """Connect to HOST:PORT."""
        self.channel = grpc.insecure_channel(address)
        self._infer = self.channel.unary_unary(f"{SERVICE}ModelInfer")
        self.open_stream = self.channel.stream_stream(f"{SERVICE}ModelStreamInfer")

    def infer(
        self, model: str, arrays: Mapping[str, Array], timeout_s: float = TIMEOUT_S, **parameters
    ) -> InferResponse:
        """Make one unary call."""
        data = self.request(model, arrays, **parameters)
        return read_response(self._infer(data, timeout=timeout_s))

    def stream(self, frames: Sequence[bytes]) -> list[InferResponse]:
        """Send every frame on one stream and return every answer, in any order."""
        answers = self.open_stream(iter(frames), timeout=TIMEOUT_S)
        return [read_stream_response(data) for data in answers]

    def stream_in_turn(self, frames: Sequence[bytes]) -> list[InferResponse]:
        """Send each frame once the one before is answered; return the answers in that order."""
        waiting: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        answers = self.open_stream(iter(waiting.get, None), timeout=TIMEOUT_S)
        found = []
        for frame in frames:
            waiting.put(frame)
            found.append(read_stream_response(next(answers)))
        waiting.put(None)
        assert list(answers) == []
        return found

    @staticmethod
    def request(
        model: str,
        arrays: Mapping[str, Array],
        version: str = "",
        request_id: str = "1",
        **parameters: Parameter,
    ) -> bytes:
        """Return a request's bytes."""
        specs = [TensorSpec(n, a.dtype.name, a.shape) for n, a in arrays.items()]
        writer = InferWriter(model, version, specs, RAW_INPUT_FIELD)
        return writer.write(request_id, parameters, list(arrays.values()))

    @staticmethod
    def output(response: InferResponse) -> Array:
        """Return the one float32 output of an answer."""
        (tensor,) = response.outputs
        assert (tensor.name, tensor.datatype) == ("y", "FP32")
        return np.frombuffer(tensor.content, "<f4").reshape(tensor.shape)


@pytest.fixture(scope="session")
def whole(model_folder: Path) -> Callable[[str, Mapping[str, Array]], Array]:
    """Return the uncut models in onnxruntime, which every tail must agree with."""

    def run(model: str, inputs: Mapping[str, Array]) -> Array:
        path = model_folder / model / "whole.onnx"
        session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
        return session.run(["y"], dict(inputs))[0]

    return run


@pytest.fixture
def wait_until() -> Callable[[Callable[[], bool]], None]:
    """Return what waits for another thread to get somewhere, and fails after a while."""

    def wait(condition: Callable[[], bool]) -> None:
        give_up_at = time.monotonic() + TIMEOUT_S
        while not condition():
            assert time.monotonic() < give_up_at, "waited too long"
            time.sleep(0.002)

    return wait


@pytest.fixture
def windows() -> Array:
    """Return five windows of the batchable model."""
    return np.random.default_rng(3).standard_normal((5, 16, 2)).astype(np.float32)


@pytest.fixture(scope="session")
def bundle_folder(write_test_bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with both test models, the batchable one in two versions."""
    folder = tmp_path_factory.mktemp("bundles")
    write_test_bundle(folder, "chain", version="1.9.0")
    write_test_bundle(folder, "chain", version="1.10.0")
    write_test_bundle(folder, "fixed")
    return folder


@pytest.fixture(scope="session")
def make_config(bundle_folder: Path, key_folder: Path) -> Callable[..., Config]:
    """Return a function that makes a configuration for the test bundles."""

    def make(
        inference: Mapping[str, object] | None = None,
        wire: Mapping[str, object] | None = None,
        quota: Mapping[str, object] | None = None,
        **keys: str,
    ) -> Config:
        settings = {
            "bundles": str(bundle_folder),
            "listen": "127.0.0.1:0",
            "trust": str(key_folder / "trust"),
        }
        return Config(
            **settings | keys,
            inference=Inference(**inference or {}),
            wire=Wire(**{"settle_s": 0.05} | dict(wire or {})),
            quota=Quota(**quota or {}),
        )

    return make


@pytest.fixture
def start_fog(make_config: Callable[..., Config]) -> Iterator[Start]:
    """Return a function that starts a server; all of them are stopped afterwards."""
    servers: list[FogServer] = []

    def start(**sections) -> FogServer:
        servers.append(FogServer(make_config(**sections)))
        return servers[-1]

    yield start
    for server in servers:
        server.drain()


@pytest.fixture(scope="module")
def fog(make_config: Callable[..., Config]) -> Iterator[FogServer]:
    """A server with the default settings, for tests that leave it as it was."""
    server = FogServer(make_config(metrics="127.0.0.1:0"))
    yield server
    server.drain()


@pytest.fixture
def connect() -> Iterator[Callable[[FogServer], Client]]:
    """Return a function that connects a client; all are closed afterwards."""
    clients: list[Client] = []

    def make(server: FogServer) -> Client:
        clients.append(Client(server.address))
        return clients[-1]

    yield make
    for client in clients:
        client.channel.close()


@pytest.fixture
def client(fog: FogServer, connect: Callable[[FogServer], Client]) -> Client:
    """Return a client of `fog`."""
    return connect(fog)


@pytest.fixture
def start(bundle_folder, key_folder):
    """Return a function that starts the program on the test bundles; all are ended afterwards."""
    started = []

    def run(*arguments):
        folders = ("--bundles", str(bundle_folder), "--trust", str(key_folder / "trust"))
        started.append(Process(*folders, "--listen", "127.0.0.1:0", *arguments))
        return started[-1]

    yield run
    for process in started:
        process.close()


@pytest.fixture(scope="module")
def site(write_test_bundle, key_folder: Path, tmp_path_factory) -> Iterator[Site]:
    """Return a running fog that asks for certificates."""
    folder = tmp_path_factory.mktemp("site")
    write_test_bundle(folder / "bundles")
    with site_running(folder, key_folder / "trust") as running_site:
        yield running_site


@pytest.fixture
def listed(site: Site) -> Site:
    """Return it with an agent and an operator on its allow list, and nobody else."""
    site.allow(EDGE, OPERATOR)
    return site
