"""A residual network for images of few pixels, such as 32 x 32.

Source: He et al., arXiv:1512.03385, sec. 4.2 (three stages, the second and third halving the sides
and doubling the channels); the shortcut across stages is a 1 x 1 convolution with a stride.
"""

from typing import Any

import keras

NAME = "SmallResNet"
STAGES = 3


def small_resnet(inputs: Any, blocks: int = 1, width: int = 16, stride: int = 1) -> Any:
    """Return the feature maps that the network makes of `inputs`.

    Args:
        inputs: Keras tensor of images, shape (N, H, W, C).
        blocks: Residual blocks of two convolutions in each stage; 1 is ResNet-8 of MLPerf Tiny.
        width: Channels of the first stage.
        stride: Of the first convolution; 2 quarters the cost of all others.

    Returns:
        Keras tensor, shape (N, H / (4 stride), W / (4 stride), 4 width), rounded up.
    """
    x = _convolve(inputs, width, stride, "stem", "relu")
    for stage in range(STAGES):
        for block in range(blocks):
            step = 2 if stage > 0 and block == 0 else 1
            x = _block(x, width * 2**stage, step, f"stage{stage + 1}_block{block + 1}")
    return x


def _block(x: Any, channels: int, stride: int, name: str) -> Any:
    shortcut = x
    if stride != 1 or x.shape[-1] != channels:
        shortcut = _convolve(x, channels, stride, f"{name}_shortcut", None, kernel=1)
    y = _convolve(x, channels, stride, f"{name}_first", "relu")
    y = _convolve(y, channels, 1, f"{name}_second", None)
    y = keras.layers.Add(name=f"{name}_add")([shortcut, y])
    return keras.layers.Activation("relu", name=f"{name}_out")(y)


def _convolve(
    x: Any, channels: int, stride: int, name: str, activation: str | None, kernel: int = 3
) -> Any:
    x = keras.layers.Conv2D(
        channels,
        kernel,
        stride,
        padding="same",
        use_bias=False,
        kernel_initializer="he_normal",
        name=f"{name}_conv",
    )(x)
    x = keras.layers.BatchNormalization(momentum=0.9, name=f"{name}_norm")(x)
    return keras.layers.Activation(activation, name=f"{name}_relu")(x) if activation else x
