"""Which bundle an agent with updates begins with: the one that ran last, or the configured one."""

import functools
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edge_agent.config import Config
from edge_agent.loaded import Loaded, warm_up
from edge_agent.update.state import (
    MAX_STARTS,
    Failure,
    Kept,
    State,
    begun,
    confirmed,
    rolled_back,
    started,
)
from edge_agent.update.store import Store
from headtail.bundle import Bundle
from headtail.bundle.keys import Trust
from headtail.errors import HeadtailError
from headtail.fault import Fault

log = logging.getLogger(__name__)

Prepare = Callable[[Bundle], Loaded]


@dataclass(frozen=True, slots=True)
class Beginning:
    """What runs first."""

    loaded: Loaded
    before: Loaded | None = None
    """The bundle before, where the other is on trial."""
    before_s: float = 0.0
    """Least time of its head on a window, in seconds."""


@dataclass(frozen=True, slots=True)
class Configured:
    """The bundle that the configuration names."""

    read: Callable[[], tuple[Bundle, Path]]
    """Reads or fetches it; also says which file it is."""
    model: tuple[str, str] | None
    """Name and version where it is named by these, and need not be looked at to be known."""


def configured_as(config: Config, read: Callable[[], tuple[Bundle, Path]]) -> Configured:
    """Return what a configuration names; it is read once at most."""
    named = (config.model, config.model_version) if config.model else None
    return Configured(functools.cache(read), named)


def begin(store: Store, configured: Configured, trust: Trust, prepare: Prepare) -> Beginning:
    """Choose, read and load what runs first, and note in the state that it was started.

    A bundle that runs by an update runs again, unless the configuration names another one than
    before the update: then that one does. A bundle on trial that cannot be loaded, or that was
    started too often without a verdict, gives way to the one before it.

    Raises:
        HeadtailError: If the configured bundle is not fit to run, or the state cannot be written.
    """
    state = store.state
    if state is None or not _is_same(state, configured):
        bundle = _adopt(store, configured, trust)
        return Beginning(prepare(bundle))
    if state.is_trial:
        state = started(state)
        store.save(state)
    if state.is_worn:
        reason = f"no verdict after {MAX_STARTS} starts of the program"
        store.save(_failed(state, Fault.FIRST_WINDOWS, reason))
    return _load(store, configured, trust, prepare)


def _load(store: Store, configured: Configured, trust: Trust, prepare: Prepare) -> Beginning:
    state = store.known
    try:
        loaded = prepare(_read(store, configured, trust))
    except HeadtailError as error:
        if state.is_trial:
            store.save(_failed(state, Fault.SELF_TEST, str(error)))
            return _load(store, configured, trust, prepare)
        log.warning("%s; running the configured bundle", error)
        bundle = _adopt(store, configured, trust)
        return Beginning(prepare(bundle))
    if not state.is_trial:
        return Beginning(loaded)
    assert state.previous is not None, "a bundle on trial has one before it"
    try:
        bundle = store.read(state.previous.digest, trust)
        before = prepare(bundle)
        return Beginning(loaded, before, warm_up(before, bundle))
    except HeadtailError as error:
        log.warning("%s; there is nothing to go back to, the trial is over", error)
        store.save(confirmed(state))
        return Beginning(loaded)


def _read(store: Store, configured: Configured, trust: Trust) -> Bundle:
    """Return the current bundle; one that was read already is not read again."""
    digest = store.known.current.digest
    if configured.model is None and (bundle := configured.read()[0]).digest == digest:
        return bundle
    return store.read(digest, trust)


def _is_same(state: State, configured: Configured) -> bool:
    """Whether the configuration names what it named when the current bundle was chosen."""
    if configured.model is not None:
        name, version = configured.model
        return state.origin.name == name and version in ("", state.origin.version)
    bundle, _ = configured.read()
    return state.origin.digest == bundle.digest


def _adopt(store: Store, configured: Configured, trust: Trust) -> Bundle:
    """Begin anew with the configured bundle; the folder has a copy of it from now on."""
    bundle, path = configured.read()
    manifest = bundle.manifest
    if not store.has(bundle.digest):
        store.add(bundle.digest, lambda write: write(path.read_bytes()), trust)
    failed = store.state.failed if store.state else ()
    store.save(begun(Kept(bundle.digest, manifest.name, manifest.version), failed))
    return bundle


def _failed(state: State, fault: Fault, reason: str) -> State:
    bad = state.current
    log.warning("%s %s rolled back: %s", bad.name, bad.version, reason)
    failure = Failure(bad.digest, bad.name, bad.version, fault, reason, state.attempt)
    return rolled_back(state, failure)
