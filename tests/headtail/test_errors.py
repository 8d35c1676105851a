"""Tests of the error tree."""

import inspect
import re

from headtail import errors


def test_the_tree_at_the_top_is_the_tree_below() -> None:
    """A reader who trusts the drawing is not misled: same names, same parents."""
    drawn: dict[str, str] = {}
    stack: list[str] = ["HeadtailError"]
    for line in (errors.__doc__ or "").splitlines():
        match = re.match(r"^([│ ]*)[├└]── (\w+)", line)
        if match:
            depth = len(match[1]) // 4 + 1
            stack[depth:] = [match[2]]
            drawn[match[2]] = stack[depth - 1]
    real = {
        name: kind.__base__.__name__
        for name, kind in inspect.getmembers(errors, inspect.isclass)
        if issubclass(kind, errors.HeadtailError) and kind is not errors.HeadtailError
    }
    assert real == drawn


def test_every_error_is_one_line() -> None:
    """Programs print an error as it is."""
    samples = (
        errors.BundleUnreadable("a.bundle", "no zip"),
        errors.DigestMismatch("a.bundle", "m", "00", "11"),
        errors.ShapeMismatch("segment 1 'x'", (-1, 2), (3, 4)),
        errors.Overloaded("fog a:1", "64 windows wait", 0.25),
        errors.ModelNotFound("m", "2", ["m 1"]),
        errors.VerificationFailed("point 1", 1e-3, 1e-5),
    )
    assert [""] * len(samples) == ["".join(str(e).splitlines(keepends=True)[1:]) for e in samples]
    assert "segment 1 'x': expected shape (any, 2), received (3, 4)" == str(samples[2])
    assert samples[3].retry_delay_s == 0.25
