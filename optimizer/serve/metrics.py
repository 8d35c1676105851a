"""What the job service exports to Prometheus."""

import time
from functools import partial

from prometheus_client import CollectorRegistry, Counter, Gauge, ProcessCollector

from headtail.metrics import LogLines
from headtail.server.authorization import Denial
from optimizer.serve.capacity import Machine
from optimizer.serve.job import State
from optimizer.serve.scheduler import Scheduler
from optimizer.serve.store import JobStore


class Metrics:
    """The service's metrics, in a registry of their own."""

    def __init__(self, store: JobStore, scheduler: Scheduler, machine: Machine) -> None:
        """Read the figures of jobs from the store whenever the page is asked for."""
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.log_lines = LogLines("optimizer", self.registry)
        self._denied = Counter(
            "optimizer_denied_calls",
            "Calls refused to a caller who may not make them.",
            ["reason"],
            registry=self.registry,
        )
        for denial in Denial:
            self._denied.labels(denial.value)
        jobs = Gauge("optimizer_jobs", "Jobs kept, by state.", ["state"], registry=self.registry)
        for state in State:
            jobs.labels(state.value).set_function(partial(_count, store, state))
        figures = {
            "queue_age_seconds": ("How long the oldest job waits; 0 where none does.",
                                  lambda: _age(store.oldest_queued_s())),
            "cpus": ("Cores that jobs may use.", lambda: len(machine.cores)),
            "cpus_used": ("Cores that running jobs have.",
                          lambda: sum(len(g.cores) for g in scheduler.grants())),
            "gpus": ("GPUs that jobs may use.", lambda: len(machine.gpus)),
            "gpus_used": ("GPUs that running jobs have.",
                          lambda: sum(len(g.gpus) for g in scheduler.grants())),
            "memory_bytes": ("Memory that jobs may use.", lambda: machine.memory_bytes),
            "memory_used_bytes": ("Memory that running jobs asked for.",
                                  lambda: sum(g.memory_bytes for g in scheduler.grants())),
        }  # fmt: skip
        for name, (text, read) in figures.items():
            Gauge(f"optimizer_{name}", text, registry=self.registry).set_function(read)

    def denied(self, denial: Denial) -> None:
        """Count a call that was refused."""
        self._denied.labels(denial.value).inc()


def _count(store: JobStore, state: State) -> float:
    return store.counts()[state]


def _age(since_s: float | None) -> float:
    return 0.0 if since_s is None else max(0.0, time.time() - since_s)
