"""A job service, a fog with a rollout, and requests for a better model between them."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import onnx
import pytest
from operating import Operator
from ops_site import Site

from fog_server.config import Config as FogConfig
from fog_server.config import Rollout
from fog_server.config import Wire as FogWire
from fog_server.server import FogServer
from headtail.bundle import read_bundle, write_bundle
from headtail.bundle.archive import Samples, describe_member, encode_samples
from headtail.bundle.keys import read_signer
from headtail.bundle.manifest import Cost
from headtail.server.config import Tls
from headtail.wire import Encoding
from optimizer.serve.config import Capacity, Config, Limits, Wire
from optimizer.serve.folder import JobFolder
from optimizer.serve.job import Job
from optimizer.serve.server import JobService

PROGRAM = Path(__file__).with_name("make_bundle.py")
GIB = 1 << 30


@pytest.fixture(scope="session")
def templates(write_test_bundle, key_folder, trust, tmp_path_factory) -> Path:
    """Return a folder of bundles of `chain`: the active one, a better one, one that is no good.

    `first` is cut at 1 and costs 5 mJ a window, `better` at 2 and 2 mJ; `opposite` gives the
    opposite answer, `clone` is the first one at another price, and `other` has a version, 1.5.
    """
    folder = tmp_path_factory.mktemp("templates")
    bundle = read_bundle(write_test_bundle(folder, "chain", version="1.0"), trust)
    signer = read_signer(key_folder / "test.key")

    def write(
        name: str, point: int, joules: float, tail: bytes, samples: Samples, version: str = "1.0"
    ) -> None:
        cost = Cost("device", "link", "packet", Encoding.FLOAT32, 0.004, joules, 0.001, 0.0)
        contents = [*bundle.segments[:-1], tail]
        members = {f"segments/{i}.onnx": content for i, content in enumerate(contents)}
        members |= {"samples.npz": encode_samples(samples), "report.json": b"{}"}
        manifest = msgspec.structs.replace(
            bundle.manifest,
            version=version,
            default_point=point,
            points=tuple(msgspec.structs.replace(p, costs=(cost,)) for p in bundle.manifest.points),
            segments=tuple(
                msgspec.structs.replace(s, member=describe_member(s.member.path, contents[i]))
                for i, s in enumerate(bundle.manifest.segments)
            ),
            samples=describe_member("samples.npz", members["samples.npz"]),
        )
        write_bundle(folder / f"{name}.bundle", manifest, members, signer)

    tail, samples = bundle.segments[-1], bundle.samples
    write("first", 1, 0.005, tail, samples)
    write("clone", 1, 0.004, tail, samples)
    write("better", 2, 0.002, tail, samples)
    write("other", 3, 0.003, tail, samples, "1.5")
    negative = Samples(samples.inputs, {name: -y for name, y in samples.outputs.items()})
    write("opposite", 2, 0.002, _negated(tail), negative)
    return folder


def _negated(tail: bytes) -> bytes:
    """Return a graph that answers the opposite."""
    model = onnx.load_from_string(tail)
    for node in model.graph.node:
        node.output[:] = ["before" if name == "y" else name for name in node.output]
    model.graph.node.append(onnx.helper.make_node("Neg", ["before"], ["y"]))
    return model.SerializeToString()


@pytest.fixture
def start_fog(templates, key_folder, tmp_path) -> Iterator[Callable[..., FogServer]]:
    """Return a function that starts a fog where version 1.0 is active; all are stopped."""
    servers: list[FogServer] = []
    folder = tmp_path / "bundles"
    folder.mkdir()
    (folder / "first.bundle").write_bytes((templates / "first.bundle").read_bytes())

    def start(address: str = "127.0.0.1:0", tls: Tls | None = None, **settings: float) -> FogServer:
        config = FogConfig(
            bundles=str(folder),
            listen=address,
            tls=tls or Tls(),
            trust=str(key_folder / "trust"),
            wire=FogWire(settle_s=0.05),
            rollout=Rollout(enabled=True, **{"poll_s": 0.02, "report_s": 600.0, **settings}),
        )
        servers.append(FogServer(config))
        return servers[-1]

    yield start
    for server in servers:
        server.drain()


@pytest.fixture
def start_jobs(templates, key_folder, tmp_path) -> Iterator[Callable[..., JobService]]:
    """Return a function that starts a job service whose jobs sign those bundles; all are closed."""
    services: list[JobService] = []

    def command(job: Job, folder: JobFolder) -> list[str]:
        paths = (folder.recipe, folder.run, job.version, templates, key_folder)
        return [sys.executable, str(PROGRAM), *map(str, paths)]

    def start(address: str = "127.0.0.1:0", tls: Tls | None = None, **limits: int) -> JobService:
        config = Config(
            state=str(tmp_path / "state"),
            listen=address,
            tls=tls or Tls(),
            capacity=Capacity(cpus=1, memory_bytes=2 * GIB, job_memory_bytes=GIB),
            limits=Limits(**{"free_bytes": 0, **limits}),
            wire=Wire(stop_s=0.5),
        )
        services.append(JobService(config, command=command))
        return services[-1]

    yield start
    for service in services:
        if service.check_ready() is None:
            service.close()


@pytest.fixture
def site(tmp_path, start_fog, start_jobs, capsys) -> Iterator[Site]:
    """Return a site where version 1.0 is active."""
    fog = start_fog()
    operator = Operator(fog.address)
    yield Site(tmp_path, fog, start_jobs(), operator, capsys)
    operator.channel.close()
