"""Tests of backbones: pixels enter as the family takes them, weights, heads, export."""

from pathlib import Path

import numpy as np
import pytest

from headtail.errors import ConfigError
from optimizer.images.config import BackboneConfig

pytestmark = [
    pytest.mark.tf,
    # Keras 3.15 saves its variables with numpy's old protocol.
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
]
SHAPE = (32, 32, 3)


def pixels(count: int = 3, shape: tuple[int, int, int] = SHAPE) -> np.ndarray:
    """Return whole pixels in [0, 255], float32."""
    rng = np.random.default_rng(1)
    return rng.integers(0, 256, (count, *shape)).astype(np.float32)


def randomise(model: object) -> None:
    """Give every weight a value under which outputs depend on inputs.

    Convolutions keep the variance of what they see (He et al., arXiv:1502.01852, eq. 10).
    """
    rng = np.random.default_rng(0)
    for layer in model.layers:
        is_depthwise = "Depthwise" in type(layer).__name__
        values = []
        for w in layer.weights:
            if w.name in {"gamma", "moving_variance", "variance"}:
                values.append(rng.uniform(0.7, 1.3, w.shape))
            elif len(w.shape) < 2:
                values.append(rng.normal(0, 0.1, w.shape))
            else:
                fan_in = np.prod(w.shape[:2] if is_depthwise else w.shape[:-1])
                values.append(rng.normal(0, np.sqrt(2 / fan_in), w.shape))
        layer.set_weights(values)


def assert_alike(actual: np.ndarray, expected: np.ndarray, tolerance: float) -> None:
    """Compare relative to the largest value, and see that windows do differ."""
    largest = np.abs(expected).max()
    assert np.abs(np.diff(expected, axis=0)).max() > 10 * tolerance * largest
    np.testing.assert_allclose(actual, expected, atol=tolerance * largest, rtol=0)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("MobileNetV2", {"alpha": 0.35}),
        ("VGG16", {}),
        ("MobileNetV3Small", {"minimalistic": True}),
    ],
)
def test_family_gets_pixels_as_its_own_preprocessing_gives(
    name: str, options: dict[str, object], tmp_path: Path
) -> None:
    """With the same weights, ours on [0, 1] equals Keras' own network on `preprocess_input`."""
    import sys

    import keras

    from optimizer.images.backbone import build_classifier

    function = getattr(keras.applications, name)
    plain = function(weights=None, include_top=False, input_shape=SHAPE, **options)
    randomise(plain)
    plain.save_weights(tmp_path / "plain.weights.h5")
    config = BackboneConfig(name, weights=str(tmp_path / "plain.weights.h5"), options=options)
    model = build_classifier(config, SHAPE, 4)
    ours = keras.Model(model.inputs, model.get_layer("head_pool").input)
    x = pixels()
    preprocess = sys.modules[function.__module__].preprocess_input
    expected = plain.predict_on_batch(preprocess(x.copy()))
    actual = ours.predict_on_batch(x / 255)
    assert_alike(actual, expected, 2e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["ResNet50", "InceptionV3", "DenseNet121", "EfficientNetB0", "ConvNeXtTiny", "Xception"]
)
def test_other_families_too(name: str, tmp_path: Path) -> None:
    """The same for families that take seconds to build, at the least side that all accept."""
    import sys

    import keras

    from optimizer.images.backbone import build_classifier

    shape = (75, 75, 3)
    function = getattr(keras.applications, name)
    plain = function(weights=None, include_top=False, input_shape=shape)
    randomise(plain)
    plain.save_weights(tmp_path / "plain.weights.h5")
    config = BackboneConfig(name, weights=str(tmp_path / "plain.weights.h5"))
    model = build_classifier(config, shape, 4)
    ours = keras.Model(model.inputs, model.get_layer("head_pool").input)
    x = pixels(2, shape)
    preprocess = sys.modules[function.__module__].preprocess_input
    expected = plain.predict_on_batch(preprocess(x.copy()))
    actual = ours.predict_on_batch(x / 255)
    assert_alike(actual, expected, 1e-4)


def test_classifier_is_one_flat_graph_that_ends_in_a_softmax() -> None:
    import keras

    from optimizer.images.backbone import build_classifier

    config = BackboneConfig("SmallResNet", options={"blocks": 2, "width": 8}, hidden=5, dropout=0.5)
    model = build_classifier(config, SHAPE, 7)
    assert not any(isinstance(layer, keras.Model) for layer in model.layers)
    shares = model.predict_on_batch(pixels() / 255)
    assert (3, 7) == shares.shape
    np.testing.assert_allclose(shares.sum(axis=1), 1, atol=1e-6)
    # He et al., sec. 4.2: 6 n + 2 layers with weights, here two shortcut convolutions more.
    weighted = [
        la for la in model.layers if isinstance(la, keras.layers.Conv2D | keras.layers.Dense)
    ]
    assert 6 * 2 + 1 + 2 + 2 == len(weighted)


def test_unit_hands_pixels_on_as_they_are() -> None:
    from optimizer.images.backbone import build_classifier

    config = BackboneConfig("MobileNetV2", options={"alpha": 0.35}, preprocessing="unit")
    names = [layer.name for layer in build_classifier(config, SHAPE, 2).layers]
    assert "family_range" not in names


