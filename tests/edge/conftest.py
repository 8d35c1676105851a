"""A bundle, a real fog server, a scripted one, and a run of the agent in this process."""

import json
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import grpc
import msgspec
import numpy as np
import onnxruntime as ort
import pytest

from edge_agent.config import Config
from edge_agent.run import run
from fog_server.config import Config as FogConfig
from fog_server.config import Wire
from fog_server.server import FogServer
from headtail.bundle import Bundle, read_bundle, write_bundle
from headtail.bundle.archive import encode_samples
from headtail.bundle.keys import Trust, read_signer
from headtail.bundle.manifest import Cost, Step
from headtail.inference.grpc_service_pb2 import (
    ModelMetadataRequest,
    ModelMetadataResponse,
    ModelReadyResponse,
)
from headtail.oip import RAW_OUTPUT_FIELD, InferRequest, InferWriter, read_request
from headtail.operations import Operations
from headtail.segment import Chain
from headtail.tensor import Array
from headtail.wire import Encoding

TIMEOUT_S = 30.0
HANG_UP = b"hang up"
Script = Callable[[InferRequest], bytes | list[bytes] | None]


@pytest.fixture(autouse=True)
def switch_interval() -> Iterator[None]:
    """Put back what a run of the agent sets for the whole process."""
    before_s = sys.getswitchinterval()
    yield
    sys.setswitchinterval(before_s)


