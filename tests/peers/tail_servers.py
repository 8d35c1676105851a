"""Peer servers with one tail each: Triton, MLServer and KServe, in environments of their own.

Every one runs the same graph in onnxruntime with one thread, and is ready when a block begins.
"""

import json
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import grpc

from environments import Unavailable, environment, requirements_of
from headtail.inference.grpc_service_pb2 import ModelReadyRequest, ModelReadyResponse
from headtail.tensor import OIP_DATATYPES, TensorSpec
from programs import START_TIMEOUT_S, Program, ProgramFailed, running
from triton_server import triton_running

HERE = Path(__file__).parent
READY = "/inference.GRPCInferenceService/ModelReady"
MAX_BATCH = 64
SHARED_BYTES = 256 << 20


@dataclass(frozen=True, slots=True)
class PeerTail:
    """What a peer serves."""

    name: str
    graph: Path
    """The tail's .onnx file."""
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


@dataclass(frozen=True, slots=True)
class Peer:
    """A running peer."""

    address: str
    program: Program


Running = Callable[[PeerTail, Path, int | None], AbstractContextManager[Peer]]


@contextmanager
def triton_tail(tail: PeerTail, work: Path, core: int | None, batcher: str = "") -> Iterator[Peer]:
    """Run Triton's core with the tail in its Python backend; see `triton_server`.

    Args:
        tail: What it serves.
        work: Folder for its files.
        core: CPU core to pin it to; None leaves it free.
        batcher: Of the model's description; Triton forms no batches by itself.
    """
    repository = work / "models"
    version = repository / tail.name / "1"
    version.mkdir(parents=True)
    shutil.copy(HERE / "triton_tail.py", version / "model.py")
    shutil.copy(tail.graph, version / "tail.onnx")
    (version.parent / "config.pbtxt").write_text(_config(tail) + batcher)
    # Large from the start: it is not to grow while it is measured.
    memory = f"--backend-config=python,shm-default-byte-size={SHARED_BYTES}"
    with triton_running(repository, work, [memory], core) as triton:
        yield Peer(triton.address, triton.program)


def _config(tail: PeerTail) -> str:
    """Return Triton's description of a model that takes batches of up to 64."""
    text = f'name: "{tail.name}"\nbackend: "python"\nmax_batch_size: {MAX_BATCH}\n'
    for kind, specs in (("input", tail.inputs), ("output", tail.outputs)):
        for spec in specs:
            shape = ", ".join(str(n) for n in spec.shape[1:])
            datatype = f"TYPE_{OIP_DATATYPES[spec.dtype]}"
            text += f'{kind} {{ name: "{spec.name}" data_type: {datatype} dims: [{shape}] }}\n'
    return text + "instance_group { count: 1 kind: KIND_CPU }\n"


@contextmanager
def mlserver_tail(tail: PeerTail, work: Path, core: int | None) -> Iterator[Peer]:
    """Run MLServer in one process, without a pool of workers, which costs it a copy a message."""
    python = environment("mlserver", requirements_of("mlserver"))
    port, http_port, metrics_port = (free_port() for _ in range(3))
    work.mkdir(parents=True, exist_ok=True)
    shutil.copy(HERE / "mlserver_tail.py", work)
    settings = {
        "host": "127.0.0.1",
        "grpc_port": port,
        "http_port": http_port,
        "metrics_port": metrics_port,
        "metrics_endpoint": None,
        "parallel_workers": 0,
        "debug": False,
    }
    model = {
        "name": tail.name,
        "implementation": "mlserver_tail.Tail",
        "parameters": {"uri": str(tail.graph)},
    }
    (work / "settings.json").write_text(json.dumps(settings))
    (work / "model-settings.json").write_text(json.dumps(model))
    command = [python.with_name("mlserver"), "start", work]
    with running(command, work / "mlserver.log", core) as program:
        address = f"127.0.0.1:{port}"
        wait_ready(address, tail.name, program)
        yield Peer(address, program)


@contextmanager
def kserve_tail(tail: PeerTail, work: Path, core: int | None) -> Iterator[Peer]:
    """Run KServe's Python server."""
    python = environment("kserve", requirements_of("kserve"))
    port, http_port = free_port(), free_port()
    work.mkdir(parents=True, exist_ok=True)
    command = [python, HERE / "kserve_tail.py", tail.name, tail.graph, str(port), str(http_port)]
    with running(command, work / "kserve.log", core) as program:
        address = f"127.0.0.1:{port}"
        wait_ready(address, tail.name, program)
        yield Peer(address, program)


PEERS: dict[str, Running] = {
    "triton": triton_tail,
    # Triton 2.51's Python backend may end with a segmentation fault so (seen with 32 requests of
    # 16 KB under way), so it stands beside the one without.
    "triton-batching": partial(triton_tail, batcher="dynamic_batching { }\n"),
    "mlserver": mlserver_tail,
    "kserve": kserve_tail,
}


def wait_ready(address: str, model: str, program: Program) -> None:
    """Return once a server says that it can answer for a model.

    Raises:
        Unavailable: If it ends or does not within the time that a program has to start.
    """
    stop_s = time.monotonic() + 2 * START_TIMEOUT_S
    with grpc.insecure_channel(address) as channel:
        ask = channel.unary_unary(
            READY,
            request_serializer=ModelReadyRequest.SerializeToString,
            response_deserializer=ModelReadyResponse.FromString,
        )
        while time.monotonic() < stop_s and program.process.poll() is None:
            try:
                if ask(ModelReadyRequest(name=model), timeout=2.0, wait_for_ready=True).ready:
                    return
            except grpc.RpcError:
                pass
            time.sleep(0.1)
    lines = program.text.strip().splitlines() or ["it said nothing"]
    raise Unavailable(f"it never got ready: {lines[-1][:200]}")


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


__all__ = ["PEERS", "Peer", "PeerTail", "ProgramFailed", "Unavailable"]
