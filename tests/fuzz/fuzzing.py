"""How the fuzzers damage what is good, and how long they look."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

BRIEF, LONG = 40, 3000
"""Examples in `make test`, and where slow tests run."""
Check = Callable[..., None]
SCALARS = st.one_of(
    st.sampled_from([0, -1, 1, 2**31, 2**63 - 1, -(2**63), 10**30, 1e308, -0.0, 5e-324]),
    st.sampled_from(["", "\0", "\n", "../x", "a" * 5000, "\u202e", "1e999", "nan", "{}", "'"]),
    st.sampled_from([None, True, False]),
    st.text(max_size=8),
    st.floats(allow_nan=False, allow_infinity=False),
)
VALUES = st.one_of(
    SCALARS,
    st.lists(SCALARS, max_size=3),
    st.dictionaries(st.text(max_size=4), SCALARS, max_size=2),
)


def fuzz(check: Check, **strategies: st.SearchStrategy[Any]) -> tuple[Check, Check]:
    """Return `check` as a brief test and as a slow one."""
    kinds = {"deadline": None, "suppress_health_check": list(HealthCheck)}
    brief = settings(max_examples=BRIEF, **kinds)(given(**strategies)(check))
    long = settings(max_examples=LONG, **kinds)(given(**strategies)(check))
    return brief, pytest.mark.slow(long)


@st.composite
def damaged(draw: st.DrawFn, good: bytes) -> bytes:
    """Draw bytes near `good`: cut, changed, inserted, repeated, left out, or numbers made huge."""
    data = bytearray(good)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        size = draw(st.integers(1, 16))
        action = draw(st.sampled_from(["cut", "change", "insert", "repeat", "remove", "huge"]))
        if action == "cut":
            del data[at:]
        elif action == "change":
            data[at : at + size] = draw(st.binary(min_size=1, max_size=size))
        elif action == "insert":
            data[at:at] = draw(st.binary(min_size=1, max_size=size))
        elif action == "repeat":
            data[at:at] = data[at : at + size] * draw(st.sampled_from([1, 3, 200]))
        elif action == "remove":
            del data[at : at + size]
        else:
            data[at : at + 4] = draw(st.sampled_from([b"\xff" * 4, b"\0" * 4, b"\xff\xff\xff\x7f"]))
    return bytes(data)


@st.composite
def damaged_tree(draw: st.DrawFn, good: Any) -> Any:
    """Draw a tree of dicts and lists near `good`: one place gets another value, key, or goes."""
    path = []
    node = good
    while isinstance(node, dict | list) and node and (not path or draw(st.integers(0, 5))):
        keys = sorted(node) if isinstance(node, dict) else list(range(len(node)))
        path.append(draw(st.sampled_from(keys)))
        node = node[path[-1]]
    action = draw(st.sampled_from(["replace", "replace", "remove", "add", "double"]))
    return _edited(good, path, action, draw(VALUES))


def _edited(node: Any, path: list[Any], action: str, value: Any) -> Any:
    if not path:
        return value
    copy = dict(node) if isinstance(node, dict) else list(node)
    key, rest = path[0], path[1:]
    if rest:
        copy[key] = _edited(node[key], rest, action, value)
    elif action == "remove":
        del copy[key]
    elif action == "add" and isinstance(copy, dict):
        copy["foreign"] = value
    elif action == "double" and isinstance(copy, list):
        copy.insert(key, copy[key])
    else:
        copy[key] = value
    return copy
