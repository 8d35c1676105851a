"""What is known of the bundles of one name: their states, the canary, and what was done."""

from enum import StrEnum
from typing import NamedTuple

import msgspec

from fog_server.rollout.rules import Rules
from headtail.bundle.manifest import version_key
from headtail.errors import ModelNotFound

MAX_EVENTS = 50


class State(StrEnum):
    """Where a bundle stands."""

    CANDIDATE = "candidate"
    CANARY = "canary"
    ACTIVE = "active"
    RETIRED = "retired"


class Action(StrEnum):
    """What was done."""

    PUBLISH = "publish"
    CANARY = "canary"
    SHARE = "share"
    PROMOTE = "promote"
    ROLL_BACK = "roll_back"
    RETIRE = "retire"
    REMOVE = "remove"


class Entry(msgspec.Struct, frozen=True):
    """One bundle."""

    version: str
    digest: str
    size_bytes: int
    path: str
    """Of its file, relative to the folder of bundles."""
    state: State
    attempt: int
    """Generation in which agents were last told to run it; 0 where they never were."""
    changed_at_s: float
    """Unix time of the last change of state."""
    changed_by: str
    reason: str
    is_stored: bool = True


class Canary(msgspec.Struct, frozen=True):
    """What is known of the bundle on trial."""

    digest: str
    attempt: int
    started_at_s: float
    """Unix time: a restart does not begin anew."""
    rules: Rules
    volunteers: tuple[str, ...] = ()
    """Agents that run it though their hash is not in its share, since nobody's was."""
    sample_windows: int = 0
    """Windows of both bundles' samples that could be run through both."""
    sample_agreed: int = 0
    is_priced_alike: bool = True
    """Whether both bundles' energies come of the same device and link profiles."""


class Event(msgspec.Struct, frozen=True):
    """One change."""

    generation: int
    at_s: float
    action: Action
    version: str
    digest: str
    before: State | None
    after: State | None
    by: str
    reason: str


class Change(NamedTuple):
    """Who changes something, when and why."""

    at_s: float
    by: str
    reason: str


class Model(msgspec.Struct, frozen=True):
    """Every bundle of one name."""

    name: str
    generation: int = 0
    bundles: tuple[Entry, ...] = ()
    previous: str | None = None
    """Digest of what was active before; it is kept to go back to."""
    canary: Canary | None = None
    events: tuple[Event, ...] = ()
    """The newest first, MAX_EVENTS at most."""

    @property
    def active(self) -> Entry | None:
        """The bundle that agents run."""
        return next((e for e in self.bundles if e.state is State.ACTIVE), None)

    @property
    def on_trial(self) -> Entry | None:
        """The canary's bundle."""
        return next((e for e in self.bundles if e.state is State.CANARY), None)

    def is_rollback(self, entry: Entry) -> bool:
        """Whether a newer bundle was run before: somebody went back on purpose."""
        version = version_key(entry.version)
        return any(
            version_key(other.version) > version
            for other in self.bundles
            if other.attempt and other.state is not State.CANDIDATE
        )

    def entry(self, digest: str) -> Entry | None:
        """Return a bundle by digest."""
        return next((e for e in self.bundles if e.digest == digest), None)

    def find(self, version: str, digest: str) -> Entry:
        """Return a bundle by version, by digest, or by both.

        Raises:
            ModelNotFound: If there is none.
        """
        found = [
            e
            for e in self.bundles
            if version in ("", e.version) and digest in ("", e.digest[: len(digest)])
        ]
        # Of several with one version only the last can have its file.
        found = [e for e in found if e.is_stored] or found
        if not found or (len(found) > 1 and digest):
            raise ModelNotFound(
                self.name,
                version or digest[:12],
                [f"{e.version} ({e.state})" for e in self.bundles],
            )
        return found[-1]
