"""Merged graphs give what their segments give, and anything unusual stays apart."""

import contextlib
import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headtail.bundle import read_bundle
from headtail.onnx_merge import MAX_BYTES, NotMergeable, merge_graphs
from headtail.protobuf import field, fields
from headtail.segment import Chain, SessionOptions, load_session, relative_error

CHAIN = Path(__file__).parents[1] / "testdata" / "chain"
SEGMENTS = [(CHAIN / f"{i}.onnx").read_bytes() for i in range(3)]


@pytest.fixture(params=["chain", "fixed"])
def bundle(request, tmp_path, write_test_bundle, trust):
    """Return one of the test models, read."""
    return read_bundle(write_test_bundle(tmp_path, model=request.param), trust)


def random_inputs(bundle, rng):
    """Return one window."""
    return {
        s.name: (rng.standard_normal(s.window_shape) * 3).astype(s.dtype)
        for s in bundle.manifest.inputs
    }


def test_a_merged_chain_equals_its_segments_at_every_point(bundle) -> None:
    """Every range that a head or a tail can be, on 64 random windows."""
    count = len(bundle.segments)
    apart, merged = Chain(bundle), Chain(bundle)
    ranges = list(itertools.combinations(range(count + 1), 2))
    merged.merge(bundle, ranges)
    assert all(merged.is_merged(*r) for r in ranges)
    assert not any(apart.is_merged(*r) for r in ranges if r[1] - r[0] > 1)
    rng = np.random.default_rng(4)
    for _ in range(64):
        inputs = random_inputs(bundle, rng)
        for point in range(count + 1):
            activation, expected = apart.head(inputs, point), merged.head(inputs, point)
            assert list(activation) == list(expected)
            for name, array in expected.items():
                assert relative_error(activation[name], array) <= 1e-6
            outputs = apart.tail(activation, point), merged.tail(activation, point)
            assert list(outputs[0]) == list(outputs[1])
            assert relative_error(outputs[0]["y"], outputs[1]["y"]) <= 1e-6


def test_a_chain_in_part_merged_passes_its_self_test(bundle) -> None:
    chain = Chain(bundle)
    chain.merge(bundle, [(0, len(bundle.segments))])
    assert chain.self_test(bundle) <= 1e-5
    chain.merge(bundle, [(0, 2), (0, len(bundle.segments))])
    assert chain.self_test(bundle) <= 1e-5


def test_a_merged_graph_that_fails_its_self_test_is_not_used(
    tmp_path, write_test_bundle, trust, caplog
) -> None:
    """The recorded outputs are what counts; here they are wrong."""
    bad = read_bundle(write_test_bundle(tmp_path, corrupt=True), trust)
    chain = Chain(bad)
    with caplog.at_level("INFO"):
        chain.merge(bad, [(1, 3), (0, 2)])
    assert not chain.is_merged(1, 3)
    assert chain.is_merged(0, 2)
    assert "chain 1.0.0: segments 1 to 2 stay apart: bundle chain 1.0.0: self-test" in caplog.text


def test_graphs_beyond_the_budget_stay_apart(bundle, monkeypatch) -> None:
    """The first ranges are worth most, so they are merged first."""
    monkeypatch.setattr("headtail.segment.MAX_BYTES", 600 << 10)
    chain, count = Chain(bundle), len(bundle.segments)
    chain.merge(bundle, [(count - 2, count), (0, count), (0, 2)])
    assert chain.is_merged(count - 2, count)
    assert sum(chain.is_merged(*r) for r in {(count - 2, count), (0, count), (0, 2)}) == 1


def test_merged_graphs_take_and_give_what_was_asked_in_that_order() -> None:
    merged = merge_graphs(SEGMENTS, ["x"], ["y", "b"])
    session = load_session(merged, SessionOptions(), "merged")
    assert [t.name for t in session.get_inputs()] == ["x"]
    assert [t.name for t in session.get_outputs()] == ["y", "b"]


def test_names_inside_segments_do_not_meet() -> None:
    """The weight of one segment is called as the weight of another; both keep their values."""
    assert b"w0" in SEGMENTS[0]
    assert b"w1" in SEGMENTS[1]
    renamed = SEGMENTS[1].replace(b"w1", b"w0")
    x = np.random.default_rng(3).standard_normal((2, 16, 2)).astype(np.float32)
    expected, actual = (
        load_session(
            merge_graphs([SEGMENTS[0], second, SEGMENTS[2]], ["x"], ["y"]), SessionOptions(), "it"
        ).run(["y"], {"x": x})[0]
        for second in (SEGMENTS[1], renamed)
    )
    assert np.array_equal(expected, actual)


def graph_of(model: bytes) -> bytes:
    """Return the GraphProto of a model."""
    (graph,) = [f for f in fields(model, 0, len(model)) if f.number == 7]
    return model[graph.content : graph.stop]


def with_graph(model: bytes, graph: bytes) -> bytes:
    """Return the model with another graph."""
    kept = [model[f.start : f.stop] for f in fields(model, 0, len(model)) if f.number != 7]
    return b"".join(kept) + field(7, graph)


SUBGRAPH = field(1, field(2, b"a2") + field(4, b"If") + field(5, field(6, b"")))
MODEL = SEGMENTS[1]


@pytest.mark.parametrize(
    ("second", "why"),
    [
        (MODEL + field(25, b""), "field 25 of a model"),
        (MODEL + field(7, b""), "2 graphs in a model"),
        (b"", "0 graphs in a model"),
        (with_graph(MODEL, graph_of(MODEL) + SUBGRAPH), "a node holds a subgraph"),
        (with_graph(MODEL, graph_of(MODEL) + field(15, b"")), "field 15 of a graph"),
        (with_graph(MODEL, graph_of(MODEL) + field(11, field(1, b"0/x"))), "named as inner"),
        (MODEL + b"\x08\x07", "IR versions differ"),
        (MODEL + field(8, field(1, b"") + b"\x10\x10"), "operator set 'b''' differ"),
        (MODEL + field(8, field(3, b"")), "field 3 of an operator set"),
        (MODEL[:-1], "reaches past the end"),
        (MODEL + b"\x0b", "wire type 3"),
        (MODEL + b"\xff" * 11, "no varint"),
        (MODEL + bytes(MAX_BYTES), "bytes together"),
    ],
)
def test_what_is_not_understood_is_not_merged(second: bytes, why: str) -> None:
    """Functions, subgraphs, sparse tensors, other versions, damage, size: the reason is said."""
    with pytest.raises(NotMergeable, match=why):
        merge_graphs([SEGMENTS[0], second], ["x"], ["b"])


def test_a_tensor_of_no_segment_is_named_as_the_reason() -> None:
    with pytest.raises(NotMergeable, match="in no segment"):
        merge_graphs(SEGMENTS, ["x"], ["q"])


@given(st.data())
def test_damaged_graphs_are_merged_or_refused(data: st.DataObject) -> None:
    """A changed, cut or inserted byte raises nothing but NotMergeable."""
    content = bytearray(SEGMENTS[1])
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(content) - 1))
        action = data.draw(st.sampled_from(["cut", "change", "insert"]))
        if action == "cut":
            del content[at:]
            content += b"\x08"
        elif action == "insert":
            content.insert(at, data.draw(st.integers(0, 255)))
        else:
            content[at] = data.draw(st.integers(0, 255))
    with contextlib.suppress(NotMergeable):
        merge_graphs([SEGMENTS[0], bytes(content), SEGMENTS[2]], ["x"], ["y"])
