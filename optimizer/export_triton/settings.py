"""What the exporter can be told about the server that is to run the models."""

from dataclasses import dataclass
from enum import StrEnum

from headtail.errors import ConfigError


class Backend(StrEnum):
    """What runs the graph inside Triton."""

    ONNXRUNTIME = "onnxruntime"
    """The C++ backend of the full images."""
    PYTHON = "python"
    """The Python backend, running onnxruntime from its environment."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How Triton is to run the models."""

    backend: Backend = Backend.ONNXRUNTIME
    max_batch: int = 256
    """Windows of a request or batch at most."""
    preferred: tuple[int, ...] = ()
    """Batch sizes that run as soon as they are reached; none: batches form while busy."""
    max_queue_delay_s: float = 0.0
    """How long a smaller batch is waited with, in seconds."""
    instances: int = 1
    """Requests or batches of one model that run at once."""
    threads: int = 1
    """Threads of one onnxruntime operator."""

    def __post_init__(self) -> None:
        for flag, value, least in (
            ("--max-batch", self.max_batch, 1),
            ("--instances", self.instances, 1),
            ("--threads", self.threads, 1),
            ("--queue-delay-s", self.max_queue_delay_s, 0),
        ):
            if not value >= least:
                raise ConfigError(flag, f"expected at least {least}, received {value}")
        for size in self.preferred:
            if not 1 <= size <= self.max_batch:
                reason = f"expected 1 to --max-batch {self.max_batch}, received {size}"
                raise ConfigError("--preferred", reason)

    @property
    def warm_up_sizes(self) -> tuple[int, ...]:
        """Batch sizes that are run before a model is called ready."""
        return tuple(sorted({1, *self.preferred}))
