"""Networks that nobody here made: keras.applications through the whole of `optimizer split`."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest

from headtail.bundle import read_bundle
from headtail.bundle.keys import Trust
from headtail.segment import Chain
from headtail.tensor import Array
from optimizer.cli import main
from optimizer.verify import TOLERANCE

pytestmark = [
    pytest.mark.tf,
    pytest.mark.slow,
    # Keras 3.15 saves its variables with numpy's old protocol.
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
]
SIDE = 96
MAX_RESIDENT_BYTES = 4 << 30


def randomise(model: object, rng: np.random.Generator) -> None:
    """Give a network weights under which its outputs depend on its inputs.

    Convolutions keep the variance of what they see (He et al., arXiv:1502.01852, eq. 10), and
    batch normalisations get statistics, scales and shifts of their own: with those of a fresh
    model they are the identity, and a fault in folding them would not show.
    """
    for layer in model.layers:
        is_depthwise = "Depthwise" in type(layer).__name__
        values = [_weight(w.name, w.shape, is_depthwise, rng) for w in layer.weights]
        if values:
            layer.set_weights(values)


def scale_logits(model: object, x: Array) -> None:
    """Give the last layer's outputs a standard deviation of 3 on windows `x`.

    Residual sums double the variance block by block; a softmax of logits in the thousands would
    only ever say 0 or 1.
    """
    from optimizer.keras_onnx import before_softmax

    logits = before_softmax(model).predict_on_batch(x)
    kernel, bias = model.layers[-1].get_weights()
    model.layers[-1].set_weights([kernel * 3 / logits.std(), bias])


def _weight(
    name: str, shape: tuple[int, ...], is_depthwise: bool, rng: np.random.Generator
) -> Array:
    if name in {"gamma", "moving_variance"}:
        return rng.uniform(0.7, 1.3, shape)
    if name == "moving_mean" or len(shape) == 1:
        return rng.normal(0, 0.1, shape)
    fan_in = np.prod(shape[:2] if is_depthwise else shape[:-1])
    return rng.normal(0, np.sqrt(2 / fan_in), shape)


@pytest.mark.parametrize(
    ("name", "legal"), [("MobileNetV2", 53), ("ResNet50", 55), ("InceptionV3", 108)]
)
def test_application_is_split_verified_and_bundled(
    name: str,
    legal: int,
    tmp_path: Path,
    key_folder: Path,
    trust: Trust,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Head then tail equals Keras before the softmax, the bundle reads back and tests itself."""
    import keras

    model = getattr(keras.applications, name)(weights=None, input_shape=(SIDE, SIDE, 3))
    randomise(model, np.random.default_rng(0))
    x = np.random.default_rng(1).standard_normal((4, SIDE, SIDE, 3)).astype(np.float32)
    scale_logits(model, x)
    expected = model.predict_on_batch(x)
    assert np.abs(np.diff(expected, axis=0)).max() > 1e-3 * expected.max()
    model.save(tmp_path / "model.keras")
    words = ["split", str(tmp_path / "model.keras"), "--out", str(tmp_path / "out.bundle")]
    assert main([*words, "--key", str(key_folder / "test.key"), "--json"]) == 0
    record = msgspec.json.decode(capsys.readouterr().out)
    assert record["verified"]["largest_error"] <= TOLERANCE
    assert record["legal_cuts"] == legal
    bundle = read_bundle(tmp_path / "out.bundle", trust)
    chain = Chain(bundle)
    assert chain.self_test(bundle) <= TOLERANCE
    for k in range(1, len(bundle.segments)):
        actual = chain.tail(chain.head({"x": x}, k), k)["y"]
        np.testing.assert_allclose(actual, expected, atol=1e-5 * expected.max() + 1e-6)


def test_memory_of_a_split_stays_below_4_gib(tmp_path: Path, key_folder: Path) -> None:
    """Measured in a process of its own: 102 MB of weights, probed, cut, verified and packed."""
    import keras

    from optimizer.keras_onnx import export_keras

    model = keras.applications.ResNet50(weights=None, input_shape=(SIDE, SIDE, 3))
    path = tmp_path / "resnet50.onnx"
    path.write_bytes(export_keras(model))
    # Not ru_maxrss: a child's begins with what its parent held.
    code = (
        "import pathlib, sys; from optimizer.cli import main; code = main(sys.argv[1:]);"
        "print(pathlib.Path('/proc/self/status').read_text()); sys.exit(code)"
    )
    words = ["split", str(path), "--out", str(tmp_path / "out.bundle")]
    done = subprocess.run(
        [sys.executable, "-c", code, *words, "--key", str(key_folder / "test.key")],
        check=True,
        capture_output=True,
        text=True,
    )
    peak = next(line for line in done.stdout.splitlines() if line.startswith("VmHWM:"))
    assert int(peak.split()[1]) * 1024 < MAX_RESIDENT_BYTES


def test_saved_twice_is_the_same_bundle(
    tmp_path: Path, key_folder: Path, trust: Trust, capsys: pytest.CaptureFixture[str]
) -> None:
    """Running counters of Keras and tf2onnx do not reach the digest."""
    import keras

    model = keras.applications.MobileNetV2(weights=None, input_shape=(32, 32, 3), alpha=0.35)
    randomise(model, np.random.default_rng(0))
    model.save(tmp_path / "model.keras")
    digests = set()
    for out in ("a.bundle", "b.bundle"):
        words = ["split", str(tmp_path / "model.keras"), "--out", str(tmp_path / out)]
        assert main([*words, "--key", str(key_folder / "test.key"), "--json"]) == 0
        digests.add(msgspec.json.decode(capsys.readouterr().out)["digest"])
    assert len(digests) == 1


def test_two_inputs_from_keras(
    tmp_path: Path, key_folder: Path, trust: Trust, split_words: Callable[[str], list[str]]
) -> None:
    """A model of two named inputs is compared with Keras input by input."""
    import keras

    a, b = keras.Input((8, 2), name="signal"), keras.Input((3,), name="context")
    h = keras.layers.Conv1D(4, 3, activation="relu")(a)
    h = keras.layers.GlobalAveragePooling1D()(h)
    h = keras.layers.Concatenate()([h, keras.layers.Dense(4, activation="relu")(b)])
    model = keras.Model([a, b], keras.layers.Dense(3, activation="softmax")(h))
    randomise(model, np.random.default_rng(0))
    model.save(tmp_path / "two.keras")
    assert main([*split_words("two.keras"), "--points", "all"]) == 0
    manifest = read_bundle(tmp_path / "two.bundle", trust).manifest
    assert [s.name for s in manifest.inputs] == ["signal", "context"]


@pytest.fixture
def split_words(tmp_path: Path, key_folder: Path) -> Callable[[str], list[str]]:
    """Return the words of a split of a model in the test's folder."""

    def words(model: str) -> list[str]:
        out = (tmp_path / model).with_suffix(".bundle")
        key = str(key_folder / "test.key")
        return ["split", str(tmp_path / model), "--out", str(out), "--key", key]

    return words
