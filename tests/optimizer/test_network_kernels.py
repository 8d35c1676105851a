"""Kernels of the family in strides: longer and shorter ones by hand, and what says nothing."""

import pytest

from optimizer.network import Genome


def test_kernels_that_say_nothing_are_left_out() -> None:
    """All of them one stride long, or those of layers that are left out or make a longer map."""
    plain = Genome((64, 16, 32), (1, 2, 2), classes=3)
    assert Genome((64, 16, 32), (1, 2, 2), 3, (1, 1, 1)).phenotype == plain
    assert Genome((64, 0, 16, 32), (1, 4, 2, 2), 3, (1, 5, 1, 3)).phenotype == plain
    assert Genome((64, 0, 16, 32), (1, 4, 2, 2), 3, (1, 5, 3, 3)).phenotype.kernels == (1, 3, 1)


def test_overlapping_kernels_by_hand() -> None:
    """64 samples to 16 values of 2 channels, 12 taps: 4 zeros on either side."""
    layer = Genome((64, 16), (1, 2), 3, (1, 3)).layers()[0]
    assert (4, 12, 4) == (layer.stride, layer.kernel, layer.padding)
    counts = layer.operations
    assert (16 * 12 * 2, 16 * 12 * 2) == (counts.conv_macs, counts.conv_macz)
    assert 12 * 2 + 2 == counts.parameters


def test_kernels_shorter_than_their_stride_by_hand() -> None:
    """2048 samples to 64 values, 14 taps of 32: samples between are left out, nothing is padded."""
    layer = Genome((2048, 64), (1, 1), 3, (1, 0.4375)).layers()[0]
    assert (32, 14, 0) == (layer.stride, layer.kernel, layer.padding)
    assert (64 * 14, 15) == (layer.operations.conv_macz, layer.operations.conv_parameters)


def test_parts_of_a_stride_are_whole_taps() -> None:
    """At least one; a stride of 1 has no part; equal networks are equal."""
    kernels = [(1, 0.45), (1, 0.55), (1, 0.5)]
    found = {Genome((64, 16), (1, 2), 3, k).phenotype.kernels for k in kernels}
    assert found == {(1, 0.5)}
    assert Genome((64, 16), (1, 2), 3, (1, 0.01)).phenotype.kernels == (1, 0.25)
    assert Genome((64, 64), (1, 2), 3, (1, 0.5)).phenotype.kernels == ()
    assert Genome((64, 16), (1, 2), 3, (1, 0.99)).phenotype.kernels == ()


@pytest.mark.parametrize("kernels", [(1,), (2, 1), (1, 0)])
def test_kernels_that_fit_no_network_are_refused(kernels: tuple[int, ...]) -> None:
    """One per map, the input's 1."""
    with pytest.raises(ValueError, match="kernels"):
        Genome((64, 16), (1, 2), 3, kernels)
