"""Windows that another bundle runs too, wholly on this device, and whether its answers agree.

The fog asks for it while a canary is tried: this agent runs the canary, and has the windows that
the fog never sees. Off the windows' way: what is answered is put aside where there is room, and run
again by a thread and a process of low priority. The process is there only while windows of the
bundle in question come, and nothing that becomes of it touches one of them.
"""

import logging
import os
import random
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from enum import StrEnum

from edge_agent.backoff import delays
from edge_agent.config import Config
from edge_agent.loaded import Loaded
from edge_agent.sources.frame import Frame
from edge_agent.sources.intake import stack
from edge_agent.trust import open_trust
from edge_agent.underway import Underway
from edge_agent.update.directive import Directive, Superior
from edge_agent.update.shadow_file import ShadowFile
from edge_agent.update.shadow_process import NICENESS, ShadowFailed, ShadowProcess
from edge_agent.update.store import Store
from headtail.agreement import count_agreed, is_comparable
from headtail.bundle import Manifest
from headtail.errors import BundleError, ConfigError, HeadtailError, RemoteError
from headtail.segment import Tensors

log = logging.getLogger(__name__)

MAX_WAITING = 32
"""Windows that wait to be run again; more are left out."""
REST_RATIO = 3.0
"""Rest after a run, as a multiple of its time: a quarter of one core at most."""
FIRST_S, CAP_S = 2.0, 300.0
"""Largest first wait after a failure, and the largest ever."""
MAX_FAILURES = 3
"""So often may the process fail; then the comparison is given up."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Which answers to compare with whose."""

    runs: str
    """Digest of the bundle whose answers they are."""
    name: str
    """Of both bundles."""
    other: str
    """Digest of the other one."""
    ratio: float
    """Share of the windows, above 0."""


class Outcome(StrEnum):
    """What became of a window that was to be run again."""

    AGREED = "agreed"
    DIFFERED = "differed"
    FAILED = "failed"
    """The other bundle gave no answer, which says nothing about the one that runs."""
    DROPPED = "dropped"
    """There was no room for it."""


@dataclass(frozen=True, slots=True)
class _Job:
    """Windows that were answered together, and those of them to run again."""

    manifest: Manifest
    frames: list[Frame]
    outputs: Tensors
    chosen: list[int]


