"""What this server serves follows what the database says, whoever changed it."""

import logging
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from fog_server.rollout.database import Database, TailCounts
from fog_server.rollout.shadow import Job, Watch, shared_points, watched
from fog_server.rollout.state import Entry, Model, State
from fog_server.store import BundleStore, Loaded, check_owners
from headtail.errors import ConfigError, HeadtailError, WrongState

log = logging.getLogger(__name__)

Load = Callable[[Path], Loaded]
Key = tuple[str, int, str]
"""Model, trial and digest."""


class Follower:
    """Loads what is to be served, and lets go of what is not; several threads may use it."""

    def __init__(
        self,
        store: BundleStore,
        database: Database,
        folder: Path,
        load: Load,
        offer: Callable[[Job], None],
    ) -> None:
        """Load what the database says now.

        Args:
            store: Kept up to date.
            database: Followed.
            folder: Of bundles; paths begin there.
            load: Loads a file.
            offer: Takes requests that are to be run through a canary too.

        Raises:
            HeadtailError: If a bundle that agents run cannot be served.
        """
        self._store = store
        self._database = database
        self._folder = folder
        self._load = load
        self._offer = offer
        self._lock = threading.Lock()
        self._loaded: dict[str, Loaded] = {}
        self._generations: Mapping[str, int] | None = None
        self._watches: dict[Key, Watch] = {}
        self.broken: dict[str, str] = {}
        """Why a bundle that should be served is not, by digest."""
        self.refresh()
        for model in database.models().values():
            for entry in model.bundles:
                if entry.state is State.ACTIVE and entry.digest in self.broken:
                    raise ConfigError(
                        f"active bundle {model.name} {entry.version}", self.broken[entry.digest]
                    )
        store.refresh = self.refresh

    def refresh(self) -> None:
        """Serve what the database says."""
        with self._lock:
            models = self._database.models()
            generations = {name: model.generation for name, model in models.items()}
            if generations == self._generations:
                return
            wanted = _wanted(models)
            for digest, entry in wanted.items():
                if digest not in self._loaded:
                    self._try(digest, entry)
            self._loaded = {d: v for d, v in self._loaded.items() if d in wanted}
            self.broken = {d: why for d, why in self.broken.items() if d in wanted}
            self._serve(models)
            self._generations = generations

    def prepare(self, model: Model, entry: Entry) -> Loaded:
        """Load a bundle that is to be served soon.

        Raises:
            WrongState: If another serves its models.
            BundleError: If it cannot be loaded.
        """
        with self._lock:
            loaded = self._loaded.get(entry.digest) or self._load(self._folder / entry.path)
            try:
                check_owners([v for d, v in self._loaded.items() if d != entry.digest] + [loaded])
            except ConfigError as error:
                where = f"bundle {model.name} {entry.version}"
                raise WrongState(where, str(error)) from error
            self._loaded[entry.digest] = loaded
            return loaded

    def loaded(self, digest: str) -> Loaded | None:
        """Return a bundle that is served."""
        return self._loaded.get(digest)

    def take_counts(self) -> dict[Key, TailCounts]:
        """Return what was counted of trials since the last time."""
        with self._lock:
            taken = {key: watch.take() for key, watch in self._watches.items()}
        return {key: counts for key, counts in taken.items() if any(counts)}

    def _try(self, digest: str, entry: Entry) -> None:
        try:
            self._loaded[digest] = self._load(self._folder / entry.path)
        except HeadtailError as error:
            if digest not in self.broken:
                log.error("%s bundle cannot be served: %s", entry.state, error)
            self.broken[digest] = str(error)

    def _serve(self, models: Mapping[str, Model]) -> None:
        served = dict(self._loaded)
        watches: dict[Key, Watch] = {}
        for model in models.values():
            if model.canary is not None and model.active is not None:
                self._watch(model, served, watches)
        # A trial that is over may have counted something still; nobody asks for it.
        self._watches = watches
        preferred = {m.name: m.active.version for m in models.values() if m.active is not None}
        try:
            self._store.serve(served.values(), preferred)
        except ConfigError as error:
            log.error("%s; going on with what was served before", error)

    def _watch(self, model: Model, served: dict[str, Loaded], watches: dict[Key, Watch]) -> None:
        """Put watched tails of the active bundle and the canary in place."""
        assert model.canary is not None
        assert model.active is not None
        active = self._loaded.get(model.active.digest)
        canary = self._loaded.get(model.canary.digest)
        if active is None or canary is None:
            return
        keys = [
            (model.name, model.canary.attempt, found.bundle.digest) for found in (active, canary)
        ]
        ratio = model.canary.rules.shadow_ratio
        for key in keys:
            watches[key] = self._watches.get(key) or Watch(ratio, self._offer)
        of_active, of_canary = (watches[key] for key in keys)
        points = shared_points(active.bundle.manifest, canary.bundle.manifest)
        others = {tail.point: tail for tail in canary.tails if tail.point in points}
        served[active.bundle.digest] = active._replace(
            tails=[watched(t, of_active, others.get(t.point), of_canary) for t in active.tails]
        )
        served[canary.bundle.digest] = canary._replace(
            tails=[watched(t, of_canary, None, None) for t in canary.tails]
        )


def _wanted(models: Mapping[str, Model]) -> dict[str, Entry]:
    """Return every bundle that is served, by digest."""
    return {
        entry.digest: entry
        for model in models.values()
        for entry in model.bundles
        if entry.is_stored and entry.state is not State.CANDIDATE
    }
