"""What operators may do: publish, canary, share, promote, roll back, retire."""

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from fog_server.rollout import changes
from fog_server.rollout.database import Database
from fog_server.rollout.follower import Follower
from fog_server.rollout.rules import Rules
from fog_server.rollout.samples import compare_samples
from fog_server.rollout.state import Change, Entry, Model, State
from fog_server.rollout.trial import Said, try_bundle
from fog_server.rollout.vault import Vault
from headtail.bundle.keys import Trust
from headtail.bundle.manifest import version_key
from headtail.errors import (
    BundleError,
    BundleOutdated,
    ModelNotFound,
    RequestInvalid,
    WrongState,
)
from headtail.segment import SessionOptions

log = logging.getLogger(__name__)

MAX_REASON = 300
"""Characters of a reason that are kept."""


class Ref(NamedTuple):
    """Which bundle: by version or digest; both empty means the only one that it can be."""

    name: str
    version: str = ""
    digest: str = ""


class Order(NamedTuple):
    """Who wants a change, why, and for which generation they want it (None: any)."""

    by: str
    reason: str = ""
    generation: int | None = None


class Publication(NamedTuple):
    """What is about to be sent."""

    size_bytes: int
    digest: str = ""
    allow_older: bool = False


class Published(NamedTuple):
    """What became of a publication."""

    model: Model
    entry: Entry
    is_new: bool
    self_test_error: float


