"""What each served model has done since it was loaded, as Triton counts it."""

import copy
import threading
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from fog_server.tail import Tail
from headtail.segment import Chain


class Spans(NamedTuple):
    """How long the parts of a request, or of a batch, took, in nanoseconds."""

    queue_ns: int = 0
    """Waiting for its turn, and for others to be run with."""
    input_ns: int = 0
    """From the message's tensors to what the segments take."""
    infer_ns: int = 0
    """Running the segments; of a request in a batch the whole batch's."""
    output_ns: int = 0
    """From what the segments gave to the outputs that were asked for."""

    @property
    def total_ns(self) -> int:
        """All of it."""
        return sum(self)


@dataclass(slots=True)
class Duration:
    """How often something was, and how long all of it took together."""

    count: int = 0
    ns: int = 0

    def add(self, ns: int) -> None:
        """Count one more."""
        self.count += 1
        self.ns += ns


@dataclass(slots=True)
class Durations:
    """The parts of requests or of batches."""

    queue: Duration = field(default_factory=Duration)
    input: Duration = field(default_factory=Duration)
    infer: Duration = field(default_factory=Duration)
    output: Duration = field(default_factory=Duration)

    def add(self, spans: Spans) -> None:
        """Count one more."""
        self.queue.add(spans.queue_ns)
        self.input.add(spans.input_ns)
        self.infer.add(spans.infer_ns)
        self.output.add(spans.output_ns)


@dataclass(slots=True)
class ModelRecord:
    """One model's figures."""

    chain: "weakref.ref[Chain]"
    """What it ran on: a model that was loaded anew starts anew."""
    windows: int = 0
    last_ms: int = 0
    """When its last request came, in milliseconds since 1970."""
    success: Duration = field(default_factory=Duration)
    fail: Duration = field(default_factory=Duration)
    requests: Durations = field(default_factory=Durations)
    batches: dict[int, Durations] = field(default_factory=dict)
    """By windows of the batch."""

    @property
    def executions(self) -> int:
        """Batches that ran."""
        return sum(batch.infer.count for batch in self.batches.values())


class Statistics:
    """Keeps a record for each model; several threads may use it at once."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        """Start empty; `clock` is Unix time in seconds."""
        self._clock = clock
        self._lock = threading.Lock()
        self._records: dict[tuple[str, str], ModelRecord] = {}

    def ran(self, tail: Tail, windows: int, spans: Spans) -> None:
        """Count a batch of so many windows; its spans hold no time in the queue."""
        with self._lock:
            record = self._record(tail)
            batch = record.batches.get(windows)
            if batch is None:
                batch = record.batches[windows] = Durations()
            batch.add(spans)

    def answered(self, tail: Tail, windows: int, spans: Spans) -> None:
        """Count a request that was answered."""
        with self._lock:
            record = self._record(tail)
            record.windows += windows
            record.last_ms = int(1e3 * self._clock())
            record.success.add(spans.total_ns)
            record.requests.add(spans)

    def failed(self, tail: Tail, ns: int) -> None:
        """Count a request that was not answered: refused, expired, not fit for the model."""
        with self._lock:
            record = self._record(tail)
            record.last_ms = int(1e3 * self._clock())
            record.fail.add(ns)

    def of(self, tail: Tail) -> ModelRecord:
        """Return what is known of a model now; it changes no more."""
        with self._lock:
            return copy.deepcopy(self._record(tail))

    def _record(self, tail: Tail) -> ModelRecord:
        key = tail.name, tail.version
        record = self._records.get(key)
        if record is None or record.chain() is not tail.chain:
            record = self._records[key] = ModelRecord(weakref.ref(tail.chain))
        return record
