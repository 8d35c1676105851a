"""Partition points of a cut model: what crosses at each, as which bytes, how well, at what cost."""

import itertools
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np

from headtail.bundle.archive import describe_member
from headtail.bundle.manifest import Cost, Point, Segment, WireEncoding, crossing_specs
from headtail.energy import predict_compute, predict_transmission
from headtail.errors import DataError, SearchError
from headtail.operations import Operations
from headtail.profile import DeviceProfile, LinkProfile
from headtail.segment import relative_error
from headtail.tensor import Array, TensorSpec
from headtail.wire import (
    STORED_RANGES,
    USUAL_ENCODINGS,
    Affine,
    Encoding,
    calibrate,
    can_carry,
    decode,
    encode,
    wire_specs,
)
from optimizer.calibration import Distribution
from optimizer.cut.cut import CutModel
from optimizer.verify import Runner, Tensors, batches, load_runner

PARAMETER_BYTES = 4
BATCH_WINDOWS = 32


@dataclass(frozen=True, slots=True)
class Windows:
    """The model's inputs to learn from, by input name; all checked and ready for the model."""

    samples: Mapping[str, Array]
    """Up to eight windows on which the largest error of an encoding is measured."""
    calibration: Mapping[str, Array] | None = None
    """Windows that set the ranges of int8 and int4; without them neither is offered, since ranges
    from other data would cut off real activations."""
    labelled: Mapping[str, Array] | None = None
    """Windows with labels, on which accuracy is measured."""
    labels: Array | None = None
    """Class index of each labelled window, shape (N,)."""


@dataclass(frozen=True, slots=True)
class Profiles:
    """The devices and links every point is priced for; the first of each decides the default."""

    devices: tuple[DeviceProfile, ...]
    links: tuple[LinkProfile, ...]


def segment_records(model: CutModel) -> tuple[Segment, ...]:
    """Return the manifest's records of the segments."""
    return tuple(
        Segment(
            member=describe_member(f"segments/{i}.onnx", segment.content),
            inputs=segment.inputs,
            outputs=segment.outputs,
            operations=segment.operations,
        )
        for i, segment in enumerate(model.segments)
    )


def build_points(
    model: CutModel,
    windows: Windows,
    profiles: Profiles,
    encodings: Collection[Encoding] = USUAL_ENCODINGS,
) -> tuple[Point, ...]:
    """Return every partition point of a cut model, encodings measured and costs predicted.

    int8 and int4 are offered where calibration windows are given, int4 only where every axis but
    the batch's is fixed. At the last point the outputs stay as they are: float32 alone.

    Args:
        model: What was cut, verified.
        windows: What encodings are calibrated and measured on.
        profiles: What costs are predicted for.
        encodings: Those to offer for float32 tensors; float32 itself always is.

    Raises:
        DataError: If labels do not fit the model's outputs.
        SearchError: If the model is far beyond what a device profile was fitted to.
    """
    segments = segment_records(model)
    for device in profiles.devices:
        whole = reduce(Operations.__add__, (s.operations for s in segments), Operations())
        if reason := device.beyond_domain(whole):
            raise SearchError("partition", reason)
    runner = load_runner(model)
    crossing = [
        crossing_specs(segments, model.inputs, model.outputs, k) for k in range(len(segments) + 1)
    ]
    wanted = [e for e in Encoding if e is Encoding.FLOAT32 or e in encodings]
    affines = _calibrated(runner, windows.calibration, wanted)
    usable = [e for e in wanted if e not in STORED_RANGES or e in affines]
    meter = _Meter(runner, windows)
    points = []
    for index, activation in enumerate(crossing):
        wires = [
            meter.measure(index, activation, encoding, affines)
            for encoding in _offered(activation, index == len(segments), usable)
        ]
        head = model.segments[:index]
        operations = reduce(Operations.__add__, (s.operations for s in head), Operations())
        arrived = sum(s.window_bytes for s in activation)
        points.append(
            Point(
                index=index,
                activation=activation,
                encodings=tuple(wires),
                flash_bytes=PARAMETER_BYTES * operations.parameters,
                ram_bytes=max((s.ram_bytes for s in head), default=arrived),
                costs=predict_costs(operations, wires, profiles),
            )
        )
    return tuple(points)


def classes(outputs: Mapping[str, Array], specs: Sequence[TensorSpec]) -> Array:
    """Return the class index that the model's first output gives each window, shape (N,).

    Raises:
        DataError: If that output does not score at least two classes for each window.
    """
    spec = specs[0]
    scores = outputs[spec.name]
    rows = len(scores) if spec.is_batchable else 1
    scores = scores.reshape(rows, -1)
    is_several = not spec.is_batchable and len(spec.shape) > 1 and spec.shape[0] != 1
    if scores.shape[1] < 2 or is_several:
        raise DataError("labels", f"output '{spec.name}' has no score per class to compare")
    return np.asarray(scores.argmax(axis=1))