def test_keras_file_gets_a_new_head(tmp_path: Path) -> None:
    """The features are those of the file; its last dense layer, dropout and softmax are gone."""
    import keras

    from optimizer.images.backbone import build_classifier

    inputs = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(4, 3, activation="relu")(inputs)
    features = keras.layers.GlobalAveragePooling2D()(x)
    x = keras.layers.Dropout(0.1)(keras.layers.Dense(9)(features))
    original = keras.Model(inputs, keras.layers.Softmax()(x))
    original.save(tmp_path / "own.keras")
    model = build_classifier(BackboneConfig(str(tmp_path / "own.keras")), SHAPE, 3)
    assert ((None, *SHAPE), (None, 3)) == (model.inputs[0].shape, model.outputs[0].shape)
    assert 1 == sum(isinstance(layer, keras.layers.Dense) for layer in model.layers)
    ours = keras.Model(model.inputs, model.get_layer("head_logits").input)
    theirs = keras.Model(inputs, features)
    x = pixels() / 255
    np.testing.assert_array_equal(theirs.predict_on_batch(x), ours.predict_on_batch(x))


def test_keras_file_of_feature_maps_keeps_them(tmp_path: Path) -> None:
    import keras

    from optimizer.images.backbone import build_classifier

    keras.Sequential(
        [keras.Input(SHAPE), keras.layers.Conv2D(4, 3), keras.layers.Activation("relu")]
    ).save(tmp_path / "maps.keras")
    model = build_classifier(BackboneConfig(str(tmp_path / "maps.keras")), SHAPE, 3)
    kinds = [type(layer).__name__ for layer in model.layers]
    assert ["Conv2D", "Activation", "GlobalAveragePooling2D", "Dense", "Softmax"] == kinds[1:]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (BackboneConfig("MobileNetV9"), "expected a .keras file or one of SmallResNet, .*ResNet50"),
        (BackboneConfig("none.keras"), "none.keras: no such file"),
        (BackboneConfig("VGG16", weights="none.h5"), "none.h5: no such file"),
        (BackboneConfig("VGG16", options={"alpha": 1.0}), r"options\] alpha: VGG16 takes none"),
        (BackboneConfig("MobileNetV2", options={"alpha": "wide"}), "network 'MobileNetV2': "),
        (BackboneConfig("EfficientNetB0", preprocessing="unit"), "always does its own"),
        (BackboneConfig("SmallResNet", options={"blocks": 99}), "expected 1 to 20, received 99"),
        (BackboneConfig("SmallResNet", options={"depth": 9}), "takes blocks, width"),
        (BackboneConfig("SmallResNet", weights="imagenet"), "has none to load"),
        (BackboneConfig("InceptionV3"), "network 'InceptionV3': Input size must be at least 75x75"),
    ],
)
def test_what_cannot_be_built_is_one_line(config: BackboneConfig, message: str) -> None:
    from optimizer.images.backbone import build_classifier

    with pytest.raises(ConfigError, match=message) as caught:
        build_classifier(config, SHAPE, 2)
    assert "\n" not in str(caught.value)


def test_broken_files_are_one_line(tmp_path: Path) -> None:
    from optimizer.images.backbone import build_classifier

    for name in ("broken.keras", "broken.weights.h5"):
        (tmp_path / name).write_bytes(b"nothing")
    with pytest.raises(ConfigError, match=r"broken\.keras: Keras cannot load it: "):
        build_classifier(BackboneConfig(str(tmp_path / "broken.keras")), SHAPE, 2)
    weights = str(tmp_path / "broken.weights.h5")
    with pytest.raises(ConfigError, match=r"weights '.*broken\.weights\.h5': "):
        build_classifier(BackboneConfig("MobileNetV2", weights=weights), SHAPE, 2)


def test_pixels_and_edge_steps_meet() -> None:
    """The manifest's steps bring a photograph to what the model takes."""
    from headtail.preprocess.pipeline import Pipeline
    from optimizer.images.backbone import preprocess_steps

    window = Pipeline(preprocess_steps(32, 32)).window(pixels(1)[0].astype(np.uint8))
    np.testing.assert_allclose(pixels(1)[0] / 255, window, atol=1e-6)
    assert (np.float32, SHAPE) == (window.dtype, window.shape)


def test_head_and_tail_of_mobilenet_equal_the_whole() -> None:
    """Exported and cut: at three cuts, head then tail gives what Keras gives."""
    from optimizer.cut.cut import cut_model, legal_cuts
    from optimizer.cut.graph import read_graph
    from optimizer.images.backbone import build_classifier
    from optimizer.keras_onnx import export_keras
    from optimizer.verify import load_runner

    model = build_classifier(BackboneConfig("MobileNetV2", options={"alpha": 0.35}), SHAPE, 4)
    randomise(model)
    graph = read_graph(export_keras(model))
    cuts = legal_cuts(graph)
    assert len(cuts) > 40
    chosen = [cuts[len(cuts) * i // 4] for i in (1, 2, 3)]
    runner = load_runner(cut_model(graph, chosen))
    x = pixels() / 255
    expected = model.predict_on_batch(x)
    for k in range(len(chosen) + 2):
        activation = runner.run({"x": x}, 0, k) if k else {"x": x}
        actual = runner.run(activation, k) if k <= len(chosen) else activation
        assert_alike(actual["y"], expected, 2e-5)
