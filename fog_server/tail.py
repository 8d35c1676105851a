"""A tail: the segments from one partition point on, fed with one wire encoding."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fog_server.inflate import inflate
from headtail.bundle import Bundle
from headtail.bundle.manifest import Manifest
from headtail.errors import DTypeMismatch, ShapeMismatch, TensorInvalid
from headtail.oip import RAW_OUTPUT_FIELD, InferWriter, Tensor
from headtail.segment import Chain, Range
from headtail.tensor import OIP_DATATYPES, Array, TensorSpec, aligned, check_finite, from_buffer
from headtail.wire import Affine, Encoding, decode, wire_specs

DTYPES = {datatype: dtype for dtype, datatype in OIP_DATATYPES.items()}


@dataclass(frozen=True, slots=True)
class Tail:
    """One served model; several threads may use it at once."""

    name: str
    version: str
    point: int
    inputs: tuple[TensorSpec, ...]
    """What travels, in the activation's order."""
    activation: tuple[TensorSpec, ...]
    """What the segments take: the same tensors before they were encoded."""
    outputs: tuple[TensorSpec, ...]
    affine: Mapping[str, Affine]
    is_batchable: bool
    chain: Chain
    writer: InferWriter

    def decode(
        self, tensors: Sequence[Tensor], max_batch: int, is_deflated: bool = False
    ) -> dict[str, Array]:
        """Return the activation that travelled as `tensors`, each as a zlib stream or as it is.

        Raises:
            TensorError: If a tensor is missing, unknown or not as its spec says, or is not finite.
        """
        activation = {}
        tensors = self._ordered(tensors)
        if is_deflated:
            tensors = inflate(tensors, self.inputs, max_batch, self.name)
        for spec, real, tensor in zip(self.inputs, self.activation, tensors, strict=True):
            if tensor.datatype != OIP_DATATYPES[spec.dtype]:
                dtype = DTYPES.get(tensor.datatype, f"'{tensor.datatype[:16]}'")
                raise DTypeMismatch(self.where(spec), spec.dtype, dtype)
            array = from_buffer(tensor.content, spec, tensor.shape)
            if self.is_batchable and len(array) > max_batch:  # before it becomes eight times larger
                raise TensorInvalid(
                    f"model '{self.name}'",
                    f"at most {max_batch} windows a request",
                    str(len(array)),
                )
            array = aligned(array)
            if array.dtype.kind == "f":
                check_finite(array, self.where(spec))
            activation[spec.name] = decode(array, real, self.affine.get(spec.name))
        if self.is_batchable and len(activation) > 1:
            self._check_batch(activation)
        return activation

    def run(self, activation: Mapping[str, Array]) -> Mapping[str, Array]:
        """Return the model's outputs by name."""
        return self.chain.tail(activation, self.point)

    def answer_writer(self, wanted: Sequence[str]) -> InferWriter:
        """Return what writes the outputs asked for; none named means all.

        Raises:
            TensorInvalid: If an output is not one of the model's.
        """
        if not wanted:
            return self.writer
        specs = {s.name: s for s in self.outputs}
        for name in wanted:
            if name not in specs:
                raise TensorInvalid(
                    f"model '{self.name}' outputs", ", ".join(specs), f"'{name[:64]}'"
                )
        chosen = [specs[name] for name in dict.fromkeys(wanted)]
        return InferWriter(self.name, self.version, chosen, RAW_OUTPUT_FIELD)

    def windows(self, activation: Mapping[str, Array]) -> int:
        """Return how many windows an activation holds."""
        return len(activation[self.inputs[0].name]) if self.is_batchable else 1

    def _ordered(self, tensors: Sequence[Tensor]) -> Sequence[Tensor]:
        """Return a request's tensors in the order of `inputs`."""
        if len(tensors) == 1 == len(self.inputs) and tensors[0].name == self.inputs[0].name:
            return tensors
        received = {t.name: t for t in tensors}
        if len(received) != len(tensors) or received.keys() != {s.name for s in self.inputs}:
            expected = ", ".join(s.name for s in self.inputs)
            names = ", ".join(t.name for t in tensors) or "none"
            raise TensorInvalid(f"model '{self.name}' inputs", expected, names)
        return [received[spec.name] for spec in self.inputs]

    def where(self, spec: TensorSpec) -> str:
        """Return what errors call an input."""
        return f"model '{self.name}' input '{spec.name}'"

    def _check_batch(self, activation: Mapping[str, Array]) -> None:
        first = self.windows(activation)
        for name, array in activation.items():
            if len(array) != first:
                expected = (first, *array.shape[1:])
                raise ShapeMismatch(f"model '{self.name}' input '{name}'", expected, array.shape)


def warm_up(bundle: Bundle, chain: Chain, batches: Sequence[int]) -> None:
    """Run every tail with every batch size, so that the first requests find all of it ready.

    Args:
        bundle: Its samples, repeated, are what is run.
        chain: The bundle's.
        batches: Windows of each run; those of a model without a batch dimension are one.
    """
    manifest = bundle.manifest
    inputs = bundle.samples.inputs
    for windows in batches if manifest.is_batchable else (1,):
        if manifest.is_batchable:
            inputs = {n: _repeated(a, windows) for n, a in bundle.samples.inputs.items()}
        known = inputs
        for point in manifest.points[:-1]:
            chain.tail({spec.name: known[spec.name] for spec in point.activation}, point.index)
            known = chain.run(known, point.index, point.index + 1)


def _repeated(array: Array, windows: int) -> Array:
    return np.resize(array, (windows, *array.shape[1:]))


def tail_ranges(manifest: Manifest) -> list[Range]:
    """Return the segments of every tail, those of the default point first."""
    stop = len(manifest.segments)
    points = sorted(range(stop), key=lambda point: point != manifest.default_point)
    return [(point, stop) for point in points]


def tails(manifest: Manifest, chain: Chain) -> list[Tail]:
    """Return everything a bundle serves: the whole model, and each tail by point and encoding."""
    served = [_tail(manifest, chain, manifest.name, 0, Encoding.FLOAT32)]
    for point in manifest.points[:-1]:
        for wire in point.encodings:
            name = manifest.tail_name(point.index, wire.encoding)
            served.append(_tail(manifest, chain, name, point.index, wire.encoding))
    return served


def _tail(manifest: Manifest, chain: Chain, name: str, index: int, encoding: Encoding) -> Tail:
    point = manifest.points[index]
    wire = point.wire(encoding)
    assert wire is not None, "every point offers float32, and the others are its own"
    return Tail(
        name=name,
        version=manifest.version,
        point=index,
        inputs=wire_specs(point.activation, encoding),
        activation=point.activation,
        outputs=manifest.outputs,
        affine=wire.affine,
        is_batchable=manifest.is_batchable,
        chain=chain,
        writer=InferWriter(name, manifest.version, manifest.outputs, RAW_OUTPUT_FIELD),
    )
