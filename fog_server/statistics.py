"""What each served model has done since it was loaded, as Triton counts it."""

import copy
import threading
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field

from fog_server.tail import Tail
from headtail.segment import Chain


@dataclass(slots=True)
class Totals:
    """How many requests or batches there were, and how long their parts took together, in ns."""

    count: int = 0
    queue_ns: int = 0
    """Waiting for its turn, and for others to be run with; of a batch nothing."""
    input_ns: int = 0
    """From the message's tensors to what the segments take."""
    infer_ns: int = 0
    """Running the segments; of a request in a batch the whole batch's."""
    output_ns: int = 0
    """From what the segments gave to the outputs that were asked for."""

    @property
    def total_ns(self) -> int:
        """All parts."""
        return self.queue_ns + self.input_ns + self.infer_ns + self.output_ns


@dataclass(slots=True)
class ModelRecord:
    """One model's figures; `Statistics.lock` is held to touch them."""

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

    def ran(self, windows: int, infer_ns: int, output_ns: int = 0) -> None:
        """Count a batch of so many windows."""
        batch = self.batches.get(windows)
        if batch is None:
            batch = self.batches[windows] = Totals()
        batch.count += 1
        batch.infer_ns += infer_ns
        batch.output_ns += output_ns

    def answered(
        self,
        windows: int,
        now_ms: int,
        queue_ns: int = 0,
        input_ns: int = 0,
        infer_ns: int = 0,
        output_ns: int = 0,
    ) -> None:
        """Count a request that was answered."""
        self.windows += windows
        self.last_ms = now_ms
        requests = self.requests
        requests.count += 1
        requests.queue_ns += queue_ns
        requests.input_ns += input_ns
        requests.infer_ns += infer_ns
        requests.output_ns += output_ns

    @property
    def executions(self) -> int:
        """Batches that ran."""
        return sum(batch.count for batch in self.batches.values())


class Statistics:
    """Keeps a record for each model; several threads may use it at once."""

    def __init__(
        self, lock: "threading.Lock | None" = None, clock: Callable[[], float] = time.time
    ) -> None:
        """Start empty; `clock` is Unix time in seconds, `lock` is held to touch a record."""
        self._clock = clock
        self.lock = lock or threading.Lock()
        self._records: dict[tuple[str, str], ModelRecord] = {}

    def record(self, tail: Tail) -> ModelRecord:
        """Return the record of a tail, which goes on as long as the tail is served."""
        key = tail.name, tail.version
        with self.lock:
            record = self._records.get(key)
            if record is None or record.chain() is not tail.chain:
                record = self._records[key] = ModelRecord(weakref.ref(tail.chain))
            return record

    def now_ms(self) -> int:
        """Return the time that a record has of its last request."""
        return int(1e3 * self._clock())

    def failed(self, tail: Tail, ns: int) -> None:
        """Count a request that was not answered: refused, expired, not fit for the model."""
        record = self.record(tail)
        with self.lock:
            record.last_ms = self.now_ms()
            record.failed += 1
            record.failed_ns += ns

    def of(self, tail: Tail) -> ModelRecord:
        """Return what is known of a model now; it changes no more."""
        record = self.record(tail)
        with self.lock:
            return copy.deepcopy(record)
