"""The shape of one sampled layer: what it takes, gives and computes."""

from typing import Annotated, Literal

import msgspec

from headtail.operations import Operations, convolution_operations, dense_operations

MAX_VALUES = 1 << 17
MAX_MACS = 1 << 25
Kind = Literal["conv", "conv_transpose", "depthwise", "dense"]
KINDS: tuple[Kind, ...] = ("conv", "conv_transpose", "depthwise", "dense")

Extent = Annotated[int, msgspec.Meta(ge=1, le=1 << 16)]


class LayerShape(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One layer of the sampled space; lengths divide one another unless it is dense."""

    kind: Kind
    in_length: Extent
    in_channels: Extent
    out_length: Extent
    out_channels: Extent
    kernel: Extent = 1

    def __post_init__(self) -> None:
        if max(self.in_values, self.out_values) > MAX_VALUES or self.operations.macs > MAX_MACS:
            raise ValueError(f"a layer of more than {MAX_VALUES} values or {MAX_MACS} MACs")

    @property
    def stride(self) -> int:
        """Step over the longer of the two maps."""
        return max(self.in_length, self.out_length) // min(self.in_length, self.out_length)

    @property
    def in_values(self) -> int:
        """Values in the map that enters."""
        return self.in_length * self.in_channels

    @property
    def out_values(self) -> int:
        """Values in the map that leaves."""
        return self.out_length * self.out_channels

    @property
    def operations(self) -> Operations:
        """Operations of one window, bias additions not counted."""
        if self.kind == "dense":
            return dense_operations(self.in_values, self.out_values)
        if self.kind == "depthwise":
            return Operations(
                depthwise_macs=self.kernel * self.out_values,
                depthwise_parameters=(self.kernel + 1) * self.out_channels,
            )
        lengths = self.in_length, self.out_length
        return convolution_operations(self.kernel, lengths, (self.in_channels, self.out_channels))

    @property
    def rows(self) -> int:
        """Rows of the matrix of patches: one for each channel and place in the kernel.

        A convolution gathers it from its input and multiplies it (im2col); a transposed one
        multiplies first and scatters it into its output (col2im).
        """
        if self.kind == "dense":
            return 0
        is_transposed = self.kind == "conv_transpose"
        return self.kernel * (self.out_channels if is_transposed else self.in_channels)

    @property
    def patch_values(self) -> int:
        """Values of that matrix; of a dense layer, those that enter."""
        if self.kind == "dense":
            return self.in_values
        return self.rows * min(self.in_length, self.out_length)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of the input, batch first, channels before length."""
        if self.kind == "dense":
            return (1, self.in_values)
        return (1, self.in_channels, self.in_length)

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Shape of the output."""
        if self.kind == "dense":
            return (1, self.out_values)
        return (1, self.out_channels, self.out_length)


def activation_bytes(shape: LayerShape) -> int:
    """Return the bytes of both maps of a layer, float32."""
    return 4 * (shape.in_values + shape.out_values)
