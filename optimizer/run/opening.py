"""How every run begins: what was asked for, what it is priced with, and its folder."""

from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from headtail.bundle.keys import Signer, read_signer
from headtail.profile import read_device_profile, read_link_profile
from optimizer.package.points import Profiles
from optimizer.progress import Reporter
from optimizer.recipe.image import ImageRecipe
from optimizer.recipe.recipe import Recipe
from optimizer.run_folder import RunFolder, open_run

Summary = TypeVar("Summary")


@dataclass(frozen=True, slots=True)
class RunRequest:
    """What `optimizer run` was asked for."""

    recipe: Path
    out: Path
    key: Path | None = None
    seed: int | None = None
    """Replaces the recipe's seed; None keeps it."""
    version: str = ""
    """Replaces the recipe's version; empty keeps it."""


@dataclass(frozen=True, slots=True)
class RunResult(Generic[Summary]):
    """Where the bundle of a run is."""

    bundle: Path
    digest: str
    summary: Summary | None
    """None where the run was finished before and nothing was done."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A run that is about to begin, or to go on."""

    signer: Signer
    profiles: Profiles
    folder: RunFolder

    def finished(self, reporter: Reporter) -> tuple[Path, str] | None:
        """Return the bundle and its digest where the run was finished before, and say so."""
        record = self.folder.record
        if not record.bundle or not record.digest:
            return None
        bundle = self.folder.path / record.bundle
        if not bundle.exists():
            return None
        reporter.say(f"finished earlier, nothing to do: {bundle}")
        return bundle, record.digest


def open_request(request: RunRequest, recipe: Recipe | ImageRecipe) -> Opened:
    """Read the profiles and the key, and open the folder.

    Raises:
        HeadtailError: One line on what is wrong.
    """
    partition = recipe.partition
    profiles = Profiles(
        (read_device_profile(partition.device_profile),),
        (read_link_profile(partition.link_profile),),
    )
    signer = read_signer(request.key)
    return Opened(signer, profiles, open_run(request.out, recipe, request.recipe.read_bytes()))
