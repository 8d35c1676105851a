"""Tests of running a bundle's segments."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import onnxruntime as ort
import pytest

from headtail.bundle import Bundle, read_bundle
from headtail.bundle.archive import Samples
from headtail.bundle.keys import Trust
from headtail.errors import BundleUnreadable, ConfigError, SelfTestFailed
from headtail.segment import Chain, SessionOptions, relative_error

WriteBundle = Callable[..., Path]


@pytest.fixture
def bundle(tmp_path: Path, write_test_bundle: WriteBundle, trust: Trust) -> Bundle:
    """Return the three-segment chain."""
    return read_bundle(write_test_bundle(tmp_path), trust)


@pytest.mark.parametrize("model", ["chain", "fixed"])
def test_head_then_tail_equals_the_whole_model_at_every_point(
    model: str, tmp_path: Path, write_test_bundle: WriteBundle, trust: Trust, model_folder: Path
) -> None:
    """Against the uncut graph in a session of its own, on 64 random windows."""
    bundle = read_bundle(write_test_bundle(tmp_path, model=model), trust)
    whole = ort.InferenceSession(model_folder / model / "whole.onnx")
    chain, rng = Chain(bundle), np.random.default_rng(1)
    for _ in range(64):
        inputs = {
            s.name: rng.standard_normal(s.window_shape).astype(s.dtype)
            if s.dtype == "float32"
            else rng.integers(-9, 9, s.window_shape).astype(s.dtype)
            for s in bundle.manifest.inputs
        }
        (expected,) = whole.run(["y"], inputs)
        for point in range(len(bundle.segments) + 1):
            actual = chain.tail(chain.head(inputs, point), point)["y"]
            assert relative_error(expected, actual) <= 1e-5


def test_a_batch_equals_its_windows_one_by_one(bundle: Bundle) -> None:
    chain = Chain(bundle)
    x = bundle.samples.inputs["x"]
    together = chain.tail({"x": x}, 0)["y"]
    apart = np.concatenate([chain.tail({"x": x[i : i + 1]}, 0)["y"] for i in range(len(x))])
    np.testing.assert_allclose(together, apart, rtol=1e-5, atol=1e-6)


def test_the_self_test_accepts_the_recorded_outputs(bundle: Bundle) -> None:
    assert Chain(bundle).self_test(bundle) <= 1e-5


def test_the_self_test_refuses_other_outputs(
    tmp_path: Path, write_test_bundle: WriteBundle, trust: Trust
) -> None:
    bad = read_bundle(write_test_bundle(tmp_path, corrupt=True), trust)
    with pytest.raises(SelfTestFailed, match=r"chain 1\.0\.0: self-test of output 'y'"):
        Chain(bad).self_test(bad)


def test_a_provider_that_is_not_there_is_an_error(bundle: Bundle) -> None:
    """ONNX Runtime itself only warns and runs on the CPU."""
    options = SessionOptions(providers=("TensorrtExecutionProvider",))
    with pytest.raises(ConfigError, match="TensorrtExecutionProvider not in this onnxruntime"):
        Chain(bundle, options)


def test_a_segment_that_is_no_graph_is_named(bundle: Bundle) -> None:
    broken = Bundle(
        bundle.manifest, bundle.digest, "", 0, (b"\x00", *bundle.segments[1:]), bundle.samples, b""
    )
    with pytest.raises(BundleUnreadable, match=r"chain 1\.0\.0 segment 0: onnxruntime cannot load"):
        Chain(broken)


def test_a_segment_with_other_tensors_is_named(bundle: Bundle) -> None:
    swapped = Bundle(
        bundle.manifest,
        bundle.digest,
        "",
        0,
        (bundle.segments[1], *bundle.segments[1:]),
        bundle.samples,
        b"",
    )
    with pytest.raises(BundleUnreadable, match=r"segment 0: inputs: the manifest says \['x'\]"):
        Chain(swapped)


def test_relative_error_is_infinite_where_it_means_nothing() -> None:
    ones = np.ones(3, np.float32)
    assert relative_error(ones, np.ones(4, np.float32)) == np.inf
    assert relative_error(ones, np.array([1, np.nan, 1], np.float32)) == np.inf
    assert relative_error(np.zeros(3), np.full(3, 0.5)) == 0.5
    assert relative_error(np.array([2.0, -4.0]), np.array([2.0, -3.0])) == 0.25


def test_the_manifest_is_not_touched_by_loading(bundle: Bundle) -> None:
    before = msgspec.json.encode(bundle.manifest)
    Chain(bundle)
    assert before == msgspec.json.encode(bundle.manifest)


def test_samples_are_tested_two_at_a_time(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of eight large ones at once the memory would stay with the process."""
    chain, sizes = Chain(bundle), []
    tail = chain.tail

    def counted(activation: dict[str, np.ndarray], point: int) -> dict[str, np.ndarray]:
        sizes.append(len(activation["x"]))
        return tail(activation, point)

    monkeypatch.setattr(chain, "tail", counted)
    x, y = bundle.samples.inputs["x"], bundle.samples.outputs["y"]
    assert chain.self_test(bundle) <= 1e-5
    three = Samples({"x": x[:3]}, {"y": y[:3]})
    assert chain.self_test(dataclasses.replace(bundle, samples=three)) <= 1e-5
    assert [2, 2, 2, 1] == sizes
    last = Samples({"x": x}, {"y": np.concatenate([y[:3], y[3:] + np.float32(1e-3)])})
    with pytest.raises(SelfTestFailed):
        chain.self_test(dataclasses.replace(bundle, samples=last))
