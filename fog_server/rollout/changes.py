"""Every change that may be made to the bundles of one name.

Nothing here reads a clock, a disk or the network: a change takes a state and returns the next.
What always holds: at most one bundle is active and at most one is the canary; there is no canary
without an active one; both have their files; and every change makes the generation one larger.
"""

from typing import NoReturn

import msgspec

from fog_server.rollout.rules import Rules
from fog_server.rollout.state import (
    MAX_EVENTS,
    Action,
    Canary,
    Change,
    Entry,
    Event,
    Model,
    State,
)
from headtail.bundle.manifest import version_key
from headtail.errors import ModelNotFound, WrongState

MAX_REMOVED = 100
"""Bundles remembered whose files are gone."""


def publish(model: Model, entry: Entry, change: Change) -> Model:
    """Add a candidate; one that is here with its file stays what it is.

    Raises:
        WrongState: If another bundle of that version is here.
    """
    known = model.entry(entry.digest)
    if known is not None and known.is_stored:
        return model
    for other in model.bundles:
        if other.version == entry.version and other.digest != entry.digest and other.is_stored:
            raise WrongState(
                f"bundle {model.name} {entry.version}",
                f"is here with digest {other.digest[:12]}, {other.state}, and"
                f" {entry.digest[:12]} came; give it a version of its own",
            )
    others = tuple(e for e in model.bundles if e.digest != entry.digest)
    model = msgspec.structs.replace(model, bundles=_sorted((*others, entry)))
    before = None if known is None else known.state
    return _changed(model, change, Action.PUBLISH, {}, entry.digest, before)


def start_canary(model: Model, digest: str, rules: Rules, change: Change) -> Model:
    """Put a candidate or a retired bundle on trial.

    Raises:
        WrongState: If it is neither, its file is gone, or there is nothing to compare it with.
    """
    entry = _stored(model, digest)
    if model.canary is not None:
        _refuse(model, entry, f"{_running(model)} is the canary; promote it or roll it back first")
    if model.active is None:
        _refuse(model, entry, "no bundle is active to compare it with; promote it instead")
    if entry.state not in (State.CANDIDATE, State.RETIRED):
        _refuse(model, entry, f"expected a candidate or retired bundle, it is {entry.state}")
    model = msgspec.structs.replace(
        model,
        canary=Canary(digest, model.generation + 1, change.at_s, rules),
        previous=None if model.previous == digest else model.previous,
    )
    return _changed(model, change, Action.CANARY, {digest: State.CANARY}, digest, entry.state)


def set_share(model: Model, share_ratio: float, change: Change) -> Model:
    """Give the canary another share of the agents.

    Raises:
        WrongState: If there is no canary.
    """
    canary = model.canary
    if canary is None:
        raise WrongState(f"model '{model.name}'", "there is no canary")
    rules = msgspec.structs.replace(canary.rules, share_ratio=share_ratio)
    # Who was asked in since nobody else was there leaves where nobody is wanted.
    volunteers = canary.volunteers if share_ratio else ()
    canary = msgspec.structs.replace(canary, rules=rules, volunteers=volunteers)
    model = msgspec.structs.replace(model, canary=canary)
    return _changed(model, change, Action.SHARE, {}, canary.digest, State.CANARY)


def promote(model: Model, digest: str, change: Change) -> Model:
    """Make the canary active, or a candidate where there is no canary.

    Raises:
        WrongState: If it is neither, or its file is gone.
    """
    entry = _stored(model, digest)
    if entry.state not in (State.CANARY, State.CANDIDATE):
        _refuse(model, entry, f"expected the canary or a candidate, it is {entry.state}")
    if model.canary is not None and entry.state is State.CANDIDATE:
        _refuse(model, entry, f"{_running(model)} is the canary; promote it or roll it back first")
    states = {digest: State.ACTIVE}
    active = model.active
    if active is not None:
        states[active.digest] = State.RETIRED
        model = msgspec.structs.replace(model, previous=active.digest)
    model = msgspec.structs.replace(model, canary=None)
    return _changed(model, change, Action.PROMOTE, states, digest, entry.state)


