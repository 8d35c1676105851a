"""What the tail is asked and what it answers, as messages of the Open Inference Protocol."""

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from edge_agent.lane import Request
from edge_agent.plan import Plan
from edge_agent.sources.frame import Frame
from headtail.compression import PARAMETER as COMPRESSION
from headtail.compression import compress
from headtail.errors import DTypeMismatch, ShapeMismatch, TensorInvalid
from headtail.oip import RAW_INPUT_FIELD, InferResponse, InferWriter, Parameter
from headtail.protobuf import varint
from headtail.segment import Tensors
from headtail.tensor import OIP_DATATYPES, Array, TensorSpec, from_buffer, to_bytes
from headtail.wire import Encoding, encode

_IS_LITTLE_ENDIAN = sys.byteorder == "little"
_KNOWN_FRAMES = 64  # more only means that they are made again


class TailCodec:
    """Requests and replies of one plan's tail."""

    def __init__(self, plan: Plan, agent: str) -> None:
        """Write what never changes; `agent` names the sender."""
        self._plan = plan
        self._agent = agent
        self._outputs = plan.manifest.outputs
        self._only = _only_output(self._outputs)
        wire = plan.point.wire(plan.encoding)
        assert wire is not None, "choose_plan offers nothing else"
        self._wires = [
            (s.name, wire.affine.get(s.name), s.is_batchable) for s in plan.point.activation
        ]
        self._is_plain = plan.encoding is Encoding.FLOAT32 and not plan.compression
        # The one tensor that travels as it is, where it is the only one.
        self._only_name = self._wires[0][0] if self._is_plain and len(self._wires) == 1 else None
        self._frames: dict[tuple[object, ...], tuple[bytes | memoryview, ...]] = {}
        fixed: dict[str, Parameter] = {"agent": agent}
        if plan.compression:
            fixed[COMPRESSION] = plan.compression
        self._writer = InferWriter(
            plan.tail_name,
            plan.manifest.version,
            plan.wire_specs,
            RAW_INPUT_FIELD,
            fixed,
        )

    def request(
        self,
        frames: Sequence[Frame],
        activation: Tensors,
        now_s: float,
        deadline_s: float,
        more: Mapping[str, Parameter] | None = None,
    ) -> Request:
        """Return the message that asks for the outputs of `frames`.

        Args:
            frames: The windows, in order.
            activation: Theirs, by tensor name.
            now_s: Now, on the holder's monotonic clock.
            deadline_s: Until when the answer is wanted, on the same clock; the wire carries the
                milliseconds that remain.
            more: Parameters of the request beside its own.
        """
        name = self.request_id(frames)
        deadline_ms = max(1, round(1e3 * (deadline_s - now_s)))
        # From any origin: the fog compares how late windows come with how late others came.
        sent_ms = int(1e3 * now_s)
        if self._only_name is not None and len(frames) == 1 and not more:
            array = activation[self._only_name]
            content, view = self._write_one(name, frames[0], (deadline_ms, sent_ms), array)
            return Request(name, content, now_s, deadline_s, view)
        parameters: dict[str, Parameter] = {
            "sequences": ",".join([str(f.sequence) for f in frames]),
            "deadline_ms": deadline_ms,
            "sent_ms": sent_ms,
        }
        if more:
            parameters |= more
        contents: Sequence[bytes | memoryview] | None
        if self._is_plain:
            arrays = [activation[n] for n, _, _ in self._wires]
            contents = [_view(array) for array in arrays]
        else:
            arrays = self._encoded(activation)
            contents = [compress(to_bytes(a)) for a in arrays] if self._plan.compression else None
        content, body = self._writer.write_parts(name, parameters, arrays, contents)
        return Request(name, content, now_s, deadline_s, body)

    def _write_one(
        self, name: str, frame: Frame, times_ms: tuple[int, int], array: Array
    ) -> tuple[bytes, bytes | memoryview]:
        """Return the message of one window whose one tensor travels as it is, and that tensor.

        Almost all messages differ from one before in no length: what stands between their values
        is then known.
        """
        deadline_ms, sent_ms = times_ms
        view = _view(array)
        called, sequence = name.encode(), b"%d" % frame.sequence
        deadline, sent = varint(deadline_ms), varint(sent_ms)
        key = (len(called), len(sequence), len(deadline), len(sent), array.shape)
        parts = self._frames.get(key)
        if parts is None:
            parameters: dict[str, Parameter] = {
                "sequences": str(frame.sequence), "deadline_ms": deadline_ms, "sent_ms": sent_ms,
            }  # fmt: skip
            parts = self._writer.frame(name, parameters, [array], [view])
            if len(self._frames) >= _KNOWN_FRAMES:
                self._frames.clear()
            self._frames[key] = parts
        first, second, third, fourth, fifth, last = parts
        assert not last, "the tensor ends the message"
        return b"".join(
            (first, called, second, sequence, third, deadline, fourth, sent, fifth)
        ), view

    def _encoded(self, activation: Tensors) -> list[Array]:
        """Return the activation's tensors as they travel."""
        encoding = self._plan.encoding
        return [encode(activation[n], encoding, affine, rows) for n, affine, rows in self._wires]

    def request_id(self, frames: Sequence[Frame]) -> str:
        """Return the id of the request that brings windows; it stands in both programs' logs."""
        return f"{self._agent}/{frames[0].sequence}"

    def outputs(self, response: InferResponse, windows: int) -> Tensors:
        """Return the model's outputs for so many windows, by name.

        Raises:
            TensorError: If one is missing or not what the manifest says.
        """
        if self._only is None or len(response.outputs) != 1:
            return self._check_outputs(response, windows)
        (tensor,) = response.outputs
        name, datatype, dtype, shape, size = self._only
        has_shape = tensor.shape == (windows, *shape) and len(tensor.content) == windows * size
        if not has_shape or tensor.name != name or tensor.datatype != datatype:
            return self._check_outputs(response, windows)
        return {name: np.frombuffer(tensor.content, dtype).reshape(tensor.shape)}

    def _check_outputs(self, response: InferResponse, windows: int) -> Tensors:
        """Return the outputs as `outputs` does, or say what is wrong with them."""
        received = {t.name: t for t in response.outputs}
        outputs: Tensors = {}
        for spec in self._outputs:
            tensor = received.get(spec.name)
            if tensor is None:
                raise TensorInvalid("reply", f"output '{spec.name}'", ", ".join(received) or "none")
            if tensor.datatype != OIP_DATATYPES[spec.dtype]:
                raise DTypeMismatch(f"output '{spec.name}'", spec.dtype, tensor.datatype[:16])
            if spec.is_batchable and tensor.shape[:1] != (windows,):
                expected = (windows, *spec.shape[1:])
                raise ShapeMismatch(f"output '{spec.name}'", expected, tensor.shape)
            outputs[spec.name] = from_buffer(tensor.content, spec, tensor.shape)
        return outputs


def _view(array: Array) -> bytes | memoryview:
    """Return the little-endian row-major bytes of an array, without a copy where it can be."""
    is_plain = _IS_LITTLE_ENDIAN and array.dtype.isnative and array.flags.c_contiguous
    return array.data.cast("B") if is_plain and array.ndim else to_bytes(array)


def _only_output(
    specs: Sequence[TensorSpec],
) -> tuple[str, str, np.dtype[Any], tuple[int, ...], int] | None:
    """Return what is known of the one output of windows that may be many; else None.

    Name, datatype, dtype, shape of one window, and its bytes.
    """
    if len(specs) != 1 or not specs[0].is_batchable or -1 in specs[0].shape[1:]:
        return None
    (spec,) = specs
    dtype = np.dtype(spec.dtype).newbyteorder("<")
    return spec.name, OIP_DATATYPES[spec.dtype], dtype, spec.shape[1:], spec.window_bytes


def seconds(response: InferResponse, parameter: str) -> float:
    """Return a duration that the fog states in nanoseconds; 0 where it states none."""
    value = response.parameters.get(parameter, 0)
    return value / 1e9 if isinstance(value, int) else 0.0
