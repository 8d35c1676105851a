"""Services over a folder of the test's own."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from serve_case import GIB, Service

from optimizer.serve.capacity import Machine


@pytest.fixture
def machine() -> Machine:
    """Two places on one core, so that the tests run where there is one."""
    return Machine(cores=(0, 0), gpus=(), memory_bytes=2 * GIB, job_memory_bytes=GIB)


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
