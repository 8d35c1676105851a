"""A real Triton without containers or a GPU: the server inside the wheel `nvidia-pytriton`.

The wheel holds Triton's core, its Python backend and a stub of that backend for each Python; the
C++ backends, onnxruntime's among them, are not in it. So a model is a `model.py`, and that runs
onnxruntime from the same environment.

Run as a program, it serves a repository at 127.0.0.1:8001 until Ctrl-C:

    PYTHONPATH=deploy python tests/peers/triton_server.py REPOSITORY
"""

import os
import shutil
import socket
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from environments import Unavailable, environment, requirements_of
from programs import Program, ProgramFailed, running

# Each Python model is a process that imports onnxruntime: dozens of them take their time.
START_TIMEOUT_S = 300.0
ATTEMPTS = 3  # a free port may be taken by somebody else before Triton listens on it


@dataclass(frozen=True, slots=True)
class Triton:
    """A running Triton and where its gRPC port is."""

    address: str
    program: Program


def triton_python() -> Path:
    """Return the interpreter of Triton's environment, which holds tritonclient too.

    Raises:
        Unavailable: If it cannot be made here.
    """
    return environment("triton", requirements_of("triton"))


@contextmanager
def triton_running(
    repository: Path, work: Path, arguments: Sequence[str] = (), core: int | None = None
) -> Iterator[Triton]:
    """Run Triton on a model repository until the block ends.

    Args:
        repository: Folder of models, every one loaded.
        work: Folder for its log and its backends; made if absent.
        arguments: More of `tritonserver`'s.
        core: CPU core to pin it to; None leaves it free.

    Raises:
        Unavailable: If its environment cannot be made, or the server cannot run, on this machine.
        ProgramFailed: If it does not get so far as to serve.
    """
    packages = _packages(triton_python())
    work.mkdir(parents=True, exist_ok=True)
    backends = _backends(packages / "pytriton" / "tritonserver", work / "backends")
    for attempt in range(ATTEMPTS):
        with running(
            _command(packages, backends, repository, port := _free_port(), arguments),
            work / "triton.log",
            core,
        ) as program:
            try:
                program.wait_for(r"(Started GRPCInferenceService)", START_TIMEOUT_S)
            except ProgramFailed:
                if "failed to start GRPC service" in program.text and attempt + 1 < ATTEMPTS:
                    continue
                raise
            yield Triton(f"127.0.0.1:{port}", program)
            return


def _packages(python: Path) -> Path:
    (folder,) = python.parents[1].glob("lib/python*/site-packages")
    return folder


def _backends(server: Path, folder: Path) -> Path:
    """Make a folder of backends whose Python stub is for the Python of the environment."""
    stub = server / "python_backend_stubs" / sysconfig.get_python_version()
    if not stub.is_dir():
        raise Unavailable(f"this Triton has no stub for Python {sysconfig.get_python_version()}")
    if not folder.exists():
        shutil.copytree(server / "backends" / "python", folder / "python")
        shutil.copy(stub / "triton_python_backend_stub", folder / "python")
    return folder


def _command(
    packages: Path, backends: Path, repository: Path, port: int, arguments: Sequence[str]
) -> list[str | Path]:
    # The stub finds its packages by the first `python3` in PATH.
    libraries = f"{packages / 'nvidia_pytriton.libs'}:{sysconfig.get_config_var('LIBDIR')}"
    return [
        "/usr/bin/env",
        f"LD_LIBRARY_PATH={libraries}",
        f"PATH={packages.parents[2] / 'bin'}:/usr/bin:/bin",
        packages / "pytriton" / "tritonserver" / "bin" / "tritonserver",
        f"--model-repository={repository}",
        f"--backend-directory={backends}",
        f"--backend-config=python,stub-timeout-seconds={START_TIMEOUT_S:.0f}",
        "--grpc-address=127.0.0.1",
        f"--grpc-port={port}",
        "--allow-http=false",
        "--allow-metrics=false",
        *arguments,
    ]


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def main(repository: str) -> None:
    """Become a Triton that serves a repository."""
    packages = _packages(triton_python())
    backends = _backends(packages / "pytriton" / "tritonserver", packages.parent / "backends")
    command = _command(packages, backends, Path(repository).resolve(), 8001, ())
    os.execv(command[0], command)


if __name__ == "__main__":
    main(*sys.argv[1:])
