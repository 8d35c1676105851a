"""Windows between their head and their result."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from edge_agent.meter import EnergyMeter
from edge_agent.plan import Plan
from edge_agent.result import Result, Where
from edge_agent.sources.frame import Frame
from headtail.segment import Tensors

if TYPE_CHECKING:
    from edge_agent.traces import WindowTrace


class Prediction(msgspec.Struct, frozen=True):
    """What windows were expected to cost when they went on."""

    latency_s: float
    energy_j: float | None
    """Of the edge, for one window; None where no profile prices it."""


class Underway(msgspec.Struct, frozen=True):
    """Windows whose head has run, with all that is needed to finish them on the edge."""

    plan: Plan
    """Under which the head ran."""
    frames: Sequence[Frame]
    activation: Tensors
    arrived_s: float
    head_s: float
    tx_bytes: int = 0
    """Of the message that carries them; 0 where none was sent."""
    predicted: Prediction | None = None
    """None where nothing predicts."""
    trace: "WindowTrace | None" = None
    """None where nothing is traced, or nothing was sent."""


class Finish(msgspec.Struct, frozen=True):
    """Where and how long the windows of a message were finished."""

    where: Where
    stop_s: float
    tail_s: float
    network_s: float | None = None
    queue_s: float | None = None
    fallback: str | None = None


class Results:
    """Makes results of finished windows, energies priced."""

    def __init__(self, plan: Plan, meter: EnergyMeter, bundle: str) -> None:
        """Prepare.

        Args:
            plan: What runs where.
            meter: Prices it.
            bundle: Digest that results name; empty for that of the sink.
        """
        self._plan = plan
        self._meter = meter
        self._bundle = bundle
        self._output = plan.manifest.outputs[0].name
        self._point, self._end = plan.point.index, len(plan.manifest.segments)
        self._encoding = plan.encoding.value
        self._labels = plan.manifest.labels
        self._payload_bytes = 0 if plan.is_local else plan.payload_bytes

    def of(self, work: Underway, outputs: Tensors, finish: Finish) -> list[Result]:
        """Return the result of each window, in their order.

        Args:
            work: The windows.
            outputs: Of the model, for all of them.
            finish: Where and how long they were finished.
        """
        count = len(work.frames)
        values = outputs[self._output]
        rows = [values.ravel().tolist()] if count == 1 else values.reshape(count, -1).tolist()
        compute_j = self._meter.compute_j(0, self._point)
        if finish.where == "edge" and compute_j is not None:
            compute_j += self._meter.compute_j(self._point, self._end) or 0.0
        # A compressed activation is smaller than its tensors; the message is all that is known.
        sent_bytes = min(count * self._payload_bytes, work.tx_bytes)
        tx_j = self._meter.tx_j(sent_bytes)
        predicted, compression = work.predicted, self._plan.compression
        least_bytes, more = divmod(work.tx_bytes, count)
        return [
            Result(
                sequence=frame.sequence,
                sample=frame.sample,
                label=self._label(row),
                output=row,
                where=finish.where,
                partition_point=self._point,
                encoding=self._encoding,
                latency_s=finish.stop_s - work.arrived_s,
                head_s=work.head_s,
                tail_s=finish.tail_s,
                network_s=finish.network_s,
                queue_s=finish.queue_s,
                tx_bytes=least_bytes + (i < more),
                compute_j=compute_j,
                tx_j=None if tx_j is None else tx_j / count,
                fallback=finish.fallback,
                truth=frame.truth,
                bundle=self._bundle,
                compression=compression,
                predicted_s=None if predicted is None else predicted.latency_s,
                predicted_j=None if predicted is None else predicted.energy_j,
            )
            for i, (frame, row) in enumerate(zip(work.frames, rows, strict=True))
        ]

    def _label(self, row: list[float]) -> str | None:
        labels = self._labels
        return labels[row.index(max(row))] if len(labels) == len(row) else None
