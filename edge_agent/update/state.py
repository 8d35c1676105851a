"""Which bundle runs, which ran before, which failed: one small file, replaced as a whole.

The rules are pure functions; each returns the state after a step. `previous` is always a bundle
that has passed its trial, and while `starts` is not None the current one has not.
"""

import math
from pathlib import Path

import msgspec

from headtail.errors import ConfigError
from headtail.fault import Fault
from headtail.files import sync_folder, write_file

STATE = "state.json"
FORMAT_VERSION = 1
MAX_STATE_BYTES = 1 << 20
MAX_FAILED = 32
"""Failures remembered; the oldest is forgotten first."""
MAX_STARTS = 3
"""Starts of the program that a bundle on trial may take without a verdict, and attempts to load it
that may end with the program: then it counts as failed."""


class Kept(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A bundle of the folder."""

    digest: str
    name: str
    version: str


class Failure(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A bundle that is not tried again before it is told at a larger `attempt`."""

    digest: str
    name: str
    version: str
    fault: Fault
    reason: str
    attempt: int = 0
    """Of the directive that it was tried for."""


class Loading(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A bundle that is being loaded: should the program die of it, the next one knows."""

    digest: str
    count: int


class State(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All that a restart must know."""

    format_version: int
    origin: Kept
    """The bundle that the configuration named; another one there wins over `current`."""
    current: Kept
    previous: Kept | None = None
    starts: int | None = None
    """Of the program with `current` on trial; None: it has passed."""
    attempt: int = 0
    """Of the directive for `current`."""
    loading: Loading | None = None
    failed: tuple[Failure, ...] = ()

    @property
    def is_trial(self) -> bool:
        """Whether the current bundle has yet to prove itself."""
        return self.starts is not None

    @property
    def is_worn(self) -> bool:
        """Whether the bundle on trial was started too often without a verdict."""
        return self.starts is not None and self.starts > MAX_STARTS

    @property
    def files(self) -> frozenset[str]:
        """Digests of the bundles that are needed."""
        kept = [self.current, *([self.previous] if self.previous else [])]
        return frozenset(bundle.digest for bundle in kept)

    def failure(self, digest: str) -> Failure | None:
        """Return how a bundle failed, if it did."""
        return next((f for f in self.failed if f.digest == digest), None)


def begun(origin: Kept, failed: tuple[Failure, ...] = ()) -> State:
    """Return the state in which the configured bundle runs; failures outlive what is configured."""
    return State(FORMAT_VERSION, origin, origin, failed=failed)


def loading(state: State, digest: str) -> State:
    """Count an attempt to load a bundle."""
    before = state.loading
    count = before.count if before is not None and before.digest == digest else 0
    return msgspec.structs.replace(state, loading=Loading(digest, count + 1))


def loaded(state: State) -> State:
    """Forget that a bundle is being loaded: that came to an end without the program's."""
    return msgspec.structs.replace(state, loading=None)


def switched(state: State, new: Kept, attempt: int) -> State:
    """Put a bundle on trial in the place of the current one."""
    previous = state.previous if state.is_trial else state.current
    return msgspec.structs.replace(
        state, current=new, previous=previous, starts=1, attempt=attempt, loading=None,
        failed=_without(state.failed, new.digest),
    )  # fmt: skip


def started(state: State) -> State:
    """Count a start of the program with a bundle on trial."""
    return msgspec.structs.replace(state, starts=(state.starts or 0) + 1)


def stopped(state: State) -> State:
    """Note an orderly end during a trial: it says nothing against the bundle."""
    return msgspec.structs.replace(state, starts=0)


def confirmed(state: State) -> State:
    """Note that the current bundle has passed."""
    return msgspec.structs.replace(state, starts=None)


def rolled_back(state: State, failure: Failure | None) -> State:
    """Return to the bundle before; with a failure the current one is not tried again."""
    assert state.previous is not None, "a bundle on trial has one before it"
    back = msgspec.structs.replace(state, current=state.previous, previous=None, starts=None)
    return back if failure is None else failed(back, failure)


def failed(state: State, failure: Failure) -> State:
    """Remember that a bundle failed."""
    failures = (*_without(state.failed, failure.digest), failure)[-MAX_FAILED:]
    return msgspec.structs.replace(state, loading=None, failed=failures)


def forgiven(state: State, digest: str) -> State:
    """Forget that a bundle failed."""
    return msgspec.structs.replace(state, failed=_without(state.failed, digest))


def read_state(folder: Path) -> State | None:
    """Return the folder's state; None where there is none.

    Raises:
        ConfigError: If it cannot be read: it is not taken for none.
    """
    path = folder / STATE
    try:
        with path.open("rb") as file:
            data = file.read(MAX_STATE_BYTES)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise ConfigError(str(path), f"cannot be read: {error.strerror}") from error
    try:
        version = msgspec.json.decode(data, type=_Format).format_version
        if version > FORMAT_VERSION:
            reason = f"expected format version 1 to {FORMAT_VERSION}, received {version:g}"
            raise ConfigError(str(path), f"{reason}; upgrade headtail")
        return msgspec.json.decode(data, type=State)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        text = f"cannot be read: {error}; remove it to run the configured bundle"
        raise ConfigError(str(path), text) from error


def write_state(folder: Path, state: State) -> None:
    """Replace the folder's state; it is on the disk when this returns.

    Raises:
        ConfigError: If it cannot be written; then it is as it was.
    """
    path = folder / STATE
    data = msgspec.json.format(msgspec.json.encode(state), indent=1) + b"\n"
    write_file(path, data, 0o644)
    try:
        sync_folder(folder)
    except OSError as error:
        raise ConfigError(str(path), f"cannot be written: {error.strerror}") from error


class _Format(msgspec.Struct):
    """Only what decides which reader may go on."""

    format_version: float = math.inf


def _without(failures: tuple[Failure, ...], digest: str) -> tuple[Failure, ...]:
    return tuple(f for f in failures if f.digest != digest)
