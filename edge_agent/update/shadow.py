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
from collections.abc import Callable, Iterator
from contextlib import closing, suppress

from edge_agent.backoff import delays
from edge_agent.config import Config
from edge_agent.sources.intake import stack
from edge_agent.trust import open_trust
from edge_agent.update.directive import Directive, Superior
from edge_agent.update.shadow_file import ShadowFile
from edge_agent.update.shadow_process import NICENESS, ShadowFailed, ShadowProcess
from edge_agent.update.shadow_queue import Comparison, Job, Outcome, ShadowQueue
from edge_agent.update.store import Store
from headtail.agreement import count_agreed, is_comparable
from headtail.bundle import Manifest
from headtail.errors import BundleError, ConfigError, HeadtailError, RemoteError

log = logging.getLogger(__name__)

REST_RATIO = 3.0
"""Rest after a run, as a multiple of its time: a quarter of one core at most."""
FIRST_S, CAP_S = 2.0, 300.0
"""Largest first wait after a failure, and the largest ever."""
MAX_FAILURES = 3
"""So often may the process fail; then the comparison is given up."""


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
        self.queue = ShadowQueue(config.update_shadow_ratio, self._kill)
        self._config = config
        self._compared = compared
        self._file = ShadowFile(store)
        self._superior: Superior | None = None
        self._process: ShadowProcess | None = None
        self._thread = threading.Thread(target=self._run, name="shadows", daemon=True)

    @property
    def is_loaded(self) -> bool:
        """Whether the other bundle is in memory."""
        return self._process is not None

    def start(self, superior: Superior) -> None:
        """Begin; `superior` has the files that are not here."""
        self._superior = superior
        self._thread.start()

    def close(self) -> None:
        """End, whatever is being run again."""
        self.queue.close()
        if self._thread.ident is not None:
            self._thread.join()

    def _kill(self) -> None:
        if self._process is not None:
            self._process.kill()

    def _run(self) -> None:
        with suppress(OSError):  # of this thread alone: windows come first
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
        self._file.clear()
        while (asked := self.queue.next()) is not None:
            try:
                self._compare(asked)
            except Exception:  # a comparison that goes wrong ends neither the run nor later ones
                log.exception("comparison given up")
                self.queue.give_up(asked)
            self._file.clear()

    def _compare(self, asked: Comparison) -> None:
        """Compare until something else is asked for, or it has failed too often."""
        failures, waits = 0, _delays()
        while (job := self.queue.take(asked)) is not None:
            try:
                self._compare_from(asked, job)
            except (HeadtailError, OSError) as error:
                if self.queue.is_over(asked):
                    return
                is_passing = isinstance(error, RemoteError | OSError | ConfigError)
                failures += not is_passing
                log.warning("bundle %s to compare answers with: %s", asked.other[:12], error)
                if failures == MAX_FAILURES or isinstance(error, BundleError):
                    log.warning("comparison given up")
                    self.queue.give_up(asked)
                    return
            self.queue.rest(asked, next(waits))

    def _compare_from(self, asked: Comparison, first: Job) -> None:
        """Load the other bundle and run windows again, as long as that is asked for.

        Raises:
            HeadtailError: Why that came to an end; the windows concerned are counted.
        """
        job: Job | None = first
        try:
            manifest = self._obtain(asked)
            if not is_comparable(first.manifest, manifest):
                raise BundleError(f"bundle {asked.other[:12]}: its answers mean something else")
            with closing(self._open(asked)) as process:
                process.wait_ready()
                while job is not None:
                    took_s = self._run_again(asked, job, process)
                    job = None
                    self.queue.rest(asked, REST_RATIO * took_s)
                    job = self.queue.take(asked)
        except (HeadtailError, OSError):
            if job is not None and not self.queue.is_over(asked):
                self.queue.counts[Outcome.FAILED] += len(job.chosen)
            raise
        finally:
            with self.queue.lock:
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
        with self.queue.lock:
            self._process = process
            if self.queue.is_over(asked):
                process.kill()
        return process

    def _run_again(self, asked: Comparison, job: Job, process: ShadowProcess) -> float:
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
        self.queue.counts[Outcome.AGREED] += agreed
        self.queue.counts[Outcome.DIFFERED] += windows - agreed
        return time.monotonic() - start_s


def _delays() -> Iterator[float]:
    return delays(FIRST_S, CAP_S, random.Random())  # noqa: S311 - spreads agents out; no secret
