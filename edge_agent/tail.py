"""What the agent wants of a fog: a tail, by name, version and tensors."""

from dataclasses import dataclass

from headtail.tensor import TensorSpec

SERVICE = "/inference.GRPCInferenceService/"


@dataclass(frozen=True, slots=True)
class Tail:
    """What the agent wants of the fog."""

    name: str
    """Under which the fog serves it."""
    version: str
    """The bundle's."""
    inputs: tuple[TensorSpec, ...]
    """As they travel."""
    bundle: str
    """The bundle's name."""
    digest: str
    """The bundle's."""

    @property
    def key(self) -> tuple[str, str]:
        """Name and version, as a request names them."""
        return self.name, self.version
