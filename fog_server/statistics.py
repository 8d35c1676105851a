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


@dataclass(slots=True)
class Totals:
    """How many requests or batches there were, and how long their parts took together."""

    count: int = 0
    queue_ns: int = 0
    input_ns: int = 0
    infer_ns: int = 0
    output_ns: int = 0

    @property
    def total_ns(self) -> int:
        """All parts."""
        return self.queue_ns + self.input_ns + self.infer_ns + self.output_ns

    def add(self, spans: Spans) -> None:
        """Count one more."""
        queue_ns, input_ns, infer_ns, output_ns = spans
        self.count += 1
        self.queue_ns += queue_ns
        self.input_ns += input_ns
        self.infer_ns += infer_ns
        self.output_ns += output_ns


@dataclass(slots=True)
class ModelRecord:
    """One model's figures."""

    chain: "weakref.ref[Chain]"
    """What it ran on: a model that was loaded anew starts anew."""
    windows: int = 0
    last_ms: int = 0
    """When its last request was answered or refused, in milliseconds since 1970."""
    failed: int = 0
    failed_ns: int = 0
    requests: Totals = field(default_factory=Totals)
    """Those that were answered."""
    batches: dict[int, Totals] = field(default_factory=dict)
    """By windows of the batch."""

    @property
    def executions(self) -> int:
        """Batches that ran."""
        return sum(batch.count for batch in self.batches.values())


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
            batches = self._record(tail).batches
            batch = batches.get(windows)
            if batch is None:
                batch = batches[windows] = Totals()
            batch.add(spans)

    def answered(self, tail: Tail, windows: int, spans: Spans) -> None:
        """Count a request that was answered."""
        now_ms = int(1e3 * self._clock())
        with self._lock:
            record = self._record(tail)
            record.windows += windows
            record.last_ms = now_ms
            record.requests.add(spans)

    def failed(self, tail: Tail, ns: int) -> None:
        """Count a request that was not answered: refused, expired, not fit for the model."""
        now_ms = int(1e3 * self._clock())
        with self._lock:
            record = self._record(tail)
            record.last_ms = now_ms
            record.failed += 1
            record.failed_ns += ns

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
