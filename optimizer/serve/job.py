"""A job: what was asked for, and how far it is."""

import re
from dataclasses import dataclass
from enum import StrEnum

from headtail.bundle.manifest import VERSION_PATTERN
from headtail.errors import RequestInvalid
from headtail.identity import NAME_PATTERN

MAX_CPUS, MAX_GPUS, MAX_MEMORY_BYTES = 4096, 256, 1 << 48
MAX_REASON, MAX_KEY = 1000, 128
_VERSION = re.compile(VERSION_PATTERN)


class State(StrEnum):
    """How a job stands."""

    QUEUED = "queued"
    """It waits for its turn, or for its process to be started again."""
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        """Whether it stays so."""
        return self not in (State.QUEUED, State.RUNNING)


@dataclass(frozen=True, slots=True)
class Resources:
    """What a job may use of this machine."""

    cpus: int = 1
    """Cores; it runs on so many and no others."""
    gpus: int = 0
    """GPUs; it sees no others."""
    memory_bytes: int = 0
    """Memory of all its processes together; 0: as the service is configured."""

    def __post_init__(self) -> None:
        for name, value, least, most in (
            ("cpus", self.cpus, 1, MAX_CPUS),
            ("gpus", self.gpus, 0, MAX_GPUS),
            ("memory_bytes", self.memory_bytes, 0, MAX_MEMORY_BYTES),
        ):
            if not least <= value <= most:
                raise RequestInvalid(
                    f"resources, {name}", f"expected {least} to {most}, received {value}"
                )


@dataclass(frozen=True, slots=True)
class Request:
    """What somebody asks the service to run."""

    name: str
    recipe: bytes
    seed: int | None = None
    resources: Resources = Resources()
    reason: str = ""
    key: str = ""
    """Idempotency key; empty: none."""
    submitter: str = ""
    version: str = ""
    """Of the bundle; empty: the recipe's."""

    def __post_init__(self) -> None:
        if not NAME_PATTERN.fullmatch(self.name):
            raise RequestInvalid(
                "name",
                f"expected 1 to 64 letters, digits, '.', '_' or '-', received {self.name[:80]!r}",
            )
        if self.version and not _VERSION.fullmatch(self.version):
            raise RequestInvalid(
                "version", f"expected numbers with dots, received {self.version[:40]!r}"
            )
        if self.seed is not None and not 0 <= self.seed < 2**32:
            raise RequestInvalid("seed", f"expected 0 to {2**32 - 1}, received {self.seed}")
        for what, text, most in (
            ("reason", self.reason, MAX_REASON),
            ("idempotency key", self.key, MAX_KEY),
        ):
            if len(text) > most or not text.isprintable():
                raise RequestInvalid(what, f"expected up to {most} printable characters")


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a running job is."""

    stage: str = ""
    done: int = 0
    total: int = 0
    """0 where the stage does not count."""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Result:
    """What a job that succeeded made."""

    bundle: str
    """File name, in the job's run folder."""
    digest: str


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a job's log."""

    number: int
    """From 1 on."""
    time_s: float
    """Unix time at which the service read it."""
    text: str


@dataclass(frozen=True, slots=True)
class Job:
    """A job as the service keeps it."""

    id: str
    name: str
    reason: str
    submitter: str
    state: State
    seed: int | None
    resources: Resources
    recipe_sha256: str
    created_s: float
    started_s: float | None
    finished_s: float | None
    attempts: int
    """How often its process was started."""
    is_cancel_requested: bool
    progress: Progress
    result: Result | None
    error: str
    lines: int
    """Lines that its log has had so far."""
    version: str = ""
    """Of its bundle; empty: the recipe's."""
