"""The workers' parent: one port, one page of metrics and one word to systemd for all of them.

It imports neither gRPC nor onnxruntime, and no worker is forked: each begins as a new program.
"""

import logging
import math
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack

import msgspec
from prometheus_client import CollectorRegistry, Counter, Gauge, ProcessCollector
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from fog_server.config import Config
from fog_server.workers.channel import Begin
from fog_server.workers.merge import Pages
from fog_server.workers.slot import Orders, Slot
from headtail.errors import WorkerFailed
from headtail.liveness import STALL_S, Check, first_of
from headtail.metrics import LIVE, READY, LogLines, MetricsPage
from headtail.server.reservation import Reservation

log = logging.getLogger(__name__)

SILENCE_S = 300.0
"""Silence after which a worker is ended, where no watchdog says otherwise: as long as a session is
made, which takes minutes on some providers, nothing else of a process runs."""
_SPARE_S = 2.0
"""What a worker may take beyond its drain to end."""


class Supervisor:
    """Serves with several workers from construction to `drain`."""

    def __init__(
        self, config: Config, watchdog_s: float | None = None, checks: Sequence[Check] = ()
    ) -> None:
        """Start the workers: one, and when it serves the others, which then find all in place.

        Args:
            config: Of every worker.
            watchdog_s: Interval of the service manager's watchdog, if there is one.
            checks: What else must be well for the server to call itself live.

        Raises:
            HeadtailError: If an address is not usable, or the first worker cannot serve.
        """
        self._wire = config.wire
        self._is_starting, self._is_draining = True, False
        with ExitStack() as resources:
            self.address = _reserve(config.listen, "--listen", resources)
            self.health_address = _reserve(config.health, "--health", resources)
            registry = CollectorRegistry()
            resources.callback(LogLines("fog", registry).close)
            ProcessCollector(registry=registry)
            restarts = _counts(registry, lambda: sum(slot.is_serving for slot in self._slots))
            self._pages = Pages(registry)
            begin = self._begin(config, watchdog_s or STALL_S)
            orders = Orders(begin, self._pages, restarts, watchdog_s or SILENCE_S)
            self._slots = [Slot(number, orders) for number in range(config.workers)]
            self._alive = first_of([*checks, self._check_workers])
            self.metrics_address = ""
            if config.metrics:
                shown = CollectorRegistry()
                shown.register(_Fresh(self._pages, self._slots))
                probes = {LIVE: self.check_live, READY: self.check_ready}
                page = MetricsPage(config.metrics, shown, probes)
                resources.callback(page.close)
                self.metrics_address = page.address
            resources.callback(self._end)
            self._start()
            self._resources = resources.pop_all()

    def check_live(self) -> str | None:
        """Return what is wrong, or None."""
        return self._alive()

    def check_ready(self) -> str | None:
        """Return why no request is taken, or None."""
        if self._is_draining:
            return "draining"
        return None if any(slot.is_serving for slot in self._slots) else "starting"

    def status(self) -> str:
        """Return how things stand, in a few words."""
        state = "draining" if self._is_draining else f"serving on {self.address}"
        streams, running, queued = (
            round(self._pages.total(f"fog_{name}"))
            for name in ("streams", "requests_running", "requests_queued")
        )
        workers = sum(slot.is_serving for slot in self._slots)
        return f"{state}; {workers} workers, {streams} streams, {running} running, {queued} queued"

    def drain(self) -> bool:
        """Let every worker drain, all at once; return whether they ended in time."""
        log.info("draining %d workers", len(self._slots))
        self._is_draining = True
        is_clean = self._end()
        self._resources.close()
        log.info("stopped" if is_clean else "stopped; a worker had not ended and was killed")
        return is_clean

    def _start(self) -> None:
        first, *others = self._slots
        first.start(is_first=True)
        if not first.wait_tried():
            raise WorkerFailed(first.reason or f"the first worker {first.end}")
        for slot in others:
            slot.start(is_first=False)
        count = 1 + sum(slot.wait_tried() for slot in others)
        self._is_starting = False
        if self.metrics_address:
            log.info("metrics on http://%s/metrics", self.metrics_address)
        log.info("%d of %d workers serve", count, len(self._slots))
        log.info("serving on %s", self.address)

    def _end(self) -> bool:
        for slot in self._slots:
            slot.drain()
        until_s = time.monotonic() + self._wire.drain_s + 2 * self._wire.settle_s + _SPARE_S
        return all([slot.wait(until_s) for slot in self._slots])

    def _check_workers(self) -> str | None:
        for number, slot in enumerate(self._slots):
            if slot.wrong is not None:
                return f"worker {number}: {slot.wrong}"
        is_fine = self._is_starting or any(slot.is_serving for slot in self._slots)
        return None if is_fine else "no worker serves"

    def _begin(self, config: Config, watchdog_s: float) -> Callable[[int], Begin]:
        """Return what tells each worker what to serve."""
        cores = math.ceil(len(os.sched_getaffinity(0)) / config.workers)
        inference = msgspec.structs.replace(
            config.inference, max_running=config.inference.max_running or cores
        )
        own = msgspec.structs.replace(
            config,
            listen=self.address,
            health=self.health_address,
            metrics="",
            inference=inference,
        )
        return lambda number: Begin(own, number, watchdog_s)


class _Fresh(Collector):
    """The merged page, each worker asked for its own."""

    def __init__(self, pages: Pages, slots: Sequence[Slot]) -> None:
        self._pages = pages
        self._slots = slots

    def collect(self) -> Iterator[Metric]:
        """Yield every metric."""
        for slot in self._slots:
            slot.ask()
        return self._pages.collect()

    def describe(self) -> Iterable[Metric]:
        """Name nothing: nobody is asked before a page is wanted."""
        return ()


def _reserve(listen: str, where: str, resources: ExitStack) -> str:
    """Hold an address, if one is given, and return it with its number."""
    if not listen:
        return ""
    port = Reservation(listen, where)
    resources.callback(port.close)
    return port.address


def _counts(registry: CollectorRegistry, serving: Callable[[], int]) -> Callable[[], None]:
    """Export what is known of the workers themselves; return what counts a restart."""
    workers = Gauge("fog_workers", "Workers that serve now", registry=registry)
    workers.set_function(serving)
    return Counter(
        "fog_worker_restarts",
        "Workers that ended, or could not serve, and were to be started again",
        registry=registry,
    ).inc
