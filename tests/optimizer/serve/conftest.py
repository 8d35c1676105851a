"""Services over a folder of the test's own."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from serve_case import CORE, GIB, Service, command

from optimizer.serve.capacity import Machine
from optimizer.serve.config import Capacity, Config, Limits, Wire
from optimizer.serve.server import JobService


@pytest.fixture
def machine() -> Machine:
    """Two places on one core, so that the tests run where there is one."""
    return Machine(cores=(CORE, CORE), gpus=(), memory_bytes=2 * GIB, job_memory_bytes=GIB)


@pytest.fixture
def serve(tmp_path: Path, machine: Machine) -> Iterator[Callable[..., Service]]:
    """Return a function that starts a service; all are closed afterwards."""
    services: list[Service] = []

    def start(crashes: int = 2, machine: Machine = machine) -> Service:
        services.append(Service(tmp_path, machine, crashes))
        services[-1].scheduler.start()
        return services[-1]

    yield start
    for service in reversed(services):
        service.close()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., JobService]]:
    """Return a function that starts a service on a free port; all are closed afterwards."""
    services: list[JobService] = []

    def make(address: str = "127.0.0.1:0", **limits: int) -> JobService:
        config = Config(
            state=str(tmp_path / "state"),
            listen=address,
            capacity=Capacity(cpus=1, memory_bytes=2 * GIB, job_memory_bytes=GIB),
            limits=Limits(**{"free_bytes": 0, **limits}),
            wire=Wire(stop_s=0.5),
        )
        services.append(JobService(config, command=command))
        return services[-1]

    yield make
    for service in services:
        if service.check_ready() is None:
            service.close()
