"""Servers with one task's tail, and the lanes that clients take to them."""

import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import tasks  # noqa: F401 - sets the path for what follows
from connections import Kind, Target
from environments import Unavailable
from programs import Program, ProgramFailed, running
from tail_servers import PEERS, Running
from tasks import Task

HERE = Path(__file__).parent
OURS, TRITON, BATCHING = "headtail stream", "Triton stream", "Triton batching stream"
TCP, BARE = "raw TCP + ORT", "bare gRPC stream + ORT"
AGENTS = "256"  # streams that our fog admits: those of the many, and one for each other lane
CALLS = {"stream": "stream", "unary": "unary"}
TITLES = {
    "triton": "Triton",
    "triton-batching": "Triton batching",
    "mlserver": "MLServer",
    "kserve": "KServe",
}
KINDS: dict[str, tuple[Kind, ...]] = {
    "triton": ("stream", "unary"),
    "triton-batching": ("stream",),
    "mlserver": ("unary",),
    "kserve": ("unary",),
}
Start = Callable[[Task, Path, int], AbstractContextManager[list["Lane"]]]


@dataclass(frozen=True, slots=True)
class Lane:
    """One way to one server."""

    name: str
    program: Program
    target: Callable[[int], Target]
    """What is sent, by windows in a message."""

    @property
    def is_stream(self) -> bool:
        """Whether requests travel on one long call."""
        return self.target(1).kind == "stream"


@dataclass(slots=True)
class Started:
    """The lanes of the servers that run, and why others do not."""

    lanes: list[Lane] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)


def wait_long(program: Program, pattern: str) -> str:
    """Return what `wait_for` finds, with four times its patience: large tails warm up for long.

    Raises:
        ProgramFailed: If the program ends, or stays silent.
    """
    for _ in range(3):
        try:
            return program.wait_for(pattern)
        except ProgramFailed:
            if program.process.poll() is not None:
                raise
    return program.wait_for(pattern)


@contextmanager
def own_fog(task: Task, work: Path, core: int) -> Iterator[list[Lane]]:
    """Run our fog server with the task's bundle."""
    bundles = work / "bundles"
    bundles.mkdir(parents=True)
    shutil.copy(task.bundle_path, bundles)
    command = ["fog-server", "--bundles", bundles, "--listen", "127.0.0.1:0"]
    with running([*command, "--max-agents", AGENTS], work / "fog.log", core) as program:
        address = wait_long(program, r"serving on (\S+)")

        def lane(kind: Kind) -> Lane:
            version = task.bundle.manifest.version
            return Lane(
                f"headtail {kind}",
                program,
                lambda windows: Target(
                    kind, address, task.tail_name, version, task.activation, task.arrays(windows)
                ),
            )

        yield [lane("stream"), lane("unary")]


@contextmanager
def floors(task: Task, work: Path, core: int) -> Iterator[list[Lane]]:
    """Run the two floors; one input crosses their wires."""
    (spec,) = task.activation
    tail = task.peer_tail()
    shape = ",".join(str(size) for size in spec.shape[1:])
    work.mkdir(parents=True)
    command = [sys.executable, HERE / "floor_server.py", tail.graph, spec.name, spec.dtype, shape]
    with running(command, work / "floor.log", core) as program:
        ports = {
            "tcp": program.wait_for(r"^tcp (\d+)"),
            "bare": program.wait_for(r"grpc (\d+)$"),
        }

        def lane(name: str, kind: Kind) -> Lane:
            address = f"127.0.0.1:{ports[kind]}"
            return Lane(
                name,
                program,
                lambda windows: Target(
                    kind, address, "", "", task.activation, task.arrays(windows)
                ),
            )

        yield [lane(TCP, "tcp"), lane(BARE, "bare")]


def peer(name: str) -> Start:
    """Return what starts a peer."""
    run: Running = PEERS[name]

    @contextmanager
    def start(task: Task, work: Path, core: int) -> Iterator[list[Lane]]:
        tail = task.peer_tail()
        with run(tail, work, core) as server:

            def lane(kind: Kind) -> Lane:
                return Lane(
                    f"{TITLES[name]} {kind}",
                    server.program,
                    lambda windows: Target(
                        kind, server.address, tail.name, "", tail.inputs, task.arrays(windows),
                        is_lenient=name == "mlserver",
                    ),
                )  # fmt: skip

            yield [lane(kind) for kind in KINDS[name]]

    return start


@contextmanager
def all_started(
    task: Task, servers: Sequence[tuple[str, Start]], work: Path, core: int
) -> Iterator[Started]:
    """Run every server that can be run, and say why for those that cannot.

    Args:
        task: Whose tail they serve.
        servers: Names and what starts them.
        work: Folder for their logs and files.
        core: Core that all of them share; one works at a time.
    """
    started = Started()
    with ExitStack() as stack:
        for name, start in servers:
            try:
                started.lanes += stack.enter_context(start(task, work / name, core))
            except (Unavailable, ProgramFailed, OSError) as error:
                lines = str(error).strip().splitlines() or [type(error).__name__]
                started.skipped[name] = lines[-1][:200]
        yield started
