"""What the spool keeps of a window, and how its tensors become bytes and tensors again."""

import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from edge_agent.plan import Plan
from edge_agent.sources.frame import Frame
from headtail.errors import SpoolError, TensorError
from headtail.segment import Tensors
from headtail.tensor import Array, TensorSpec, from_buffer, to_bytes
from headtail.wire import decode

_Tensor = tuple[tuple[int, ...], bytes]
_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(list[_Tensor])


@dataclass(frozen=True, slots=True)
class Entry:
    """One window that waits for its result to be in the sink."""

    sequence: int
    sample: int
    """Position in the source."""
    place: str
    """The position by name, where the source has names; only the last one's is kept."""
    truth: int | None
    bundle: str
    """Digest of the bundle whose tail answers it."""
    point: int
    encoding: str
    is_activation: bool
    """Whether `payload` is the activation as it travels, or the model's inputs."""
    payload: bytes
    stored_s: float
    """Wall clock, seconds since 1970."""


class Packer:
    """Makes entries of a bundle's windows: of activation and inputs, what is smaller."""

    def __init__(
        self,
        plan: Plan,
        bundle: str,
        clock: Callable[[], float] = time.time,
        only_inputs: bool = False,
    ) -> None:
        """Remember the usual plan; `bundle` is the digest, `clock` the wall's.

        With `only_inputs` neither activation nor plan is kept: they are another bundle's.
        """
        self._only_inputs = only_inputs
        self._plan = plan
        self._bundle = bundle
        self._clock = clock
        self._names = [s.name for s in plan.manifest.inputs]
        self._is_batchable = plan.manifest.is_batchable

    def size(self, frames: Sequence[Frame], plan: Plan | None = None) -> int:
        """Return about how many bytes the payloads of `frames` will have, under `plan`."""
        inputs = _bytes(frames[0].tensors)
        payload_bytes = self._under(plan).payload_bytes
        return len(frames) * (inputs if self._only_inputs else min(payload_bytes, inputs))

    def pack(
        self, frames: Sequence[Frame], activation: Tensors, plan: Plan | None = None
    ) -> list[Entry]:
        """Return the entries of windows that went through the head together, under `plan`."""
        under = self._under(plan)
        is_smaller = under.payload_bytes < _bytes(frames[0].tensors)
        is_activation = is_smaller and not self._only_inputs
        rows = self._rows(activation, under) if is_activation else []
        now_s = self._clock()
        return [
            Entry(
                sequence=frame.sequence,
                sample=frame.sample,
                place=frame.place,
                truth=frame.truth,
                bundle=self._bundle,
                point=under.point.index,
                encoding=under.encoding.value,
                is_activation=is_activation,
                payload=_pack([r[i] for r in rows] if rows else self._inputs(frame)),
                stored_s=now_s,
            )
            for i, frame in enumerate(frames)
        ]

    def _under(self, plan: Plan | None) -> Plan:
        """Return the plan that entries name."""
        return self._plan if plan is None or self._only_inputs else plan

    def _rows(self, activation: Tensors, plan: Plan) -> list[Sequence[Array]]:
        """Return per tensor its windows, as they travel, without the batch axis."""
        encoded = plan.encode(activation)
        return [[array] if not self._is_batchable else list(array) for array in encoded]

    def _inputs(self, frame: Frame) -> list[Array]:
        return [frame.tensors[name] for name in self._names]


def unpack(entry: Entry, plan: Plan, where: str) -> dict[str, Array]:
    """Return the tensors of one entry: inputs, or the activation decoded; no batch axis.

    Args:
        entry: What was kept.
        plan: The one it was made under.
        where: Names the spool in errors.

    Raises:
        SpoolError: If the bytes are not those of the plan's tensors.
    """
    specs = plan.point.activation if entry.is_activation else plan.manifest.inputs
    stored = plan.wire_specs if entry.is_activation else specs
    wire = plan.point.wire(plan.encoding)
    affine = wire.affine if wire else {}
    try:
        tensors = _decoder.decode(entry.payload)
        if len(tensors) != len(specs):
            raise ValueError(f"expected {len(specs)} tensors, received {len(tensors)}")
        return {
            spec.name: decode(
                from_buffer(content, _window(kept), shape), _window(spec), affine.get(spec.name)
            )
            for spec, kept, (shape, content) in zip(specs, stored, tensors, strict=True)
        }
    except (msgspec.MsgspecError, TensorError, ValueError) as error:
        raise SpoolError(where, f"corrupt: window {entry.sequence}: {error}") from error


def checksum(payload: bytes) -> int:
    """Return the CRC-32 that is stored beside a payload: SQLite's pages have none."""
    return zlib.crc32(payload)


def _pack(arrays: Sequence[Array]) -> bytes:
    return _encoder.encode([(array.shape, to_bytes(array)) for array in arrays])


def _window(spec: TensorSpec) -> TensorSpec:
    """Return the spec of one window, which has no batch axis."""
    return msgspec.structs.replace(spec, shape=spec.shape[spec.is_batchable :])


def _bytes(tensors: Mapping[str, Array]) -> int:
    return sum(a.nbytes for a in tensors.values())