class _Meter:
    """Measures what an encoding does to the outputs, against the same run in float32."""

    def __init__(self, runner: Runner, windows: Windows) -> None:
        self.runner = runner
        self.samples = _known(runner, windows.samples)[0]
        self.labels = windows.labels
        self.labelled = _known(runner, windows.labelled)

    def measure(
        self,
        index: int,
        activation: Sequence[TensorSpec],
        encoding: Encoding,
        affines: Mapping[Encoding, Mapping[str, Affine]],
    ) -> WireEncoding:
        """Return the manifest's record of one encoding at one point."""
        known = affines.get(encoding)
        own = {} if known is None else {s.name: known[s.name] for s in _floats(activation)}
        wire = _Wire(self.runner, index, tuple(activation), encoding, own)
        return WireEncoding(
            encoding=encoding,
            bytes=sum(s.window_bytes for s in wire_specs(activation, encoding)),
            affine=own,
            accuracy=self._accuracy(wire),
            largest_error=self._largest_error(wire),
        )

    def _largest_error(self, wire: "_Wire") -> float:
        if wire.encoding is Encoding.FLOAT32:
            return 0.0
        outputs = wire.tail(self.samples)
        return max(relative_error(self.samples[n], a) for n, a in outputs.items())

    def _accuracy(self, wire: "_Wire") -> float | None:
        if self.labels is None:
            return None
        specs = self.runner.model.outputs
        given = np.concatenate([classes(wire.tail(known), specs) for known in self.labelled])
        if given.shape != self.labels.shape:
            raise DataError("labels", f"{len(self.labels)} labels for {len(given)} windows")
        return float(np.mean(given == self.labels))


@dataclass(frozen=True, slots=True)
class _Wire:
    """A point with an encoding: what the tail makes of what has travelled."""

    runner: Runner
    index: int
    activation: tuple[TensorSpec, ...]
    encoding: Encoding
    affines: Mapping[str, Affine]

    def tail(self, known: Mapping[str, Array]) -> Tensors:
        """Return the model's outputs from the tensors of a whole run in float32."""
        outputs = [s.name for s in self.runner.model.outputs]
        if self.encoding is Encoding.FLOAT32:
            return {n: known[n] for n in outputs}
        arrived = {}
        for spec in self.activation:
            affine = self.affines.get(spec.name)
            sent = encode(known[spec.name], self.encoding, affine, spec.is_batchable)
            arrived[spec.name] = decode(sent, spec, affine)
        result = self.runner.run(arrived, self.index)
        return {n: result[n] for n in outputs}


def _known(runner: Runner, windows: Mapping[str, Array] | None) -> list[Tensors]:
    """Return every tensor that may cross or leave, batch by batch."""
    if windows is None:
        return []
    return [runner.run(feed) for feed in batches(windows, runner.model.inputs, BATCH_WINDOWS)]


def _calibrated(
    runner: Runner, windows: Mapping[str, Array] | None, encodings: Collection[Encoding]
) -> dict[Encoding, dict[str, Affine]]:
    """Return the affines of every float32 tensor at a segment's border, by encoding.

    int8 spans what was seen; int4 is cut off where that is better. {} without windows.
    """
    if windows is None:
        return {}
    ranges: dict[str, tuple[float, float]] = {}
    for name, array in _borders(runner, windows):
        low, high = ranges.get(name, (np.inf, -np.inf))
        ranges[name] = min(low, float(array.min())), max(high, float(array.max()))
    affines = {}
    if Encoding.INT8 in encodings:
        affines[Encoding.INT8] = {
            n: calibrate(np.asarray(r, np.float32)) for n, r in ranges.items()
        }
    if Encoding.INT4 in encodings:
        spread = {n: Distribution(*r) for n, r in ranges.items()}
        for name, array in _borders(runner, windows):
            spread[name].add(array)
        affines[Encoding.INT4] = {n: d.affine(Encoding.INT4) for n, d in spread.items()}
    return affines


def _borders(runner: Runner, windows: Mapping[str, Array]) -> Iterator[tuple[str, Array]]:
    """Return the float32 tensors at the segments' borders by name, batch by batch."""
    for feed in batches(windows, runner.model.inputs, BATCH_WINDOWS):
        yield from ((n, a) for n, a in runner.run(feed).items() if a.dtype == np.float32)


def _offered(
    activation: Sequence[TensorSpec], is_last: bool, usable: Sequence[Encoding]
) -> tuple[Encoding, ...]:
    if is_last or not _floats(activation):
        return (Encoding.FLOAT32,)
    return tuple(e for e in usable if can_carry(e, activation))


def _floats(activation: Sequence[TensorSpec]) -> list[TensorSpec]:
    return [s for s in activation if s.dtype == "float32"]


def predict_costs(
    head: Operations, wires: Sequence[WireEncoding], profiles: Profiles
) -> tuple[Cost, ...]:
    """Return the cost of every encoding on every pair of profiles.

    At the last point what is priced as sent are the outputs, as the papers do.
    """
    costs = []
    for device, link, wire in itertools.product(profiles.devices, profiles.links, wires):
        compute = predict_compute(device, head)
        sent = predict_transmission(link, wire.bytes)
        costs.append(
            Cost(
                device_profile=device.name,
                link_profile=link.name,
                mode=link.mode,
                encoding=wire.encoding,
                head_s=compute.seconds,
                head_j=compute.joules,
                tx_s=sent.seconds,
                tx_j=sent.joules,
            )
        )
    return tuple(costs)
