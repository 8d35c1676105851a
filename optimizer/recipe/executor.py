"""Section [executor] of the recipe: where the networks of a search are trained."""

from typing import Annotated, Literal

import msgspec


class ExecutorConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Section [executor]: what runs the evaluations of a search."""

    kind: Literal["serial", "local", "ray"] = "serial"
    """One after another in the program itself, in processes on this machine, or on a Ray
    cluster."""
    workers: Annotated[int, msgspec.Meta(ge=0, le=10_000)] = 0
    """Evaluations at the same time; 0 is one per core of the machine or of the cluster."""
    address: str = ""
    """HOST:PORT of a Ray cluster that this machine is part of; empty starts one here."""
    recycle: Annotated[int, msgspec.Meta(ge=1)] = 200
    """Evaluations after which a worker is replaced by a fresh one, so that memory stays bounded."""

    def __post_init__(self) -> None:
        if self.address and self.kind != "ray":
            raise ValueError(f"address is for kind 'ray', received kind '{self.kind}'")
