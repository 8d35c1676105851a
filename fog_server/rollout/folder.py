"""Bundles that an operator put into the folder by hand, taken up when the server starts."""

import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path

from fog_server.rollout import changes
from fog_server.rollout.database import Database
from fog_server.rollout.state import Change, Entry, Model, State
from headtail.bundle import Bundle, read_bundle
from headtail.bundle.keys import Trust
from headtail.bundle.manifest import version_key

log = logging.getLogger(__name__)

BY = "folder"


def adopt(folder: Path, database: Database, trust: Trust, clock: Callable[[], float]) -> None:
    """Take up every `*.bundle` of a folder that is not known.

    Of a name without an active bundle the newest becomes active, as in a folder without a rollout;
    otherwise a file is a candidate like one that was published. A retired or candidate bundle
    whose file is gone is forgotten.

    Raises:
        BundleError: If one is not fit to be read.
        WrongState: If two differ and have the same name and version.
    """
    found: dict[str, list[tuple[Path, Bundle]]] = {}
    for path in sorted(folder.glob("*.bundle")):
        bundle = read_bundle(path, trust)
        found.setdefault(bundle.manifest.name, []).append((path, bundle))
    for name, bundles in found.items():
        bundles.sort(key=lambda b: version_key(b[1].manifest.version))
        change = Change(clock(), BY, "found in the folder")
        entries = [_entry(path, bundle, change) for path, bundle in bundles]
        database.change(name, partial(_adopted, entries=entries, change=change))
    for name in database.models():
        change = Change(clock(), BY, "its file is gone")
        database.change(name, partial(_without_lost, folder=folder, change=change))


def _entry(path: Path, bundle: Bundle, change: Change) -> Entry:
    return Entry(
        version=bundle.manifest.version,
        digest=bundle.digest,
        size_bytes=bundle.size_bytes,
        path=path.name,
        state=State.CANDIDATE,
        attempt=0,
        changed_at_s=change.at_s,
        changed_by=change.by,
        reason=change.reason,
    )


def _adopted(model: Model, entries: list[Entry], change: Change) -> Model:
    is_first = model.active is None
    for entry in entries:
        if model.entry(entry.digest) is not None:
            continue  # known, or removed once: that it lies there still changes nothing
        model = changes.publish(model, entry, change)
        log.info("%s %s (%s): found in the folder", model.name, entry.version, entry.digest[:12])
        if is_first:
            model = changes.promote(model, entry.digest, change)
    return model


def _without_lost(model: Model, folder: Path, change: Change) -> Model:
    for entry in model.bundles:
        if not entry.is_stored or (folder / entry.path).exists():
            continue
        if entry.state is State.CANDIDATE:
            model = changes.retire(model, entry.digest, change)
        if entry.state in (State.CANDIDATE, State.RETIRED):
            log.warning("%s %s: its file '%s' is gone", model.name, entry.version, entry.path)
            model = changes.remove(model, entry.digest, change)
    return model
