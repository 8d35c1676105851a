"""Freeze masks: which layers of a network are trained."""

import math

FreezeMask = tuple[bool, ...]
"""One bool per layer: whether it is trained."""


def mask_text(mask: FreezeMask) -> str:
    """Return a mask as the histories hold it: "1" for a trained layer, "0" for a frozen one."""
    return "".join("1" if is_trained else "0" for is_trained in mask)


def parse_mask(text: str) -> FreezeMask:
    """Return the mask that `mask_text` wrote."""
    return tuple(letter == "1" for letter in text)


def tail_mask(count: int, share: float) -> FreezeMask:
    """Return the mask that trains the last layers only.

    Args:
        count: Layers of the model.
        share: Part of them that is trained, 0 to 1; rounded up.
    """
    trained = min(count, math.ceil(round(share * count, 6)))
    return (False,) * (count - trained) + (True,) * trained
