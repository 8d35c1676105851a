"""The updates of a run, one after another, on a thread of their own.

fetch -> signature, digests -> self-test in another process -> load, warm up, connect -> switch
-> the first windows -> confirmed, or the bundle before takes over

Each step that a restart must know of is in the state file before the next one begins.
"""

import logging
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress

from edge_agent.backoff import delays
from edge_agent.config import Config
from edge_agent.ran import record_ran
from edge_agent.running import Running
from edge_agent.update.attempt import Attempt, Step, fault_of
from edge_agent.update.directive import (
    Directive,
    Report,
    Stage,
    Superior,
    UpdateFailed,
)
from edge_agent.update.hangar import Hangar
from edge_agent.update.referee import Limits, Referee
from edge_agent.update.rotation import Rotation
from edge_agent.update.state import (
    Failure,
    Kept,
    State,
    confirmed,
    failed,
    loaded,
    rolled_back,
    stopped,
)
from edge_agent.update.store import Store
from headtail.bundle.installed import record_installed
from headtail.errors import ConfigError, HeadtailError
from headtail.fault import PASSING, Fault

log = logging.getLogger(__name__)

FIRST_S, CAP_S = 2.0, 300.0
"""Largest first wait before an update that something passing has stopped, and the largest ever."""
MAX_REASON = 300


