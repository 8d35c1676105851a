"""Export of Keras models: the same bytes for the same model, the same numbers in onnxruntime."""

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from headtail.errors import ExportError

pytestmark = [pytest.mark.tf, pytest.mark.usefixtures("tensorflow")]


def small_network(softmax: str = "layer"):
    """Build a convolutional net with batch normalisation whose moving statistics are random."""
    import keras

    keras.utils.set_random_seed(3)
    x = keras.Input((16, 2), name="x")
    h = keras.layers.Conv1D(4, 2, strides=2)(x)
    normal = keras.layers.BatchNormalization()
    h = keras.layers.ReLU()(normal(h))
    h = keras.layers.Conv1DTranspose(3, 2, strides=2, activation="relu")(h)
    h = keras.layers.Flatten()(h)
    if softmax == "dense":
        h = keras.layers.Dense(3, activation="softmax")(h)
    elif softmax == "layer":
        h = keras.layers.Softmax()(keras.layers.Dense(3)(h))
    elif softmax == "activation":
        h = keras.layers.Activation("softmax")(keras.layers.Dense(3)(h))
    else:
        h = keras.layers.Dense(3)(h)
    model = keras.Model(x, h)
    rng = np.random.default_rng(5)
    gamma, beta = rng.uniform(0.5, 2, 4), rng.normal(size=4)
    normal.set_weights([gamma, beta, rng.normal(size=4), rng.uniform(0.5, 2, 4)])
    return model


def windows(*shape: int) -> np.ndarray:
    """Return random float32 windows."""
    return np.random.default_rng(1).standard_normal(shape).astype(np.float32)


def run_onnx(content: bytes, feed: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Run a graph and return its outputs by name."""
    session = ort.InferenceSession(content, providers=["CPUExecutionProvider"])
    names = [o.name for o in session.get_outputs()]
    return dict(zip(names, session.run(names, feed), strict=True))


def test_exporting_again_and_again_gives_the_same_bytes() -> None:
    """Although tf2onnx counts its names over the life of the process and merges nodes by sets.

    With tf2onnx as it is, 3 % of the exports of this network had another graph.
    """
    from optimizer.keras_onnx import export_keras
    from optimizer.network import Genome
    from optimizer.training.keras_model import build_keras

    model = build_keras(Genome((192, 48, 12, 3), (1, 1, 8, 8), 5), 1)
    assert len({export_keras(model) for _ in range(24)}) == 1


def test_graph_equals_the_keras_model() -> None:
    """With random moving statistics, so that a lost normalisation would show."""
    from optimizer.keras_onnx import export_keras

    model, x = small_network(softmax="none"), windows(32, 16, 2)
    expected = np.asarray(model(x, training=False))
    actual = run_onnx(export_keras(model), {"x": x})["y"]
    assert float(np.abs(expected - actual).max()) <= 1e-5 * float(np.abs(expected).max())


def test_sequential_model_is_exported() -> None:
    """tf2onnx's own from_keras fails on these."""
    import keras

    from optimizer.keras_onnx import export_keras

    model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(3, activation="softmax")])
    x = windows(4, 8)
    actual = run_onnx(export_keras(model), {"x": x})["y"]
    np.testing.assert_allclose(actual, np.asarray(model(x)), atol=1e-6)


@pytest.mark.parametrize("is_adapted", [True, False])
def test_mean_and_variance_that_a_layer_holds_are_constants(is_adapted: bool) -> None:
    """Keras' Normalization has them as tensors, not as variables."""
    import keras

    from optimizer.keras_onnx import export_keras

    mean = None if is_adapted else [1.0, 2.0, 3.0]
    normal = keras.layers.Normalization(mean=mean, variance=mean)
    if is_adapted:
        normal.adapt(5 + windows(50, 4, 3))
    x = keras.Input((4, 3))
    model = keras.Model(x, keras.layers.Dense(2)(keras.layers.Flatten()(normal(x))))
    content, given = export_keras(model), windows(6, 4, 3)
    assert content == export_keras(model)
    result = run_onnx(content, {"x": given})["y"]
    np.testing.assert_allclose(model.predict(given, verbose=0), result, rtol=1e-5, atol=1e-6)


def test_several_inputs_and_outputs_keep_their_names_and_order() -> None:
    """A model of one input says x, of several what the user called them."""
    import keras

    from optimizer.keras_onnx import export_keras

    first, second = keras.Input((4,), name="signal"), keras.Input((4,), name="age")
    joined = keras.layers.Add()([first, second])
    outputs = [
        keras.layers.Dense(2, name="zeta")(joined),
        keras.layers.Dense(3, name="alpha")(first),
    ]
    graph = onnx.load_from_string(export_keras(keras.Model([first, second], outputs))).graph
    assert ["signal", "age"] == [i.name for i in graph.input]
    assert ["zeta", "alpha"] == [o.name for o in graph.output]


def test_model_that_takes_a_dict_is_exported() -> None:
    """Keras passes the structure on to the layers; the graph has names instead."""
    import keras

    from optimizer.keras_onnx import export_keras

    inputs = {"a": keras.Input((4,), name="a"), "b": keras.Input((4,), name="b")}
    model = keras.Model(inputs, keras.layers.Dense(2)(keras.layers.Add()(list(inputs.values()))))
    feed = {"a": windows(3, 4), "b": windows(3, 4)}
    actual = run_onnx(export_keras(model), feed)["y"]
    np.testing.assert_allclose(actual, np.asarray(model(feed)), atol=1e-6)


@pytest.mark.parametrize("kind", ["layer", "activation", "dense"])
def test_before_softmax_gives_the_scores_that_softmax_turns_into_the_output(kind: str) -> None:
    """Whichever way the softmax was written."""
    import keras

    from optimizer.keras_onnx import before_softmax

    model, x = small_network(kind), windows(8, 16, 2)
    scores = np.asarray(before_softmax(model)(x, training=False))
    assert float(np.abs(scores.sum(axis=1) - 1).min()) > 1e-3
    expected = np.asarray(model(x, training=False))
    np.testing.assert_allclose(np.asarray(keras.ops.softmax(scores)), expected, atol=1e-6)


def test_before_softmax_leaves_a_model_without_softmax_alone() -> None:
    """The same object, so that training it trains the model."""
    from optimizer.keras_onnx import before_softmax

    model = small_network(softmax="none")
    assert before_softmax(model) is model


def test_operation_that_onnx_lacks_is_refused_by_name() -> None:
    """tf2onnx itself only logs it and returns a graph that nothing can run."""
    import keras

    from optimizer.keras_onnx import export_keras

    x = keras.Input((4,))
    model = keras.Model(x, keras.ops.erfinv(x))
    with pytest.raises(ExportError, match="Erfinv"):
        export_keras(model)
