"""The 1-D network family of the search: genome, layers, operations, footprints.

Source of the family and its formulae: energy-aware NAS with partitioning. Layer i maps a map of
`in_length` x `in_channels` to `out_length` x `out_channels`: a convolution where the length
shrinks or stays, a transposed convolution where it grows; a dense layer ends it. The paper's layers
have kernel = stride; here that of a plain convolution may also be a multiple of its stride, so that
neighbours overlap, or a part of it, so that samples between neighbours are left out.
"""

import itertools
from dataclasses import dataclass
from typing import Annotated, Literal

import msgspec

from headtail.operations import Operations, convolution_operations, dense_operations

BYTES_PER_VALUE = 4  # float32, in Flash and in RAM

Size = Annotated[int, msgspec.Meta(ge=1, le=1 << 20)]
LengthGene = Annotated[int, msgspec.Meta(ge=0, le=1 << 20)]
Multiple = Annotated[int, msgspec.Meta(ge=1, le=64)] | Annotated[float, msgspec.Meta(gt=0, lt=1)]


@dataclass(frozen=True, slots=True)
class Layer:
    """One weight layer; a dense layer has `out_length` classes and one channel."""

    kind: Literal["conv", "conv_transpose", "dense"]
    in_length: int
    in_channels: int
    out_length: int
    out_channels: int
    multiple: Multiple = 1
    """Kernel in strides, other than 1 for a plain convolution only; more than 1 is zero-padded as
    Keras' "same"."""

    @property
    def stride(self) -> int:
        """Stride of a convolution, plain or transposed; 1 for a dense layer."""
        if self.kind == "conv":
            return self.in_length // self.out_length
        return self.out_length // self.in_length if self.kind == "conv_transpose" else 1

    @property
    def kernel(self) -> int:
        """Taps of a convolution, plain or transposed, at least 1; 1 for a dense layer."""
        return max(1, round(self.stride * self.multiple))

    @property
    def padding(self) -> int:
        """Zeros before the map: half of what the kernel is longer than the stride, rounded down."""
        return max(0, self.kernel - self.stride) // 2

    @property
    def operations(self) -> Operations:
        """Operations of one window, bias additions not counted."""
        if self.kind == "dense":
            return dense_operations(self.in_values, self.out_values)
        lengths = self.in_length, self.out_length
        return convolution_operations(self.kernel, lengths, (self.in_channels, self.out_channels))

    @property
    def in_values(self) -> int:
        """Values in the map that enters."""
        return self.in_length * self.in_channels

    @property
    def out_values(self) -> int:
        """Values in the map that leaves."""
        return self.out_length * self.out_channels


@dataclass(frozen=True, slots=True)
class HeadFootprint:
    """What the edge holds and computes when the first `point` layers run there.

    The paper counts the input as layer 1, so its "partition point 3" is `point` 2.
    """

    point: int
    operations: Operations
    flash_bytes: int
    """4 bytes for each parameter."""
    ram_bytes: int
    """Largest sum of two successive maps, 4 bytes for each value."""
    activation_values: int
    """Values that cross: the input at 0, the class scores at the end."""


class Genome(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One network: the input's length and channels, then those of each hidden layer.

    `lengths` and `channels` are the paper's printed lists without the last entry, which is
    `classes`. A hidden length of 0 leaves its layer out. `kernels` are in strides, one per map, of
    which the input's is 1, parts of a stride rounded to whole taps; none means 1 everywhere.
    A layer that makes its map longer has 1, whatever its entry says: the exporter crops overlapping
    transposed convolutions at run time.
    """

    lengths: tuple[LengthGene, ...]
    channels: tuple[Size, ...]
    classes: Size
    kernels: tuple[Multiple, ...] = ()

    def __post_init__(self) -> None:
        if len(self.lengths) != len(self.channels) or not self.lengths:
            raise ValueError(
                "lengths and channels must be equally many, at least one; received"
                f" {len(self.lengths)} and {len(self.channels)}"
            )
        if min(self.lengths) < 0 or min(*self.channels, self.classes) < 1:
            raise ValueError("lengths must be at least 0, channels and classes at least 1")
        if self.kernels and len(self.kernels) != len(self.lengths):
            raise ValueError(
                "kernels must be none or as many as lengths; received"
                f" {len(self.kernels)} and {len(self.lengths)}"
            )
        if self.kernels and (min(self.kernels) <= 0 or self.kernels[0] != 1):
            raise ValueError("kernels must be more than 0, and kernels[0], the input's, 1")
        if self.lengths[0] == 0:
            raise ValueError("lengths[0] is the input's and cannot be 0")
        kept = [n for n in self.lengths if n]
        for before, after in itertools.pairwise(kept):
            if max(before, after) % min(before, after):
                raise ValueError(
                    f"lengths {before} and {after} follow one another, but neither divides the"
                    " other, so no stride maps one to the other"
                )

    @property
    def phenotype(self) -> "Genome":
        """The same network without genes that say nothing; equal networks have equal ones."""
        kept = [i for i, length in enumerate(self.lengths) if length]
        lengths = tuple(self.lengths[i] for i in kept)
        kernels: tuple[Multiple, ...] = ()
        if self.kernels:
            hidden = [self.kernels[i] for i in kept[1:]]
            steps = zip(itertools.pairwise(lengths), hidden, strict=True)
            kernels = (1, *(said_kernel(*pair, multiple) for pair, multiple in steps))
        return Genome(
            lengths,
            tuple(self.channels[i] for i in kept),
            self.classes,
            kernels if any(k != 1 for k in kernels) else (),
        )

    def layers(self) -> tuple[Layer, ...]:
        """Return the weight layers in order, the dense one last."""
        network = self.phenotype
        maps = list(zip(network.lengths, network.channels, strict=True))
        multiples = network.kernels[1:] or (1,) * (len(maps) - 1)
        hidden = [
            Layer("conv" if after[0] <= before[0] else "conv_transpose", *before, *after, multiple)
            for (before, after), multiple in zip(itertools.pairwise(maps), multiples, strict=True)
        ]
        return (*hidden, Layer("dense", *maps[-1], self.classes, 1))

    def footprints(self) -> tuple[HeadFootprint, ...]:
        """Return the head's footprint at every partition point, 0 to the number of layers."""
        layers = self.layers()
        operations, ram_bytes = Operations(), 0
        footprints = [HeadFootprint(0, operations, 0, 0, layers[0].in_values)]
        for point, layer in enumerate(layers, start=1):
            operations += layer.operations
            ram_bytes = max(ram_bytes, BYTES_PER_VALUE * (layer.in_values + layer.out_values))
            flash_bytes = BYTES_PER_VALUE * operations.parameters
            footprints.append(
                HeadFootprint(point, operations, flash_bytes, ram_bytes, layer.out_values)
            )
        return tuple(footprints)


def said_kernel(before: int, after: int, multiple: Multiple) -> Multiple:
    """Return what a layer's kernel is in strides; its entry may say the same otherwise, or nothing.

    A part of a stride is one of whole taps, and a map that gets longer has kernel = stride.
    """
    if after > before:
        return 1
    stride = before // after
    taps = max(1, round(stride * multiple))
    return taps / stride if taps < stride else multiple if multiple >= 1 else 1