class Rollouts:
    """Every change that an operator may make; several threads may use it at once."""

    def __init__(
        self,
        database: Database,
        vault: Vault,
        follower: Follower,
        trust: Trust,
        options: SessionOptions,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Make changes in `database` and let `follower` serve them; `clock` is Unix time."""
        self._database = database
        self._vault = vault
        self._follower = follower
        self._trust = trust
        self._options = options
        self._clock = clock

    def models(self) -> Mapping[str, Model]:
        """Return every model by name, sorted."""
        return dict(sorted(self._database.models().items()))

    def model(self, name: str) -> Model:
        """Return one model.

        Raises:
            ModelNotFound: If nothing of that name was ever published.
        """
        models = self._database.models()
        model = models.get(name)
        if model is None:
            raise ModelNotFound(name, "", sorted(models))
        return model

    def publish(self, sent: Publication, chunks: Iterable[bytes], order: Order) -> Published:
        """Receive a bundle, check and test it, and make it a candidate.

        One that is here already, by the digest announced, is not received.

        Raises:
            RequestInvalid: If it is no good bundle, or not the one announced.
            WrongState: If its version is another bundle's, or older than the active one.
            Overloaded: If there is no room for it.
        """
        known = self._known(sent.digest)
        if known is not None:
            return Published(*known, is_new=False, self_test_error=0.0)
        with self._vault.received(sent.size_bytes, chunks) as path:
            try:
                said = try_bundle(path, self._trust, self._options.providers, self._options.threads)
            except BundleError as error:
                log.warning("publication of %s refused: %s", order.by, error)
                raise RequestInvalid("bundle", str(error)) from error
            if sent.digest not in ("", said.digest):
                reason = f"{sent.digest[:12]} was announced and {said.digest[:12]} came"
                raise RequestInvalid("bundle", reason)
            return self._place(path, said, sent, order)

    def start_canary(self, ref: Ref, rules: Rules, order: Order) -> Model:
        """Give a share of the agents another bundle.

        Raises:
            ModelNotFound: If there is no such bundle.
            WrongState: If that cannot be done as things stand.
            Superseded: If another change came first.
        """
        model = self.model(ref.name)
        entry = self._find(model, ref, State.CANDIDATE)
        self._prepare(model, entry)
        compared = self._compare(model, entry)

        def step(now: Model) -> Model:
            now = changes.start_canary(now, entry.digest, rules, self._change(order))
            if compared is None:
                return now
            windows, agreed, is_alike = compared
            return changes.with_samples(now, windows, agreed, is_priced_alike=is_alike)

        return self._changed(ref.name, step, order)

    def set_share(self, name: str, share_ratio: float, order: Order) -> Model:
        """Give the canary another share of the agents."""
        self.model(name)
        change = self._change(order)
        return self._changed(name, lambda m: changes.set_share(m, share_ratio, change), order)

    def promote(self, ref: Ref, order: Order) -> Model:
        """Make the canary, or a candidate, active."""
        model = self.model(ref.name)
        entry = self._find(model, ref, State.CANARY if model.canary else State.CANDIDATE)
        self._prepare(model, entry)
        change = self._change(order)
        return self._changed(ref.name, lambda m: changes.promote(m, entry.digest, change), order)

    def roll_back(self, name: str, order: Order) -> Model:
        """Take the canary back, or what was promoted last."""
        model = self.model(name)
        if model.canary is None and model.previous and (entry := model.entry(model.previous)):
            self._prepare(model, entry)
        change = self._change(order)
        return self._changed(name, lambda m: changes.roll_back(m, change), order)

    def retire(self, ref: Ref, order: Order, running: Callable[[str], int]) -> Model:
        """Retire a candidate, or remove a retired bundle that no agent runs."""
        model = self.model(ref.name)
        entry = self._find(model, ref, State.CANDIDATE)
        agents = running(entry.digest)
        if entry.state is State.RETIRED and agents:
            where = f"bundle {model.name} {entry.version}"
            raise WrongState(where, f"is run by {agents} agents still")
        change = self._change(order)
        after = self._changed(ref.name, lambda m: changes.retire(m, entry.digest, change), order)
        if not after.find("", entry.digest).is_stored:
            self._vault.remove(entry.path)
        return after

    def remove(self, model: Model, entry: Entry, order: Order) -> None:
        """Remove a retired bundle whose grace is over."""
        change = self._change(order)
        self._changed(model.name, lambda m: changes.remove(m, entry.digest, change), order)
        self._vault.remove(entry.path)

    def _known(self, digest: str) -> tuple[Model, Entry] | None:
        for model in self._database.models().values() if digest else ():
            entry = model.entry(digest)
            if entry is not None and entry.is_stored:
                return model, entry
        return None

    def _place(self, path: Path, said: Said, sent: Publication, order: Order) -> Published:
        entry = Entry(
            version=said.version,
            digest=said.digest,
            size_bytes=path.stat().st_size,
            path=self._vault.relative(said.digest),
            state=State.CANDIDATE,
            attempt=0,
            changed_at_s=self._clock(),
            changed_by=order.by,
            reason=order.reason[:MAX_REASON],
        )
        is_new = False

        def step(model: Model) -> Model:
            if not sent.allow_older:
                _check_newer(model, entry)
            return changes.publish(model, entry, self._change(order))

        def place(_: Model) -> None:
            nonlocal is_new
            is_new = True
            self._vault.place(path, entry.digest)

        after = self._database.change(said.name, step, order.generation, place)
        if is_new:
            log.info("%s published %s %s (%s)",
                     order.by, said.name, said.version, said.digest[:12])  # fmt: skip
        found = after.entry(said.digest)
        assert found is not None
        return Published(after, found, is_new, said.self_test_error)

    def _changed(self, name: str, step: Callable[[Model], Model], order: Order) -> Model:
        after = self._database.change(name, step, order.generation)
        event = after.events[0]
        log.info(
            "%s: %s of %s %s (%s) by %s%s", name, event.action, event.version,
            event.digest[:12], event.after, event.by, f": {event.reason}" if event.reason else "",
        )  # fmt: skip
        self._follower.refresh()
        return after

    def _find(self, model: Model, ref: Ref, usual: State) -> Entry:
        if ref.version or ref.digest:
            return model.find(ref.version, ref.digest)
        found = [e for e in model.bundles if e.state is usual and e.is_stored]
        if len(found) != 1:
            versions = ", ".join(e.version for e in found) or "none"
            raise WrongState(f"model '{model.name}'", f"name a version; {usual}: {versions}")
        return found[0]

    def _prepare(self, model: Model, entry: Entry) -> None:
        """Load a bundle before anybody is told to run it."""
        if not entry.is_stored:
            return  # the change itself says so
        try:
            self._follower.prepare(model, entry)
        except BundleError as error:
            where = f"bundle {model.name} {entry.version}"
            raise WrongState(where, f"cannot be served: {error}") from error

    def _compare(self, model: Model, entry: Entry) -> tuple[int, int, bool] | None:
        """Return windows compared, windows that agreed, and whether the profiles are the same."""
        active = model.active
        if active is None or not entry.is_stored:
            return None
        first, second = self._follower.loaded(active.digest), self._follower.loaded(entry.digest)
        if first is None or second is None:
            return None
        profiles = [loaded.bundle.manifest.lineage.profiles for loaded in (first, second)]
        return *compare_samples(first, second, self._trust), profiles[0] == profiles[1]

    def _change(self, order: Order) -> Change:
        return Change(self._clock(), order.by, order.reason[:MAX_REASON])


def _check_newer(model: Model, entry: Entry) -> None:
    active = model.active
    if active is not None and version_key(entry.version) < version_key(active.version):
        error = BundleOutdated(
            "as received", f"{model.name} {active.version}", f"{model.name} {entry.version}"
        )
        raise WrongState("fog", f"{error}; allow older ones to publish it")
