"""The job service's configuration: one TOML, whose keys the flags mirror."""

from typing import Annotated

import msgspec

from headtail.server.config import Connections, NotNegative, Positive, Seconds, ServerConfig


class Capacity(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Section `capacity`: what all running jobs together may use of this machine."""

    cpus: NotNegative = 0
    """Cores; 0 means all that the service may use."""
    gpus: NotNegative = 0
    """GPUs, by CUDA's numbers from 0 on."""
    memory_bytes: NotNegative = 0
    """Memory; 0 means all that the machine, or the service's control group, has."""
    job_memory_bytes: Positive = 2 << 30
    """Memory of a job that does not say how much it needs."""


class Field(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Section `field`: what recipes may have asked of agents that are at work."""

    prometheus: tuple[str, ...] = ()
    """http://HOST:PORT of the Prometheus servers that recipes may name, as they name them."""


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Section `limits`: how much the service takes on and keeps."""

    recipe_bytes: Annotated[int, msgspec.Meta(ge=1, le=1 << 20)] = 256 << 10
    """Largest recipe."""
    queued: Positive = 64
    """Jobs that may wait; more are refused with RESOURCE_EXHAUSTED."""
    kept: Positive = 256
    """Jobs kept, those that wait or run among them; the oldest that are over are deleted with
    their files."""
    lines: Positive = 5000
    """Last lines of a job's log that are kept."""
    crashes: NotNegative = 3
    """How often the process of a job may end without a word before the job has failed."""
    free_bytes: NotNegative = 1 << 30
    """Free space of the disk below which no job is taken on."""
    watchers: Positive = 32
    """Calls that watch or read at once; each holds a thread."""


class Wire(Connections, frozen=True):
    """Section `wire`: the gRPC server."""

    stop_s: Seconds = 10.0
    """Longest time between SIGTERM and SIGKILL to a job, and from the service's own SIGTERM to its
    exit."""


class Config(ServerConfig, frozen=True):
    """Everything the job service can be told, with what every server can."""

    state: str = ""
    """Folder of the jobs: their database and a folder for each."""
    listen: str = "127.0.0.1:8600"
    """HOST:PORT of the gRPC server; port 0 takes a free one."""
    key: str = ""
    """Private key that signs the bundles; empty means this user's development key."""
    paths: tuple[str, ...] = ()
    """Folders below which files named in recipes may lie; none means that recipes name no files."""
    ray: tuple[str, ...] = ()
    """HOST:PORT of the Ray clusters that recipes may name; whoever runs one runs code here."""
    capacity: Capacity = Capacity()
    field: Field = Field()
    limits: Limits = Limits()
    wire: Wire = Wire()
