"""Points, samples and the written bundle."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
from onnx import helper

from headtail.bundle import read_bundle
from headtail.bundle.keys import Trust, read_signer
from headtail.bundle.manifest import Lineage
from headtail.energy import predict_compute, predict_transmission
from headtail.errors import DataError, ExportError
from headtail.operations import Operations
from headtail.profile import read_device_profile, read_link_profile
from headtail.segment import Chain
from headtail.tensor import Array
from headtail.wire import USUAL_ENCODINGS, Encoding, calibrate
from optimizer.cut.cut import CutModel, cut_model, legal_cuts
from optimizer.cut.graph import read_graph
from optimizer.cut.graph_probe import random_windows
from optimizer.package.package import Description, Offer, Verified, pack
from optimizer.package.points import Profiles, Windows, build_points
from optimizer.package.samples import build_samples
from optimizer.verify import load_runner

Model = Callable[..., bytes]
node = helper.make_node
PROFILES = Profiles(
    (read_device_profile("stm32l476-paper"), read_device_profile("raspberry-pi-4")),
    (read_link_profile("ble-paper"),),
)
DESCRIPTION = Description(
    name="small",
    version="1.2",
    task="classification",
    labels=("a", "b", "c", "d", "e"),
    preprocess=(),
    metrics=(),
    lineage=Lineage(recipe={}, data={}, is_synthetic=True, seed=0, packages={}),
    verified=Verified(64, "64 random", "onnx"),
)


@pytest.fixture
def cut(small_cnn: bytes) -> CutModel:
    """Return the small network, cut everywhere."""
    graph = read_graph(small_cnn)
    return cut_model(graph, legal_cuts(graph))


@pytest.fixture
def x(cut: CutModel) -> dict[str, Array]:
    """Return 40 random windows."""
    return random_windows(cut.inputs, 40, np.random.default_rng(2))


def test_points_offer_what_can_be_measured(cut: CutModel, x: dict[str, Array]) -> None:
    """Without calibration windows there is no int8; the last point is float32 alone."""
    plain = build_points(cut, Windows(x), PROFILES)
    assert [[e.encoding.value for e in p.encodings] for p in plain[:-1]] == [
        ["float32", "float16"]
    ] * 5
    full = build_points(cut, Windows(x, calibration=x), PROFILES)
    assert [e.encoding.value for e in full[1].encodings] == ["float32", "float16", "int8"]
    assert [e.encoding for e in full[-1].encodings] == [Encoding.FLOAT32]


def test_bytes_shrink_with_the_encoding(cut: CutModel, x: dict[str, Array]) -> None:
    points = build_points(cut, Windows(x, calibration=x), PROFILES)
    assert [e.bytes for e in points[2].encodings] == [256, 128, 64]


def test_int8_spans_what_calibration_windows_showed(cut: CutModel, x: dict[str, Array]) -> None:
    """The range is that of all batches together."""
    points = build_points(cut, Windows(x, calibration=x), PROFILES)
    wire = points[1].wire(Encoding.INT8)
    assert wire is not None
    assert wire.affine == {"r1": calibrate(load_runner(cut).run(x)["r1"])}


def test_int4_is_offered_where_it_is_named(cut: CutModel, x: dict[str, Array]) -> None:
    """Half the bytes of int8; float32 always; without calibration windows neither."""
    named = [Encoding.INT4, Encoding.INT8]
    points = build_points(cut, Windows(x, calibration=x), PROFILES, named)
    assert [e.encoding.value for e in points[2].encodings] == ["float32", "int8", "int4"]
    assert [e.bytes for e in points[2].encodings] == [256, 64, 32]
    assert [c.encoding for c in points[2].costs[:3]] == [e.encoding for e in points[2].encodings]
    assert points[2].costs[2].tx_j == predict_transmission(PROFILES.links[0], 32).joules
    plain = build_points(cut, Windows(x), PROFILES, named)
    assert {tuple(e.encoding for e in p.encodings) for p in plain} == {(Encoding.FLOAT32,)}


def test_int4_ranges_are_those_of_least_squared_error(cut: CutModel, x: dict[str, Array]) -> None:
    """On the values of all batches together, tried one by one with a finer grid."""
    points = build_points(cut, Windows(x, calibration=x), PROFILES, list(Encoding))
    wire = points[1].wire(Encoding.INT4)
    assert wire is not None
    values = load_runner(cut).run(x)["r1"]
    errors = {}
    for scale in [*np.linspace(0.1, 1, 200) * values.max() / 15, wire.affine["r1"].scale]:
        stored = np.clip(np.rint(values / scale), 0, 15)  # after a ReLU all levels are above zero
        errors[scale] = float(np.mean((stored * scale - values) ** 2))
    assert errors[wire.affine["r1"].scale] <= 1.01 * min(errors.values())
    assert wire.affine["r1"].zero_point == -8
    assert wire.affine["r1"].scale < 0.9 * values.max() / 15


def test_accuracy_is_that_of_what_travelled(cut: CutModel, x: dict[str, Array]) -> None:
    """Labels that are the float32 answers make float32 perfect and bound the others."""
    labels = load_runner(cut).run(x)["y"].argmax(axis=1)
    windows = Windows(x, calibration=x, labelled=x, labels=labels)
    for point in build_points(cut, windows, PROFILES, list(Encoding)):
        accuracies = {e.encoding: e.accuracy for e in point.encodings}
        assert accuracies[Encoding.FLOAT32] == 1.0
        assert all(
            a is not None and (0.4 if e is Encoding.INT4 else 0.8) <= a <= 1
            for e, a in accuracies.items()
        )


def test_encoding_errors_are_small_and_known(cut: CutModel, x: dict[str, Array]) -> None:
    points = build_points(cut, Windows(x, calibration=x), PROFILES, list(Encoding))
    errors = {e.encoding: e.largest_error for e in points[1].encodings}
    assert errors[Encoding.FLOAT32] == 0
    assert 0 < errors[Encoding.FLOAT16] < 2e-3
    assert errors[Encoding.FLOAT16] < errors[Encoding.INT8] < 0.2
    assert errors[Encoding.INT8] < errors[Encoding.INT4] < 1


def test_costs_are_the_energy_model(cut: CutModel, x: dict[str, Array]) -> None:
    """Every encoding on every pair of profiles, head and payload priced by headtail.energy."""
    points = build_points(cut, Windows(x), PROFILES)
    head = sum((s.operations for s in cut.segments[:2]), Operations())
    (cost, *_) = [c for c in points[2].costs if c.encoding is Encoding.FLOAT16]
    assert cost.head_j == predict_compute(PROFILES.devices[0], head).joules
    assert cost.tx_j == predict_transmission(PROFILES.links[0], 128).joules
    assert len(points[2].costs) == 2 * 2
    assert points[2].flash_bytes == 4 * head.parameters


def test_start_needs_no_memory_but_the_input(cut: CutModel, x: dict[str, Array]) -> None:
    points = build_points(cut, Windows(x), PROFILES)
    assert (points[0].flash_bytes, points[0].ram_bytes) == (0, 4 * 3 * 64)


def test_labels_need_a_score_per_class(onnx_model: Model) -> None:
    nodes = [node("MatMul", ["x", "w"], ["y"])]
    graph = read_graph(onnx_model(nodes, {"x": ("N", 2)}, weights={"w": np.ones((2, 1))}))
    model = cut_model(graph, ())
    x = random_windows(model.inputs, 4, np.random.default_rng(0))
    with pytest.raises(DataError, match="labels: output 'y' has no score per class"):
        build_points(model, Windows(x, labelled=x, labels=np.zeros(4, int)), PROFILES)


def test_eight_samples_where_they_fit(cut: CutModel, x: dict[str, Array]) -> None:
    samples = build_samples(cut, x)
    assert samples.inputs["x"].shape == (8, 3, 8, 8)
    np.testing.assert_array_equal(samples.outputs["y"], load_runner(cut).run(x)["y"][:8])


@pytest.mark.parametrize(("side", "count"), [(160, 3), (260, 1), (440, 1)])
def test_large_windows_give_fewer_and_coarser_samples(
    onnx_model: Model, side: int, count: int
) -> None:
    """A megabyte holds three windows of 300 kB, one of 800 kB, and one of 2.3 MB once rounded."""
    graph = read_graph(
        onnx_model([node("GlobalAveragePool", ["x"], ["y"])], {"x": ("N", 3, side, side)})
    )
    model = cut_model(graph, ())
    values = np.random.default_rng(1).standard_normal((8, 3, side, side))
    x = {"x": values.astype(np.float32)}
    samples = build_samples(model, x)
    assert len(samples.inputs["x"]) == count
    assert len(np.unique(samples.inputs["x"])) > 2


def test_window_too_large_for_any_sample_is_refused(onnx_model: Model) -> None:
    graph = read_graph(onnx_model([node("Relu", ["x"], ["y"])], {"x": ("N", 3, 1300, 1300)}))
    model = cut_model(graph, ())
    x = random_windows(model.inputs, 1, np.random.default_rng(1))
    with pytest.raises(ExportError, match="one window with its outputs is over the 1048576 bytes"):
        build_samples(model, x)


def test_written_bundle_is_what_was_packed(
    cut: CutModel, x: dict[str, Array], key_folder: Path, trust: Trust, tmp_path: Path
) -> None:
    """Read back, self-tested, its tails give what the whole gives."""
    offer = Offer(build_points(cut, Windows(x, calibration=x), PROFILES), 2, Encoding.INT8)
    path = tmp_path / "small.bundle"
    packed = pack(path, cut, offer, DESCRIPTION, x, read_signer(key_folder / "test.key"))
    bundle = read_bundle(path, trust)
    assert (bundle.digest, bundle.manifest) == (packed.digest, packed.manifest)
    assert [p.name for p in tmp_path.iterdir()] == ["small.bundle"]
    chain = Chain(bundle)
    whole = chain.tail(x, 0)["y"]
    for k in range(1, len(cut.segments)):
        np.testing.assert_allclose(chain.tail(chain.head(x, k), k)["y"], whole, atol=1e-6)
    report = msgspec.json.decode(bundle.report)
    assert (report["is_synthetic"], report["default"]["point"]) == (True, 2)
    assert len(report["rows"]) == sum(len(p.costs) for p in packed.manifest.points)


@pytest.mark.parametrize(("encodings", "version"), [(USUAL_ENCODINGS, 1), (Encoding, 2)])
def test_format_is_the_oldest_that_can_hold_the_points(
    cut: CutModel, x: dict[str, Array], key_folder: Path, trust: Trust, tmp_path: Path,
    encodings: tuple[Encoding, ...], version: int,
) -> None:  # fmt: skip
    """Without int4 a bundle is what older readers know."""
    points = build_points(cut, Windows(x, calibration=x), PROFILES, encodings)
    path, signer = tmp_path / "small.bundle", read_signer(key_folder / "test.key")
    pack(path, cut, Offer(points, 1, Encoding.INT8), DESCRIPTION, x, signer)
    assert read_bundle(path, trust).manifest.format_version == version


def test_profiles_that_no_device_has_go_along(
    cut: CutModel, x: dict[str, Array], key_folder: Path, trust: Trust, tmp_path: Path
) -> None:
    own = msgspec.structs.replace(PROFILES.links[0], name="my-radio")
    priced = Profiles(PROFILES.devices, (own,))
    points = build_points(cut, Windows(x, calibration=x), priced, USUAL_ENCODINGS)
    path, signer = tmp_path / "small.bundle", read_signer(key_folder / "test.key")
    pack(path, cut, Offer(points, 1, Encoding.INT8, priced), DESCRIPTION, x, signer)
    manifest = read_bundle(path, trust).manifest
    assert manifest.profiles is not None
    assert (3, (), (own,)) == (
        manifest.format_version, manifest.profiles.devices, manifest.profiles.links,
    )  # fmt: skip


def test_same_inputs_give_the_same_digest(
    cut: CutModel, x: dict[str, Array], key_folder: Path, tmp_path: Path
) -> None:
    signer = read_signer(key_folder / "test.key")
    digests = set()
    for name in ("a", "b"):
        offer = Offer(build_points(cut, Windows(x), PROFILES), 1, Encoding.FLOAT32)
        digests.add(pack(tmp_path / name, cut, offer, DESCRIPTION, x, signer).digest)
    assert len(digests) == 1


@pytest.mark.parametrize("change", [{"name": "Not A Name"}, {"version": "one"}])
def test_refused_description_leaves_the_old_bundle(
    cut: CutModel, x: dict[str, Array], key_folder: Path, tmp_path: Path, change: dict[str, str]
) -> None:
    """What cannot be read back is not put in place of what could."""
    path = tmp_path / "small.bundle"
    path.write_bytes(b"old")
    offer = Offer(build_points(cut, Windows(x), PROFILES), 1, Encoding.FLOAT32)
    with pytest.raises(ExportError, match=r"small\.bundle: Expected `str`"):
        pack(
            path, cut, offer, replace(DESCRIPTION, **change), x,
            read_signer(key_folder / "test.key"),
        )  # fmt: skip
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["small.bundle"]
