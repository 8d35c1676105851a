"""Operation counts: what a piece of a network costs, before any device is named."""

import msgspec


class Operations(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Counts for one window (batch of 1); they add up over layers and segments.

    A MAC is one multiply-accumulate. `conv_macz` charges a transposed convolution as a stride-1
    convolution over the zero-stuffed input, l_out x k x c_in x c_out, and equals `conv_macs`
    for every other convolution: the count that the paper's energies follow.
    """

    conv_macs: int = 0
    conv_macz: int = 0
    conv_parameters: int = 0
    depthwise_macs: int = 0
    depthwise_parameters: int = 0
    dense_macs: int = 0
    dense_parameters: int = 0
    other_parameters: int = 0

    @property
    def macs(self) -> int:
        """All true MACs."""
        return self.conv_macs + self.depthwise_macs + self.dense_macs

    @property
    def parameters(self) -> int:
        """All parameters, biases included."""
        return (
            self.conv_parameters
            + self.depthwise_parameters
            + self.dense_parameters
            + self.other_parameters
        )

    def __add__(self, other: "Operations") -> "Operations":
        """Return the counts of two pieces together."""
        return Operations(
            **{f: getattr(self, f) + getattr(other, f) for f in self.__struct_fields__}
        )


def dense_operations(inputs: int, outputs: int) -> Operations:
    """Return the operations of a dense layer for one window, bias additions not counted.

    Args:
        inputs: Values that enter.
        outputs: Values that leave.
    """
    macs = inputs * outputs
    return Operations(dense_macs=macs, dense_parameters=macs + outputs)


def convolution_operations(
    kernel: int, lengths: tuple[int, int], channels: tuple[int, int]
) -> Operations:
    """Return the operations of a convolution over a length, plain or transposed, for one window.

    Taps that fall on the padding are counted, as in the exported graph; bias additions are not.

    Args:
        kernel: Taps.
        lengths: Of the map that enters and of the one that leaves.
        channels: Of the two maps.
    """
    weights = kernel * channels[0] * channels[1]
    return Operations(
        # A transposed convolution applies its kernel once per input position.
        conv_macs=weights * min(lengths),
        conv_macz=weights * lengths[1],
        conv_parameters=weights + channels[1],
    )