@pytest.fixture(scope="session")
def bundle_path(write_test_bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the batchable test bundle, alone in its folder."""
    return write_test_bundle(tmp_path_factory.mktemp("edge"), "chain")


@pytest.fixture(scope="session")
def bundle(bundle_path: Path, trust: Trust) -> Bundle:
    """Return it read."""
    return read_bundle(bundle_path, trust)


@pytest.fixture(scope="session")
def chain(bundle: Bundle) -> Chain:
    """Return its segments, loaded."""
    return Chain(bundle)


@pytest.fixture(scope="session")
def fixed_path(write_test_bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the bundle of the model with two inputs and no batch axis, alone in its folder."""
    return write_test_bundle(tmp_path_factory.mktemp("fixed"), "fixed")


@pytest.fixture(scope="session")
def rewrite(key_folder: Path) -> Callable[..., Path]:
    """Return a function that writes a bundle again with parts of its manifest changed."""

    def write(bundle: Bundle, folder: Path, **changes: object) -> Path:
        manifest = msgspec.structs.replace(bundle.manifest, **changes)
        contents = dict(zip((m.path for m in manifest.members), bundle.segments, strict=False))
        contents["samples.npz"] = encode_samples(bundle.samples)
        contents["report.json"] = bundle.report
        path = folder / f"{manifest.name}-{manifest.version}.bundle"
        write_bundle(path, manifest, contents, read_signer(key_folder / "test.key"))
        return path

    return write


@pytest.fixture(scope="session")
def priced_path(bundle: Bundle, rewrite, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the bundle with operation counts and the profiles it was priced with."""
    operations = [Operations(conv_macs=m, conv_macz=m, conv_parameters=9) for m in (1000, 200, 30)]
    segments = tuple(
        msgspec.structs.replace(segment, operations=counts)
        for segment, counts in zip(bundle.manifest.segments, operations, strict=True)
    )
    cost = Cost("stm32l476-paper", "ble-paper", "paper", Encoding.FLOAT32, None, 0.0, 0.0, 0.0)
    points = tuple(msgspec.structs.replace(p, costs=(cost,)) for p in bundle.manifest.points)
    folder = tmp_path_factory.mktemp("priced")
    return rewrite(bundle, folder, name="priced", segments=segments, points=points)


@pytest.fixture(scope="session")
def ecg_path(bundle: Bundle, rewrite, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the bundle with steps that take a continuous ECG."""
    steps = (
        Step("resample", {"rate_hz": 125.0}),
        Step("beats", {"length": 187}),
        Step("interpolate", {"length": 32}),
        Step("reshape", {"shape": [16, 2]}),
    )
    return rewrite(bundle, tmp_path_factory.mktemp("ecg"), name="ecg", preprocess=steps)


@pytest.fixture
def windows() -> Array:
    """Return twenty windows of the batchable model."""
    return np.random.default_rng(3).standard_normal((20, 16, 2)).astype(np.float32)


@pytest.fixture
def expected(model_folder: Path, windows: Array) -> Array:
    """Return what the uncut model says of `windows`."""
    path = model_folder / "chain" / "whole.onnx"
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(["y"], {"x": windows})[0]


@pytest.fixture
def npz(windows: Array, tmp_path: Path) -> str:
    """Return a source of `windows`."""
    np.savez(tmp_path / "windows.npz", x=windows)
    return f"npz:{tmp_path / 'windows.npz'}"


@dataclass(frozen=True)
class Run:
    """Runs the agent here and reads what it wrote."""

    settings: dict[str, object]
    sink: Path

    def __call__(self, **settings: object) -> list[dict[str, object]]:
        """Return the lines of a run with these settings over the usual ones."""
        run(Config(**{**self.settings, "sink": f"jsonl:{self.sink}", **settings}))
        return [json.loads(line) for line in self.sink.read_text().splitlines()]


@pytest.fixture
def run_agent(bundle_path: Path, key_folder: Path, npz: str, tmp_path: Path) -> Run:
    """Return a function that runs the agent over `windows` and returns its lines."""
    settings = {
        "bundle": str(bundle_path),
        "trust": str(key_folder / "trust"),
        "source": npz,
        "view": "off",
        "connect_s": TIMEOUT_S,
        "deadline_s": TIMEOUT_S,
        "reconnect_first_s": 0.01,
        "reconnect_cap_s": 0.02,
        "existing": "overwrite",
    }
    return Run(settings, tmp_path / "results.jsonl")


@pytest.fixture
def start_fog(bundle_path: Path, key_folder: Path) -> Iterator[Callable[..., FogServer]]:
    """Return a function that serves a bundle's folder; all servers are stopped afterwards."""
    servers = []

    def start(
        listen: str = "127.0.0.1:0", bundles: Path = bundle_path.parent, **wire: float
    ) -> FogServer:
        config = FogConfig(
            bundles=str(bundles),
            listen=listen,
            trust=str(key_folder / "trust"),
            wire=Wire(**{"settle_s": 0.05, **wire}),
        )
        servers.append(FogServer(config))
        return servers[-1]

    yield start
    for server in servers:
        server.drain()


def point_of(tail: str) -> int:
    """Return the partition point in a tail's name."""
    return int(tail.split("-")[1].removeprefix("tail"))


class ScriptedFog:
    """A fog that answers each request as its script says: messages, none, or `HANG_UP`."""

    def __init__(self, bundle: Bundle, listen: str = "127.0.0.1:0") -> None:
        self.script: Script = self.answer
        self.requests: list[InferRequest] = []
        self.is_ready = True
        self.parameters: dict[str, int | bool] = {"queue_ns": 1000, "compute_ns": 2000}
        self._manifest = bundle.manifest
        self._chain = Chain(bundle)
        self._writer = InferWriter("tail", "1", bundle.manifest.outputs, RAW_OUTPUT_FIELD)
        self._server = grpc.server(ThreadPoolExecutor(8), options=[("grpc.so_reuseport", 0)])
        handlers = {
            "ModelReady": grpc.unary_unary_rpc_method_handler(self._ready),
            "ModelMetadata": grpc.unary_unary_rpc_method_handler(self._metadata),
            "ModelStreamInfer": grpc.stream_stream_rpc_method_handler(self._stream),
        }
        self._server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler("inference.GRPCInferenceService", handlers),)
        )
        port = self._server.add_insecure_port(listen)
        self.address = f"127.0.0.1:{port}"
        self._server.start()

    def answer(self, request: InferRequest) -> bytes:
        """Return the right answer."""
        point = point_of(request.model)
        known = {t.name: np.frombuffer(t.content, "<f4").reshape(t.shape) for t in request.inputs}
        outputs = self._chain.tail(known, point)
        arrays = list(outputs.values())
        return self._writer.write_stream_response(request.id, self.parameters, arrays)

    def stop(self) -> None:
        """Vanish at once."""
        self._server.stop(None).wait()

    def _ready(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        return ModelReadyResponse(ready=self.is_ready).SerializeToString()

    def _metadata(self, data: bytes, context: grpc.ServicerContext) -> bytes:
        request = ModelMetadataRequest.FromString(data)
        activation = self._manifest.points[point_of(request.name)].activation
        kind = ModelMetadataResponse.TensorMetadata
        inputs = [kind(name=s.name, datatype="FP32", shape=s.shape) for s in activation]
        return ModelMetadataResponse(name=request.name, inputs=inputs).SerializeToString()

    def _stream(self, frames: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        for data in frames:
            request = read_request(data)
            self.requests.append(request)
            reply = self.script(request)
            if reply == HANG_UP:
                return
            yield from [reply] if isinstance(reply, bytes) else reply or []


@pytest.fixture
def scripted_fog(bundle: Bundle) -> Iterator[ScriptedFog]:
    """Return a fog that answers rightly until it is given another script."""
    fog = ScriptedFog(bundle)
    yield fog
    fog.stop()


@pytest.fixture
def unused_address() -> Iterator[str]:
    """Return an address on which nobody listens.

    It is held while the test runs: none but who asks for this very port can have it.
    """
    with socket.socket() as held:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{held.getsockname()[1]}"


@pytest.fixture
def wait_until() -> Callable[[Callable[[], bool]], None]:
    """Return what waits for another thread to get somewhere, and fails after a while."""

    def wait(condition: Callable[[], bool]) -> None:
        give_up_at = time.monotonic() + TIMEOUT_S
        while not condition():
            assert time.monotonic() < give_up_at, "waited too long"
            threading.Event().wait(0.002)

    return wait
