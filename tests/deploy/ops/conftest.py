"""A job service, a fog with a rollout, and requests for a better model between them."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from operating import Operator
from ops_site import Site
from remaking import Change, negate_output, remake

from fog_server.config import Config as FogConfig
from fog_server.config import Rollout
from fog_server.config import Wire as FogWire
from fog_server.server import FogServer
from headtail.bundle import read_bundle
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

    last = len(bundle.segments) - 1

    def write(
        name: str, point: int, joules: float, version: str = "1.0", change: Change | None = None
    ) -> None:
        cost = Cost("device", "link", "packet", Encoding.FLOAT32, 0.004, joules, 0.001, 0.0)
        points = tuple(msgspec.structs.replace(p, costs=(cost,)) for p in bundle.manifest.points)
        path = folder / f"{name}.bundle"
        by_segment = {} if change is None else {last: change}
        remake(bundle, path, signer, version, by_segment, default_point=point, points=points)

    write("first", 1, 0.005)
    write("clone", 1, 0.004)
    write("better", 2, 0.002)
    write("other", 3, 0.003, "1.5")
    write("opposite", 2, 0.002, change=negate_output)
    return folder


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
