"""Importance by every criterion, against what can be worked out otherwise."""

import numpy as np
import pytest
from prune_case import randomise
from prune_networks import build

from headtail.errors import PruningError

pytestmark = pytest.mark.tf
RNG = 11


def batches(count: int = 2, size: int = 3):
    """Return random images with labels."""
    rng = np.random.default_rng(RNG)
    return [
        (rng.normal(size=(size, 6, 6, 3)).astype(np.float32), rng.integers(0, 3, size))
        for _ in range(count)
    ]


@pytest.fixture(name="network", scope="module")
def _network():
    from optimizer.prune.groups import find_groups

    model = build("residual")
    randomise(model, np.random.default_rng(RNG))
    return model, find_groups(model)


def test_norms_are_sums_over_the_layers_that_make_a_channel(network) -> None:
    from optimizer.prune.weight_importance import l1_importance, l2_importance

    model, groups = network
    kernels = [model.get_layer(n).kernel.numpy() for n in "abc"]
    expected = sum(np.abs(k).sum(axis=(0, 1, 2)) for k in kernels)
    np.testing.assert_allclose(expected, l1_importance(groups).by_group["a"], rtol=1e-6)
    expected = np.sqrt(sum((k**2).sum(axis=(0, 1, 2)) for k in kernels))
    np.testing.assert_allclose(expected, l2_importance(groups).by_group["a"], rtol=1e-6)


def test_gamma_scores_what_is_normalised_and_names_the_rest() -> None:
    from optimizer.prune.groups import find_groups
    from optimizer.prune.weight_importance import gamma_importance

    model = build("plain")
    randomise(model, np.random.default_rng(RNG))
    model.get_layer("a_bn").gamma.assign(np.linspace(-1, 1, 8))
    scores = gamma_importance(find_groups(model))
    np.testing.assert_allclose(np.abs(np.linspace(-1, 1, 8)), scores.by_group["a"], rtol=1e-6)
    assert ("b", "c") == scores.unscored


def test_random_importance_follows_its_generator(network) -> None:
    from optimizer.prune.weight_importance import random_importance

    first, again, other = (
        random_importance(network[1], np.random.default_rng(seed)).by_group["a"]
        for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_gradcam_of_a_head_that_can_be_worked_out() -> None:
    """Global pool and dense: ds_k/dA_c is w_ck / positions everywhere."""
    import keras

    from optimizer.prune.gradient_importance import gradcam_importance
    from optimizer.prune.groups import find_groups

    x = keras.Input((6, 6, 3))
    h = keras.layers.Conv2D(5, 3, padding="same", name="a")(x)
    h = keras.layers.ReLU(name="r")(keras.layers.BatchNormalization()(h))
    pooled = keras.layers.GlobalAveragePooling2D()(h)
    model = keras.Model(x, keras.layers.Dense(3, activation="softmax", name="y")(pooled))
    randomise(model, np.random.default_rng(RNG))
    maps = keras.Model(x, h)
    weights = model.get_layer("y").kernel.numpy() / 36
    data = batches()
    for heatmap in ("positive", "absolute"):
        expected = []
        for images, labels in data:
            product = maps(images).numpy() * weights[:, labels].T[:, None, None, :]
            part = np.abs(product) if heatmap == "absolute" else np.maximum(product, 0)
            expected.append(part.sum(axis=(1, 2)))
        scores = gradcam_importance(model, find_groups(model), data, heatmap)
        np.testing.assert_allclose(
            np.concatenate(expected).mean(axis=0), scores.by_group["a"], rtol=1e-4
        )


def test_taylor_is_the_change_of_the_loss_when_a_channel_fades() -> None:
    """By central differences: the channel scaled by 1 +- h, which no batch average may hide."""
    import keras

    from optimizer.prune.gradient_importance import taylor_importance
    from optimizer.prune.groups import find_groups

    x = keras.Input((6, 6, 3))
    h = keras.layers.Conv2D(4, 3, activation="sigmoid", name="a")(x)
    tail = keras.layers.Conv2D(4, 3, activation="tanh", name="b")(h)
    tail = keras.layers.GlobalAveragePooling2D()(tail)
    model = keras.Model(x, keras.layers.Dense(3, name="y")(tail))
    randomise(model, np.random.default_rng(RNG))
    head, rest = keras.Model(x, h), keras.Model(h, model.output)
    ((images, labels),) = batches(1)
    activation = head(images).numpy().astype(np.float64)

    def losses(channel: int, factor: float) -> np.ndarray:
        changed = activation.copy()
        changed[..., channel] *= factor
        logits = rest(changed.astype(np.float32)).numpy().astype(np.float64)
        return np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(len(labels)), labels]

    expected = [np.abs((losses(c, 1.05) - losses(c, 0.95)) / 0.1).mean() for c in range(4)]
    scores = taylor_importance(model, find_groups(model), [(images, labels)])
    np.testing.assert_allclose(expected, scores.by_group["a"], rtol=1e-2)


@pytest.mark.parametrize("name", ["nested", "many_groups"])
def test_gradients_reach_nested_shared_and_grouped_layers(name: str) -> None:
    from optimizer.prune.gradient_importance import gradcam_importance, taylor_importance
    from optimizer.prune.groups import find_groups

    model = build(name)
    randomise(model, np.random.default_rng(RNG))
    groups = find_groups(model)
    for criterion in (gradcam_importance, taylor_importance):
        scores = criterion(model, groups, batches())
        assert {g.name: (g.width,) for g in groups.groups} == {
            name: row.shape for name, row in scores.by_group.items()
        }
        assert all((row >= 0).all() and row.any() for row in scores.by_group.values())


def test_no_calibration_images_are_refused(network) -> None:
    from optimizer.prune.gradient_importance import gradcam_importance

    with pytest.raises(PruningError, match="expected calibration images, received none"):
        gradcam_importance(*network, [])