class Shadows:
    """Takes windows aside while somebody asks for it, and runs them again."""

    def __init__(
        self, store: Store, config: Config, compared: Callable[[str, str, int, int], None]
    ) -> None:
        """Prepare; `start` begins.

        Args:
            store: Has the files of the bundles that ran here.
            config: Of the run.
            compared: Told of windows compared: digests of both bundles, how many, how many agreed.
        """
        self.counts: Counter[Outcome] = Counter()
        """Windows by what became of them."""
        self._config = config
        self._compared = compared
        self._file = ShadowFile(store)
        self._lock = threading.Condition()
        self._superior: Superior | None = None
        self._told: Comparison | None = None
        self._asked: Comparison | None = None
        """What is told, until it is given up."""
        self._jobs: deque[_Job] = deque()
        self._waiting = 0
        self._owed = 0.0
        self._process: ShadowProcess | None = None
        self._is_closed = False
        self._thread = threading.Thread(target=self._run, name="shadows", daemon=True)

    @property
    def is_loaded(self) -> bool:
        """Whether the other bundle is in memory."""
        return self._process is not None

    def start(self, superior: Superior) -> None:
        """Begin; `superior` has the files that are not here."""
        self._superior = superior
        self._thread.start()

    def ask(self, comparison: Comparison | None) -> None:
        """Compare so from now on, or not at all; on any thread."""
        if comparison is not None:
            ratio = min(comparison.ratio, self._config.update_shadow_ratio)
            comparison = replace(comparison, ratio=ratio) if ratio > 0 else None
        with self._lock:
            if comparison == self._told:
                return
            self._told = comparison
            self._turn_to(comparison)

    def offer(self, loaded: Loaded, work: Underway, outputs: Tensors) -> None:
        """Take note of windows that a bundle answered; on any thread, and at once."""
        asked = self._asked
        if asked is None or asked.runs != loaded.digest or not work.frames[0].tensors:
            return
        windows = len(work.frames)
        with self._lock:
            if self._asked is not asked:
                return
            chosen = [i for i in range(windows) if self._is_due(asked.ratio)]
            if not chosen:
                return
            if self._jobs and self._waiting + windows > MAX_WAITING:
                self.counts[Outcome.DROPPED] += len(chosen)
                return
            manifest = loaded.plan.manifest
            self._jobs.append(_Job(manifest, list(work.frames), outputs, chosen))
            self._waiting += windows
            self._lock.notify_all()

    def close(self) -> None:
        """End, whatever is being run again."""
        with self._lock:
            self._is_closed = True
            self._turn_to(None)
        if self._thread.ident is not None:
            self._thread.join()

    def _is_due(self, ratio: float) -> bool:
        self._owed += ratio
        if self._owed < 1:
            return False
        self._owed -= 1
        return True

    def _turn_to(self, comparison: Comparison | None) -> None:
        """Forget what waits, and end what runs; with the lock held."""
        self._asked = comparison
        self._jobs.clear()
        self._waiting, self._owed = 0, 0.0
        if self._process is not None:
            self._process.kill()
        self._lock.notify_all()

    def _run(self) -> None:
        with suppress(OSError):  # of this thread alone: windows come first
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
        self._file.clear()
        while (asked := self._next()) is not None:
            try:
                self._compare(asked)
            except Exception:  # a comparison that goes wrong ends neither the run nor later ones
                log.exception("comparison given up")
                self._give_up(asked)
            self._file.clear()

    def _next(self) -> Comparison | None:
        """Wait for something to compare; None: there will be nothing any more."""
        with self._lock:
            self._lock.wait_for(lambda: self._asked or self._is_closed)
            return None if self._is_closed else self._asked

    def _compare(self, asked: Comparison) -> None:
        """Compare until something else is asked for, or it has failed too often."""
        failures, waits = 0, _delays()
        while (job := self._take(asked)) is not None:
            try:
                self._compare_from(asked, job)
            except (HeadtailError, OSError) as error:
                if self._is_over(asked):
                    return
                is_passing = isinstance(error, RemoteError | OSError | ConfigError)
                failures += not is_passing
                log.warning("bundle %s to compare answers with: %s", asked.other[:12], error)
                if failures == MAX_FAILURES or isinstance(error, BundleError):
                    log.warning("comparison given up")
                    self._give_up(asked)
                    return
            self._rest(asked, next(waits))

    def _compare_from(self, asked: Comparison, first: _Job) -> None:
        """Load the other bundle and run windows again, as long as that is asked for.

        Raises:
            HeadtailError: Why that came to an end; the windows concerned are counted.
        """
        job: _Job | None = first
        try:
            manifest = self._obtain(asked)
            if not is_comparable(first.manifest, manifest):
                raise BundleError(f"bundle {asked.other[:12]}: its answers mean something else")
            with closing(self._open(asked)) as process:
                process.wait_ready()
                while job is not None:
                    took_s = self._run_again(asked, job, process)
                    job = None
                    self._rest(asked, REST_RATIO * took_s)
                    job = self._take(asked)
        except (HeadtailError, OSError):
            if job is not None and not self._is_over(asked):
                self.counts[Outcome.FAILED] += len(job.chosen)
            raise
        finally:
            with self._lock:
                self._process = None

    def _obtain(self, asked: Comparison) -> Manifest:
        config, superior = self._config, self._superior
        assert superior is not None, "the thread was started with it"
        directive = Directive(asked.other, asked.name, "")
        return self._file.obtain(
            asked.other,
            lambda write: superior.fetch(directive, write),
            open_trust(config.trust, config.key),
            config.update_max_bytes,
        )

    def _open(self, asked: Comparison) -> ShadowProcess:
        config = self._config
        settings = (config.trust, config.key, str(config.threads))
        process = ShadowProcess(self._file.path, settings)
        with self._lock:
            self._process = process
            if self._asked is not asked:
                process.kill()
        return process

    def _run_again(self, asked: Comparison, job: _Job, process: ShadowProcess) -> float:
        """Compare some windows; return how long that took, in seconds."""
        start_s = time.monotonic()
        is_batchable = job.manifest.is_batchable
        given = job.outputs
        if is_batchable:
            given = {name: array[job.chosen] for name, array in given.items()}
        expected = process.run(stack([job.frames[i] for i in job.chosen], is_batchable))
        if not {spec.name for spec in job.manifest.outputs} <= expected.keys():
            raise ShadowFailed("outputs are missing")
        windows, agreed = count_agreed(job.manifest, expected, given)
        self._compared(asked.runs, asked.other, windows, agreed)
        self.counts[Outcome.AGREED] += agreed
        self.counts[Outcome.DIFFERED] += windows - agreed
        return time.monotonic() - start_s

    def _take(self, asked: Comparison) -> _Job | None:
        """Wait for windows; None: something else is asked for."""
        with self._lock:
            self._lock.wait_for(lambda: self._jobs or self._asked is not asked)
            if self._asked is not asked:
                return None
            job = self._jobs.popleft()
            self._waiting -= len(job.frames)
            return job

    def _rest(self, asked: Comparison, seconds: float) -> None:
        with self._lock:
            self._lock.wait_for(lambda: self._asked is not asked, seconds)

    def _is_over(self, asked: Comparison) -> bool:
        return self._asked is not asked

    def _give_up(self, asked: Comparison) -> None:
        with self._lock:
            if self._asked is asked:
                self._turn_to(None)


def _delays() -> Iterator[float]:
    return delays(FIRST_S, CAP_S, random.Random())  # noqa: S311 - spreads agents out; no secret