def roll_back(model: Model, change: Change) -> Model:
    """Retire the canary; without one, make the bundle active again that was so before.

    Raises:
        WrongState: If there is neither.
    """
    if model.canary is not None:
        digest = model.canary.digest
        model = msgspec.structs.replace(model, canary=None)
        states = {digest: State.RETIRED}
        return _changed(model, change, Action.ROLL_BACK, states, digest, State.CANARY)
    active = model.active
    before = model.entry(model.previous) if model.previous else None
    if active is None or before is None or not before.is_stored:
        raise WrongState(
            f"model '{model.name}'", "there is no canary, and no bundle that was active before"
        )
    states = {active.digest: State.RETIRED, before.digest: State.ACTIVE}
    model = msgspec.structs.replace(model, previous=None)
    return _changed(model, change, Action.ROLL_BACK, states, active.digest, State.ACTIVE)


def retire(model: Model, digest: str, change: Change) -> Model:
    """Retire a candidate, or remove the file of a bundle that is retired.

    Raises:
        WrongState: If it is active, the canary, or gone.
    """
    entry = _stored(model, digest)
    if entry.state is State.CANDIDATE:
        states = {digest: State.RETIRED}
        return _changed(model, change, Action.RETIRE, states, digest, State.CANDIDATE)
    if entry.state is not State.RETIRED:
        _refuse(model, entry, f"expected a candidate or retired bundle, it is {entry.state}")
    return remove(model, digest, change)


def remove(model: Model, digest: str, change: Change) -> Model:
    """Forget the file of a retired bundle.

    Raises:
        WrongState: If it is not retired.
    """
    entry = _stored(model, digest)
    if entry.state is not State.RETIRED:
        _refuse(model, entry, f"expected a retired bundle, it is {entry.state}")
    bundles = tuple(
        msgspec.structs.replace(e, is_stored=False) if e.digest == digest else e
        for e in model.bundles
    )
    gone = sorted((e for e in bundles if not e.is_stored), key=lambda e: e.changed_at_s)
    forgotten = {e.digest for e in gone[: max(0, len(gone) - MAX_REMOVED)]}
    model = msgspec.structs.replace(
        model,
        bundles=tuple(e for e in bundles if e.digest not in forgotten),
        previous=None if model.previous == digest else model.previous,
    )
    return _changed(model, change, Action.REMOVE, {}, digest, State.RETIRED)


def with_volunteer(model: Model, agent: str) -> Model:
    """Ask an agent in; it is no change that anybody has to know of."""
    assert model.canary is not None
    volunteers = (*model.canary.volunteers, agent)
    return msgspec.structs.replace(
        model, canary=msgspec.structs.replace(model.canary, volunteers=volunteers)
    )


def with_samples(model: Model, windows: int, agreed: int, *, is_priced_alike: bool) -> Model:
    """Note on the canary how its samples and the active bundle's compared."""
    assert model.canary is not None
    canary = msgspec.structs.replace(
        model.canary,
        sample_windows=windows,
        sample_agreed=agreed,
        is_priced_alike=is_priced_alike,
    )
    return msgspec.structs.replace(model, canary=canary)


def _changed(
    model: Model,
    change: Change,
    action: Action,
    states: dict[str, State],
    digest: str,
    before: State | None,
) -> Model:
    """Return the next generation, in which the bundles of `states` have changed."""
    generation = model.generation + 1

    def moved(entry: Entry) -> Entry:
        state = states.get(entry.digest)
        if state is None:
            return entry
        is_run = state in (State.CANARY, State.ACTIVE)
        return msgspec.structs.replace(
            entry,
            state=state,
            attempt=generation if is_run else entry.attempt,
            changed_at_s=change.at_s,
            changed_by=change.by,
            reason=change.reason,
        )

    bundles = tuple(map(moved, model.bundles))
    subject = next((e for e in bundles if e.digest == digest), None)
    event = Event(
        generation,
        change.at_s,
        action,
        subject.version if subject else "",
        digest,
        before,
        subject.state if subject else None,
        change.by,
        change.reason,
    )
    return msgspec.structs.replace(
        model,
        generation=generation,
        bundles=bundles,
        events=(event, *model.events)[:MAX_EVENTS],
    )


def _stored(model: Model, digest: str) -> Entry:
    entry = model.entry(digest)
    if entry is None:
        raise ModelNotFound(model.name, digest[:12], [e.digest[:12] for e in model.bundles])
    if not entry.is_stored:
        _refuse(model, entry, "its file is gone; publish it again")
    return entry


def _running(model: Model) -> str:
    entry = model.on_trial
    return entry.version if entry else "none"


def _refuse(model: Model, entry: Entry, reason: str) -> NoReturn:
    raise WrongState(f"bundle {model.name} {entry.version}", reason)


def _sorted(entries: tuple[Entry, ...]) -> tuple[Entry, ...]:
    return tuple(sorted(entries, key=lambda e: (version_key(e.version), e.is_stored)))
