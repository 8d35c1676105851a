"""Layouts: where in a message like one read before the parts lie that may differ.

The messages of a stream differ in their id, the values of some parameters and the tensors, while
every length stays. A layout is learned from a message that was read in full. Another one of the
same size, with the same bytes everywhere else, is then cut up in one call and not parsed; what is
large in it becomes a view.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Generic, TypeVar

from headtail.oip_message import Content, InferRequest, InferResponse, Parameter, Tensor
from headtail.protobuf import LENGTH_DELIMITED, VARINT, Field, Malformed, fields

_ID, _PARAMETERS = 3, 4  # of both messages
_INT64, _STRING = 2, 3  # InferParameter
_MAX_INT_BYTES = 9  # a longer one is negative, and taken to stay
# What is kept: at most 128 layouts of 4 KiB; more only means that messages are parsed.
_SIZES, _PER_SIZE, _MAX_BYTES = 32, 4, 4 << 10
_VIEWED_BYTES = 1 << 10  # a tensor of this size is viewed, of which nothing is kept

_CONTINUED = [sum(0x80 << 8 * i for i in range(size)) for size in range(_MAX_INT_BYTES + 1)]

Message = TypeVar("Message", bound=InferRequest | InferResponse)
Span = tuple[int, int]


@dataclass(slots=True)
class _Places:
    """The parts of a message that may differ: data[start:stop] each."""

    ids: list[Span] = field(default_factory=list)
    texts: list[tuple[str, Span]] = field(default_factory=list)
    ints: list[tuple[str, Span]] = field(default_factory=list)
    raw: list[Span] = field(default_factory=list)
    parameters: int = 0


class _Layout(Generic[Message]):
    """How to cut up messages that are like one."""

    def __init__(
        self, data: Content, places: _Places, like: Message, tensors: Sequence[Tensor]
    ) -> None:
        """Note where the parts lie in `data`, which says what `like` says."""
        named = [*places.texts, *places.ints]
        spans = sorted([*places.ids, *(span for _, span in named), *places.raw])
        viewed = {span for span in places.raw if span[1] - span[0] >= _VIEWED_BYTES}
        kinds, fixed, index, at = "", [0], {}, 0
        for start, stop in spans:
            # Before each part lies what stays; a view's bytes are left out of what is cut.
            is_viewed = (start, stop) in viewed
            kinds += f"{start - at}s{stop - start}{'x' if is_viewed else 's'}"
            if not is_viewed:
                index[start, stop] = fixed[-1] + 1
            fixed.append(fixed[-1] + (1 if is_viewed else 2))
            at = stop
        kinds += f"{len(data) - at}s"
        self._cut = struct.Struct(kinds).unpack
        self._take_fixed = itemgetter(*fixed)
        self._fixed = self._take_fixed(self._cut(data))
        self._id = index[places.ids[0]]
        self._texts = [(name, index[span]) for name, span in places.texts]
        self._ints = [(name, index[span]) for name, span in places.ints]
        self._tensors = [
            (t.name, t.datatype, t.shape, index.get(span, -1), slice(*span))
            for t, span in zip(tensors, places.raw, strict=True)
        ]
        # Most messages have one tensor, and a large one.
        self._view: tuple[str, str, tuple[int, ...], slice] | None = None
        if len(self._tensors) == 1 and self._tensors[0][3] < 0:
            name, datatype, shape, _, place = self._tensors[0]
            self._view = name, datatype, shape, place
        self.like = like

    def read(self, data: Content) -> tuple[str, dict[str, Parameter], tuple[Tensor, ...]] | None:
        """Return id, parameters and tensors of `data`, which is as large; None if it differs."""
        parts = self._cut(data)
        if self._take_fixed(parts) != self._fixed:
            return None
        parameters = dict(self.like.parameters)
        try:
            for name, i in self._texts:
                parameters[name] = parts[i].decode()
            for name, i in self._ints:
                parameters[name] = _integer(parts[i])
            if self._view is not None:
                name, datatype, shape, place = self._view
                tensors: tuple[Tensor, ...] = (
                    Tensor(name, datatype, shape, memoryview(data)[place]),
                )
            else:
                tensors = tuple(
                    Tensor(n, d, s, parts[i] if i >= 0 else memoryview(data)[place])
                    for n, d, s, i, place in self._tensors
                )
            return parts[self._id].decode(), parameters, tensors
        except ValueError:  # no UTF-8, or no varint of this length
            return None


class Layouts(Generic[Message]):
    """The layouts of one kind of message, by size; several threads may use them at once."""

    def __init__(self, raw_field: int) -> None:
        """Know none; `raw_field` is the number of the raw tensors."""
        self._raw_field = raw_field
        self._by_size: dict[int, tuple[_Layout[Message], ...]] = {}

    @property
    def count(self) -> int:
        """How many are known."""
        return sum(map(len, self._by_size.values()))

    def read(
        self, data: Content
    ) -> tuple[_Layout[Message], str, dict[str, Parameter], tuple[Tensor, ...]] | None:
        """Return the layout of `data`, and its id, parameters and tensors.

        None where nothing like it was learned.
        """
        for layout in self._by_size.get(len(data), ()):
            found = layout.read(data)
            if found is not None:
                return layout, *found
        return None

    def learn(self, data: Content, start: int, like: Message, tensors: Sequence[Tensor]) -> None:
        """Remember how `data` is laid out, unless it is in any way unusual.

        Args:
            data: A message that was read in full; it fills data[start:].
            start: Bytes of a message around it, which stay.
            like: What it says.
            tensors: Its tensors.
        """
        views = (len(t.content) for t in tensors if isinstance(t.content, memoryview))
        # Only raw tensors are views, so what is walked below is small too.
        if len(data) - sum(n for n in views if n >= _VIEWED_BYTES) > _MAX_BYTES:
            return
        try:
            places = self._places(data, start)
        except Malformed:
            return
        if (len(places.ids), len(places.raw), places.parameters) != (
            1, len(tensors), len(like.parameters),
        ):  # fmt: skip
            return
        known = self._by_size.get(len(data), ())[: _PER_SIZE - 1]
        if len(self._by_size) >= _SIZES:
            self._by_size = {}
        self._by_size[len(data)] = (_Layout(data, places, like, tensors), *known)

    def _places(self, data: Content, start: int) -> _Places:
        places = _Places()
        for f in fields(data, start, len(data)):
            if f.wire_type != LENGTH_DELIMITED:
                continue
            if f.number == _ID:
                places.ids.append((f.content, f.stop))
            elif f.number == self._raw_field:
                places.raw.append((f.content, f.stop))
            elif f.number == _PARAMETERS:
                places.parameters += 1
                _place_parameter(data, f, places)
        return places


def _place_parameter(data: Content, entry: Field, places: _Places) -> None:
    """Note the value of one entry of the map: a name, then a string or a short integer."""
    parts = list(fields(data, entry.content, entry.stop))
    if [(p.number, p.wire_type) for p in parts] != [(1, LENGTH_DELIMITED), (2, LENGTH_DELIMITED)]:
        raise Malformed("unusual")
    name = bytes(data[parts[0].content : parts[0].stop]).decode()
    choices = list(fields(data, parts[1].content, parts[1].stop))
    if len(choices) != 1:
        raise Malformed("unusual")
    kind, span = (choices[0].number, choices[0].wire_type), (choices[0].content, choices[0].stop)
    if kind == (_STRING, LENGTH_DELIMITED):
        places.texts.append((name, span))
    elif kind == (_INT64, VARINT) and span[1] - span[0] <= _MAX_INT_BYTES:
        places.ints.append((name, span))


def _integer(data: bytes) -> int:
    """Return the varint that fills `data`, at most 9 bytes."""
    # All but the last byte of a varint have the highest bit.
    size, value = len(data), int.from_bytes(data, "little")
    if value & _CONTINUED[size] != _CONTINUED[size - 1]:
        raise Malformed("no varint of this length")
    if size <= 4:
        return value & 0x7F | value >> 1 & 0x3F80 | value >> 2 & 0x1FC000 | value >> 3 & 0xFE00000
    total = 0
    for shift in range(size):
        total |= (value >> shift) & (0x7F << 7 * shift)
    return total
