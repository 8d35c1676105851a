"""The webhook's configuration: which alert asks for which recipe, where, and how it is tried."""

import time
from pathlib import Path
from typing import Annotated

import msgspec

from fog_server.rollout.rules import Amount, Count, Positive, Ratio
from headtail import log as logs
from headtail.errors import ConfigError
from headtail.server.config import LogLevel
from headtail.tls import check_plaintext, choose_files
from optimizer.serve.job import Resources
from reoptimization.request import Ends, Request, read_recipe

CLOCKS_APART_S = 60.0
"""How far the fog's clock may be behind ours where a run goes on after a restart."""
Text = Annotated[str, msgspec.Meta(min_length=1)]


class ClientFiles(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Section `tls`: mutual TLS to fogs and job services; all three files or none."""

    ca: str = ""
    """PEM certificates of the authorities that they are trusted by."""
    cert: str = ""
    """PEM certificate of an operator."""
    key: str = ""
    """Its PEM private key."""


class Run(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Section `runs`: one recipe, and the alerts that ask for it."""

    name: Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9_-]{0,39}$")]
    """For log, metrics and state."""
    reasons: Annotated[tuple[Text, ...], msgspec.Meta(min_length=1)]
    """Values of an alert's label `reason`."""
    recipe: Text
    """File that is sent to the job service, read anew each time."""
    fog: str = "127.0.0.1:8500"
    """HOST:PORT."""
    optimizer: str = "127.0.0.1:8600"
    """HOST:PORT."""
    canary_ratio: Ratio = 0.1
    """Share of the agents that try the bundle."""
    bake_s: Amount = 300.0
    """How long they do before it may be promoted."""
    min_windows: Count = 100
    """Windows without which it is not judged."""
    promotes: bool = True
    """Whether the rule promotes what has passed; otherwise somebody has to."""
    retries: bool = False
    """Whether what was rolled back before is tried again."""
    timeout_s: Positive = 86400.0
    """For a whole run."""
    rest_s: Amount = 3600.0
    """How long after the end of a run alerts ask for no other."""
    cpus: Annotated[int, msgspec.Meta(ge=1)] = 1
    """Cores of the job."""
    gpus: Count = 0
    """GPUs of the job."""
    memory_bytes: Count = 0
    """Memory of the job; 0 is as much as the service gives."""

    def takes(self, labels: dict[str, str], model: str) -> bool:
        """Return whether an alert asks for it; one that names a model must name its `model`."""
        return labels.get("reason") in self.reasons and labels.get("model", model) == model


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything the webhook can be told."""

    listen: str = "127.0.0.1:9095"
    """HOST:PORT for Alertmanager, and of /metrics, /livez and /readyz."""
    insecure: bool = False
    """Whether it may listen beyond this machine, and call other machines, in plaintext."""
    secret: str = ""
    """File with what Alertmanager sends as its credentials; read again for each call."""
    state: str = ""
    """File in which it is kept what runs."""
    body_bytes: Annotated[int, msgspec.Meta(ge=1, le=16 << 20)] = 1 << 20
    """Largest body taken."""
    log_level: LogLevel = "info"
    """Least severity that is logged."""
    log_format: logs.Format = "text"
    """Log lines for people (text) or machines (json: an object a line)."""
    tls: ClientFiles = ClientFiles()
    runs: tuple[Run, ...] = ()

    def request(self, run: Run, reason: str, began_at_s: float | None) -> Request:
        """Return the request of a run; `began_at_s` (Unix time) is given where it goes on.

        Raises:
            ConfigError: If the recipe or a file of TLS cannot be used.
        """
        recipe, model = read_recipe(Path(run.recipe))
        tls = choose_files(self.tls.ca, self.tls.cert, self.tls.key)
        return Request(
            ends=Ends(run.fog, run.optimizer, tls, tls),
            recipe=recipe,
            model=model,
            reason=reason,
            resources=Resources(run.cpus, run.gpus, run.memory_bytes),
            rules={
                "share_ratio": run.canary_ratio,
                "bake_s": run.bake_s,
                "min_windows": run.min_windows,
                "promotes": run.promotes,
            },
            timeout_s=run.timeout_s,
            since_s=None if began_at_s is None else began_at_s - CLOCKS_APART_S,
            retries=run.retries,
        )


def check(config: Config) -> None:
    """Raise where a configuration cannot work.

    Raises:
        ConfigError: Naming the key.
    """
    for key, value in (("secret", config.secret), ("state", config.state)):
        if not value:
            raise ConfigError(key, "name a file")
    if not config.runs:
        raise ConfigError("runs", "expected at least one")
    names = [run.name for run in config.runs]
    if len(set(names)) < len(names):
        raise ConfigError("runs", "a name comes twice")
    check_plaintext(config.listen, is_allowed=config.insecure, where="listen")
    for run in config.runs:
        request = config.request(run, "", time.time())
        if request.ends.fog_tls is None:
            for key, address in (("fog", run.fog), ("optimizer", run.optimizer)):
                where = f"runs, {run.name}: {key}"
                check_plaintext(address, is_allowed=config.insecure, where=where)