class Updater:
    """Follows the last directive, and puts things in order after each verdict."""

    def __init__(
        self,
        store: Store,
        hangar: Hangar,
        rotation: Rotation,
        config: Config,
        step: Step = lambda name: None,
    ) -> None:
        """Prepare; `start` begins.

        Args:
            store: The folder; this thread's own from now on.
            hangar: Makes bundles ready.
            rotation: Switches between them.
            config: Of the run.
            step: Told the name of each step before it is made.
        """
        self.rotation = rotation
        rotation.tell = self.told
        self.counts: Counter[tuple[Stage, Fault]] = Counter()
        """Updates that came to an end, by how and why."""
        self.update_s = 0.0
        """From the last switched directive to its switch, in seconds."""
        self._store = store
        self._hangar = hangar
        self._config = config
        self._step = step
        self._lock = threading.Condition()
        self._closed = threading.Event()
        self._superior: Superior | None = None
        self._directive: Directive | None = None
        self._is_new = self._is_told = False
        self._retry_s: float | None = None
        self._waits = _delays()
        self._unsaved: State | None = None
        self._trial: Running | None = rotation.active if rotation.is_trial else None
        self._stale: list[Running] = []
        self._thread = threading.Thread(target=self._run, name="updater", daemon=True)

    @property
    def state(self) -> State:
        """What the disk says, or shall say."""
        return self._unsaved or self._store.known

    def trial_report(self) -> Report:
        """Return what to tell after a start in the middle of a trial."""
        return Report(self._told_of(self.state.current), Stage.TRIAL)

    def start(self, superior: Superior) -> None:
        """Begin to follow."""
        self._superior = superior
        self._thread.start()

    def offer(self, directive: Directive) -> None:
        """Follow a directive, in the place of the one before; on any thread."""
        with self._lock:
            if directive != self._directive:
                self._directive, self._is_new = directive, True
                self._waits, self._retry_s = _delays(), None
                self._lock.notify_all()

    def told(self) -> None:
        """Look at the rotation, where something has changed; on any thread."""
        with self._lock:
            self._is_told = True
            self._lock.notify_all()

    def close(self, *, is_orderly: bool) -> None:
        """End the thread, and the links of the bundles; no window is begun any more.

        An orderly end in the middle of a trial says nothing against the bundle.
        """
        with self._lock:
            self._closed.set()
            self._lock.notify_all()
        if self._thread.ident is not None:
            self._thread.join()
        with suppress(HeadtailError):
            self._settle()
        if is_orderly and self.state.is_trial and self.rotation.verdict is None:
            self._save(stopped(self.state))
        self._hangar.close()

    def _run(self) -> None:
        while (directive := self._next()) is not None or not self._closed.is_set():
            try:
                self._settle()
                if directive is not None and not self._closed.is_set():
                    self._follow(directive)
            except Exception:  # an update that goes wrong ends neither the run nor later updates
                log.exception("update given up")

    def _next(self) -> Directive | None:
        """Wait for something to do; return the directive that is due, if one is."""
        with self._lock:
            self._lock.wait_for(self._has_work, self._patience_s())
            self._is_told = False
            is_due = self._retry_s is not None and time.monotonic() >= self._retry_s
            if self._closed.is_set() or not (self._is_new or is_due):
                return None
            self._is_new, self._retry_s = False, None
            return self._directive

    def _has_work(self) -> bool:
        return self._is_new or self._is_told or self._closed.is_set()

    def _patience_s(self) -> float | None:
        if self._unsaved is not None:
            return FIRST_S
        return None if self._retry_s is None else max(0.0, self._retry_s - time.monotonic())

    def _settle(self) -> None:
        """Put in order what the rotation has decided."""
        if self._unsaved is not None:
            self._save(self._unsaved)
        for stale in [s for s in self._stale if s is not self.rotation.active]:
            self._stale.remove(stale)
            self._hangar.release(stale, self._closed.wait)
        verdict, trial = self.rotation.verdict, self._trial
        if verdict is not None and trial is not None:
            self.rotation.verdict = self._trial = None
            if verdict is True:
                self._confirm(trial)
            else:
                self._go_back(trial, verdict)

    def _confirm(self, running: Running) -> None:
        """Trust the bundle on trial, and let the one before it go."""
        self._step("confirm")
        self._save(confirmed(self.state))
        before = self.rotation.trust()
        digest, manifest = running.loaded.digest, running.loaded.plan.manifest
        self._hangar.keep_as(running, None, self._store.path(digest))
        folder = self._store.folder.parent
        record_installed(folder, [manifest], is_forced=False)
        record_ran(folder, manifest.name, manifest.version)
        if before is not None:
            self._hangar.release(before, self._closed.wait)
        self._step("confirmed")
        log.info("bundle %s %s confirmed", manifest.name, manifest.version)
        self._end(self._told_of(self.state.current), Stage.CONFIRMED)

    def _go_back(self, running: Running, error: UpdateFailed) -> None:
        """Note on the disk what has happened already: the bundle before takes the windows."""
        self._step("roll back")
        state, bad = self.state, self.state.current
        directive = self._told_of(bad)
        is_passing = error.fault in PASSING
        failure = None if is_passing else _failure(directive, error.fault, str(error))
        self._save(rolled_back(state, failure))
        self._hangar.release(running)
        self._hangar.connect(self.rotation.active)
        self._step("rolled back")
        log.warning("bundle %s %s rolled back: %s", bad.name, bad.version, error)
        self._end(directive, Stage.ROLLED_BACK, error.fault, str(error))
        if is_passing:
            self._try_again()

    def _follow(self, directive: Directive) -> None:
        """Do what a directive asks for, unless it is done."""
        state = self.state
        if directive.digest == state.current.digest:
            return
        failure = state.failure(directive.digest)
        if failure is not None and directive.attempt <= failure.attempt:
            self._report(Report(directive, Stage.FAILED, failure.fault, failure.reason))
        elif state.is_trial and state.previous and state.previous.digest == directive.digest:
            self._withdraw(directive)
        else:
            self._update(directive)

    def _withdraw(self, directive: Directive) -> None:
        """Go back from a bundle on trial without holding anything against it."""
        self._step("withdraw")
        bad, self._trial = self.rotation.withdraw(), None
        self._save(rolled_back(self.state, None))
        self._hangar.release(bad)
        self._hangar.connect(self.rotation.active)
        self._end(directive, Stage.CONFIRMED)

    def _update(self, directive: Directive) -> None:
        """Take a directive up; what goes wrong leaves everything as it was."""
        log.info("update to %s: %s", directive, directive.reason or "no reason given")
        assert self._superior is not None, "started by whoever gives directives"
        began_s = time.monotonic()
        self._store.wanted = directive.digest
        attempt = Attempt(
            directive, self._config, self._store, self._hangar, self.rotation, self._superior,
            self._step, self._closed.wait,
        )  # fmt: skip
        try:
            running, limit_s = attempt.run()
        except (HeadtailError, OSError) as error:
            if not self._closed.is_set():
                self._fail(directive, *fault_of(error))
        else:
            self.update_s = time.monotonic() - began_s
            self._put_on_trial(directive, running, limit_s)
        finally:
            self._store.wanted = ""

    def _put_on_trial(self, directive: Directive, running: Running, limit_s: float) -> None:
        """Let a bundle take the windows from the next one on."""
        if self._trial is not None:
            self._stale.append(self._trial)
        self._trial = running
        windows = self._config.update_windows
        self.rotation.offer(running, Referee(Limits(windows, limit_s)))
        log.info("bundle %s on trial for %d windows", directive, windows)
        self._report(Report(directive, Stage.TRIAL))

    def _fail(self, directive: Directive, fault: Fault, reason: str) -> None:
        """Note that an update came to nothing before it took a window."""
        self._step("fail")
        log.warning("update to %s failed: %s", directive, reason)
        is_passing = fault in PASSING
        if not is_passing:
            self._store.wanted = ""
            self._save(failed(self.state, _failure(directive, fault, reason)))
        elif self.state.loading is not None:
            self._save(loaded(self.state))
        self._end(directive, Stage.FAILED, fault, reason)
        if is_passing:
            self._try_again()

    def _try_again(self) -> None:
        with self._lock:
            self._retry_s = time.monotonic() + next(self._waits)

    def _save(self, state: State) -> None:
        """Make a state last that is true already; where the disk refuses, try again later."""
        try:
            self._store.save(state)
            self._unsaved = None
        except ConfigError as error:
            if self._unsaved is None:
                log.warning("%s; trying again", error)
            self._unsaved = state

    def _told_of(self, bundle: Kept) -> Directive:
        """Return the directive for a bundle; after a restart nobody remembers its reason."""
        directive = self._directive
        if directive is not None and directive.digest == bundle.digest:
            return directive
        return Directive(bundle.digest, bundle.name, bundle.version, attempt=self.state.attempt)

    def _end(
        self, directive: Directive, stage: Stage, fault: Fault = Fault.NONE, reason: str = ""
    ) -> None:
        self.counts[stage, fault] += 1
        self._report(Report(directive, stage, fault, reason[:MAX_REASON]))

    def _report(self, report: Report) -> None:
        assert self._superior is not None, "started by whoever gives directives"
        self._superior.report(report)


def _failure(directive: Directive, fault: Fault, reason: str) -> Failure:
    name, version, attempt = directive.name, directive.version, directive.attempt
    return Failure(directive.digest, name, version, fault, reason[:MAX_REASON], attempt)


def _delays() -> Iterator[float]:
    return delays(FIRST_S, CAP_S, random.Random())  # noqa: S311 - spreads agents out; no secret
