"""Importance of channels from gradients on a calibration set: Grad-CAM and Taylor."""

from collections.abc import Callable, Iterable
from typing import Any, Literal

import keras
import numpy as np
import tensorflow as tf

from headtail.errors import PruningError
from headtail.tensor import Array
from optimizer.keras_onnx import before_softmax
from optimizer.prune.groups import ChannelGroups
from optimizer.prune.observe import observe
from optimizer.prune.scores import FloatArray, Scores, group_scores

Batches = Iterable[tuple[Array, Array]]
"""Inputs of shape (N, ...) and integer labels of shape (N,)."""
Reduce = Callable[[Any, Any], Any]


def gradcam_importance(
    model: keras.Model,
    groups: ChannelGroups,
    batches: Batches,
    heatmap: Literal["positive", "absolute"] = "positive",
) -> Scores:
    """Return the mean integral of each channel's Grad-CAM heatmap over a calibration set.

    For an image of class k, the weight of channel c is w_c = mean over positions of
    d s_k / d A_c, its heatmap H(x, y, c) = ReLU(w_c A_c(x, y)), and its integral the sum of H over
    positions; I(c) is the mean over images. s_k is the score of the labelled class before the
    softmax and A_c what the layer's channel is behind the normalisation and activation that follow
    it. Integrals of all layers (and calls) that make a channel are added. As a sum it is about the
    channel's part of the score, whatever the size of the map, so layers may be compared.

    Args:
        model: A classifier of one input, with or without a softmax at its end.
        groups: Its groups.
        batches: The calibration set.
        heatmap: "positive" as published; "absolute" counts what speaks against the class as well.

    Raises:
        PruningError: If the set is empty.

    Source: ToSiM-IoT, eq. 10 (I(c) as integral of the heatmap); Selvaraju et al., Grad-CAM,
    arXiv:1610.02391, eqs. 1 and 2 (here for each channel by itself, not their sum).
    """

    def reduce(activation: Any, gradient: Any) -> Any:
        places = list(range(1, len(activation.shape) - 1))
        weights = tf.reduce_mean(gradient, places, keepdims=True)
        product = weights * activation
        part = tf.abs(product) if heatmap == "absolute" else tf.nn.relu(product)
        return tf.reduce_sum(part, [0, *places])

    return _averaged(model, groups, batches, "gradcam", (_class_score, reduce))


def taylor_importance(model: keras.Model, groups: ChannelGroups, batches: Batches) -> Scores:
    """Return how much the loss would change, to first order, without each channel.

    Per image |sum over positions of A_c dL/dA_c|, L the cross-entropy; averaged over images. The
    source divides by the number of positions and makes up for it by a norm per layer; neither is
    done here, so that layers may be compared.

    Raises:
        PruningError: If the set is empty.

    Source: Molchanov et al., Pruning Convolutional Neural Networks for Resource Efficient
    Inference, arXiv:1611.06440, eq. 8.
    """

    def reduce(activation: Any, gradient: Any) -> Any:
        places = list(range(1, len(activation.shape) - 1))
        return tf.reduce_sum(tf.abs(tf.reduce_sum(activation * gradient, places)), 0)

    return _averaged(model, groups, batches, "taylor", (_loss, reduce))


def _averaged(
    model: keras.Model,
    groups: ChannelGroups,
    batches: Batches,
    criterion: str,
    how: tuple[Reduce, Reduce],
) -> Scores:
    linear = before_softmax(model)
    layers = {layer for g in groups.groups for layer in g.layers}
    objective, reduce = how

    @tf.function(reduce_retracing=True)
    def importance(x: Any, labels: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(x)
            run = observe(linear, layers, x)
            value = objective(run.outputs, labels)
        gradients = tape.gradient(value, run.seen, unconnected_gradients="zero")
        return {
            path: sum(reduce(a, g) for a, g in zip(tensors, gradients[path], strict=True))
            for path, tensors in run.seen.items()
        }

    totals: dict[str, FloatArray] = {}
    count = 0
    for x, labels in batches:
        found = importance(tf.constant(x, tf.float32), tf.constant(labels, tf.int64))
        for path, values in found.items():
            totals[path] = totals.get(path, 0.0) + np.asarray(values, np.float64)
        count += len(labels)
    if count == 0:
        raise PruningError(f"{criterion} importance", "expected calibration images, received none")
    return group_scores(groups, _by_id(groups, totals, count), criterion, is_comparable=True)


def _by_id(groups: ChannelGroups, totals: dict[str, FloatArray], count: int) -> FloatArray:
    by_id = np.full(len(groups.owners), np.nan)
    owners = np.array(groups.owners)
    for path, total in totals.items():
        by_id[owners == path] = total / count
    return by_id


def _class_score(scores: Any, labels: Any) -> Any:
    # Images do not mix in inference, so the gradient of the sum is that of each.
    return tf.reduce_sum(tf.gather(scores, labels, batch_dims=1))


def _loss(scores: Any, labels: Any) -> Any:
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, scores)
    return tf.reduce_sum(losses)
