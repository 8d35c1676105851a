"""What is asked for: a recipe, for which fog, tried how."""

import hashlib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from headtail.bundle.manifest import is_name
from headtail.errors import ConfigError
from headtail.tls import ClientTls
from optimizer.serve.job import Resources


@dataclass(frozen=True, slots=True)
class Ends:
    """Where the two services are, and who calls them."""

    fog: str
    """HOST:PORT."""
    optimizer: str
    fog_tls: ClientTls | None = None
    """None: plaintext."""
    optimizer_tls: ClientTls | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """One request for a better model."""

    ends: Ends
    recipe: bytes
    model: str
    """Name of the model, as the recipe says it."""
    reason: str = ""
    seed: int | None = None
    job_name: str = ""
    """Beginning of the job's id; empty: the model's name."""
    resources: Resources = field(default_factory=Resources)
    rules: Mapping[str, float | int | bool] = field(default_factory=dict)
    """Fields of CanaryRules; what is not there is the fog's own."""
    timeout_s: float = 3600.0
    """For everything together."""
    since_s: float | None = None
    """Unix time; a trial of this recipe that began later is this request's."""
    is_dry: bool = False
    retries: bool = False
    """Whether what was rolled back before is tried again."""

    def tag(self, active: str) -> str:
        """Return what marks this request in the fog, made against an active bundle's digest."""
        return self._digest(active)[:12]

    def key(self, active: str, version: str, attempt: int) -> str:
        """Return the idempotency key of its job: the same wish is the same job."""
        again = (str(attempt),) if attempt else ()
        return self._digest(active, version, *again)

    def _digest(self, *words: str) -> str:
        seed = "" if self.seed is None else str(self.seed)
        parts = (self.recipe, *(word.encode() for word in (seed, *words)))
        return hashlib.sha256(b"\0".join(parts)).hexdigest()


def read_recipe(path: Path) -> tuple[bytes, str]:
    """Return a recipe's text and the name of its model; the job service checks the rest.

    Raises:
        ConfigError: If it cannot be read or names no model.
    """
    try:
        text = path.read_bytes()
        name = tomllib.loads(text.decode()).get("name")
    except OSError as error:
        raise ConfigError(str(path), f"cannot be read: {error.strerror or error}") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(str(path), f"is no recipe: {error}") from error
    if not isinstance(name, str) or not is_name(name):
        raise ConfigError(str(path), "is no recipe: it has no name of a model")
    return text, name
