"""The Keras model of a network of the family."""

from collections.abc import Sequence

import keras

from headtail.tensor import Array
from optimizer.fast.weights import glorot
from optimizer.network import Genome


def build_keras(
    genome: Genome, seed: int = 0, weights: Sequence[Array] | None = None
) -> keras.Model:
    """Build the network: input "x" of (length, channels), output "y" of class probabilities.

    A ReLU follows every convolution as a layer of its own; the dense layer is "logits" and the
    softmax after it "y".

    Args:
        genome: The network.
        seed: Draws the first weights, Glorot uniform with zero biases, the same for the same seed.
        weights: What to take in their place, as `fast.weights` has them.
    """
    layers = genome.layers()
    x = keras.Input((genome.lengths[0], genome.channels[0]), name="x")
    h = x
    for i, layer in enumerate(layers):
        if layer.kind == "dense":
            h = keras.layers.Flatten(name="flatten")(h)
            h = keras.layers.Dense(genome.classes, name="logits")(h)
            continue
        is_conv = layer.kind == "conv"
        kind = keras.layers.Conv1D if is_conv else keras.layers.Conv1DTranspose
        h = kind(
            layer.out_channels,
            layer.kernel,
            strides=layer.stride,
            padding="same" if layer.multiple > 1 else "valid",
            name=f"{layer.kind}{i}",
        )(h)
        h = keras.layers.ReLU(name=f"relu{i}")(h)
    model = keras.Model(x, keras.layers.Softmax(name="y")(h))
    model.set_weights(glorot(genome, seed) if weights is None else list(weights))
    return model
