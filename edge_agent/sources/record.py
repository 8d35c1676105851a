"""Windows from a continuous WFDB record: paced, pushed through the signal steps, beat by beat."""

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from edge_agent.sources.frame import BEGINNING, Frame, Start
from edge_agent.sources.header import read_record
from edge_agent.sources.intake import Intake, grouped
from edge_agent.sources.wfdb import LeadReader
from headtail.preprocess.pipeline import Window
from headtail.tensor import Array, check_finite

CHUNK_S = 0.1
"""A live recorder hands over samples this often; a beat waits no longer than this to be seen."""
MAX_CHUNK_SAMPLES = 4096
Speed = float | None
"""How many times faster than the clock on the wall; None: as fast as possible."""


class RecordSource:
    """Frames of the beats that the signal steps find in one lead."""

    def __init__(
        self,
        path: Path,
        intake: Intake,
        speed: Speed,
        clock: Callable[[], float],
        wait: Callable[[float], bool],
    ) -> None:
        """Open a record.

        Args:
            path: The record, with or without `.hea`.
            intake: Brings the signal steps.
            speed: 1.0 replays in real time.
            clock: Monotonic seconds.
            wait: Sleeps for so many seconds; returns True when the run is to stop.

        Raises:
            DataError: If the record is missing or malformed.
            ConfigError: If the bundle has no signal steps.
        """
        record = read_record(path)
        self._reader = LeadReader(record, record.lead)
        self._start = BEGINNING
        self.identity = f"wfdb:{record.path.resolve()} {self._reader.samples} {record.lead}"
        self._where = f"record {record.path.stem} lead {self._reader.signal.description or '0'}"
        self._rate_hz = record.rate_hz
        self._stream = intake.pipeline.stream(record.rate_hz)
        self._intake = intake
        self._speed = speed
        self._clock = clock
        self._wait = wait

    is_replayed = True

    def resume(self, start: Start) -> None:
        """Go on with the first beat after a position.

        The samples before it go through the signal steps again, without waiting: those have
        memory, and give the same beats however the samples are cut into chunks.
        """
        self._start = start

    def batches(self, limit: int) -> Iterator[Sequence[Frame]]:
        """Yield the frames of each chunk when its samples are due."""
        begin_s = self._clock()
        position, sequence = 0, self._start.sequence
        for samples in self._reader.chunks(self._chunk_samples()):
            self._check(samples, position)
            position += len(samples)
            if self._speed is not None:
                ahead = position - max(0, self._start.sample)
                due_s = begin_s + ahead / (self._rate_hz * self._speed)
                if self._wait(due_s - self._clock()):
                    return
            frames = self._frames(self._stream.push(samples), sequence)
            sequence += len(frames)
            yield from grouped(frames, limit)
        yield from grouped(self._frames(self._stream.flush(), sequence), limit)

    def close(self) -> None:
        """Nothing is held between batches."""

    def _frames(self, windows: Sequence[Window], sequence: int) -> list[Frame]:
        new = [window for window in windows if window.sample > self._start.sample]
        return [
            Frame(
                sequence=sequence + i,
                sample=window.sample,
                tensors=self._intake.accept(window.values, f"{self._where} beat {window.sample}"),
            )
            for i, window in enumerate(new)
        ]

    def _chunk_samples(self) -> int:
        if self._speed is None:
            return MAX_CHUNK_SAMPLES
        samples = math.ceil(CHUNK_S * self._rate_hz * self._speed)
        return min(MAX_CHUNK_SAMPLES, samples + samples % 2)

    def _check(self, samples: Array, position: int) -> None:
        if math.isnan(float(samples.sum())):
            first = int(samples.argmax())  # NaN counts as the largest
            check_finite(samples[first:], f"{self._where} sample {position + first}")
