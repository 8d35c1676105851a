"""Small networks, one for each way in which channels of several layers hang together."""

from collections.abc import Callable


def _model(body: Callable, shape=(6, 6, 3), units: int = 3):
    """Return a model: input, `body(input, layers)`, global pool, dense."""
    import keras

    x = keras.Input(shape, name="x")
    h = body(x, keras.layers)
    if len(h.shape) == 4:
        h = keras.layers.GlobalAveragePooling2D(name="pool")(h)
    return keras.Model(x, keras.layers.Dense(units, name="logits")(h), name="net")


def plain(x, layers):
    """Convolutions with batch normalisation, then a flatten."""
    h = layers.Conv2D(8, 3, padding="same", use_bias=False, name="a")(x)
    h = layers.ReLU()(layers.BatchNormalization(name="a_bn")(h))
    h = layers.MaxPooling2D(2)(h)
    h = layers.Conv2D(6, 3, padding="same", activation="gelu", name="b")(h)
    h = layers.Dropout(0.2)(layers.Flatten()(h))
    return layers.Dense(10, activation="sigmoid", name="c")(h)


def residual(x, layers):
    """Two branches that meet in an addition, one of them twice."""
    a = layers.Conv2D(8, 1, name="a")(x)
    b = layers.Conv2D(8, 3, padding="same", name="b")(layers.ReLU()(a))
    h = layers.Add(name="sum")([a, b])
    c = layers.Conv2D(8, 1, name="c")(h)
    return layers.Subtract()([h, c])


def branches(x, layers):
    """A concatenation, added to one wide convolution, and the input beside it."""
    a = layers.Conv2D(4, 1, name="a")(x)
    b = layers.Conv2D(6, 1, name="b")(x)
    wide = layers.Conv2D(10, 1, name="wide")(x)
    h = layers.Add()([layers.Concatenate()([a, b]), wide])
    return layers.Concatenate()([layers.AveragePooling2D(3, 1, "same")(h), x])


def squeeze_excite(x, layers):
    """A depthwise convolution, and a gate that multiplies its channels."""
    h = layers.Conv2D(8, 1, activation="swish", name="a")(x)
    h = layers.DepthwiseConv2D(3, depth_multiplier=2, name="dw")(layers.ZeroPadding2D(1)(h))
    h = layers.BatchNormalization(name="bn")(h)
    s = layers.GlobalAveragePooling2D()(h)
    s = layers.Reshape((1, 1, 16))(s)
    s = layers.Conv2D(5, 1, activation="relu", name="down")(s)
    s = layers.Conv2D(16, 1, activation="sigmoid", name="up")(s)
    return layers.Multiply()([h, s])


def few_groups(x, layers):
    """A convolution in two groups of six."""
    h = layers.Conv2D(12, 1, name="a")(x)
    h = layers.Conv2D(8, 3, groups=2, padding="same", activation="relu", name="grouped")(h)
    return layers.Conv2D(5, 1, name="b")(h)


def many_groups(x, layers):
    """A convolution in six groups of two, then group normalisation over three of four."""
    h = layers.Conv2D(12, 1, name="a")(x)
    h = layers.Conv2D(12, 3, groups=6, padding="same", activation="relu", name="grouped")(h)
    h = layers.Conv2D(12, 1, name="b")(h)
    return layers.GroupNormalization(3, name="gn")(h)


def up_and_down(x, layers):
    """Separable, strided and transposed convolutions."""
    h = layers.SeparableConv2D(6, 3, depth_multiplier=2, padding="same", name="a")(x)
    h = layers.PReLU(shared_axes=[1, 2], name="slopes")(h)
    h = layers.SeparableConv2D(8, 3, depth_multiplier=2, strides=2, name="b")(h)
    h = layers.Conv2DTranspose(5, 3, strides=2, activation="tanh", name="up")(h)
    return layers.Conv2D(4, 1, name="c")(layers.UpSampling2D(2)(h))


def shared(x, layers):
    """One convolution called on two tensors."""
    twin = layers.Conv2D(6, 3, padding="same", activation="relu", name="twin")
    a = layers.Conv2D(5, 1, name="a")(x)
    b = layers.Conv2D(5, 1, name="b")(x)
    return layers.Concatenate()([twin(a), twin(b)])


def nested(x, layers):
    """A model called twice inside a model, with a sequential one inside it."""
    import keras

    i = keras.Input((6, 6, 6), name="i")
    block = keras.Sequential(
        [layers.Conv2D(7, 1, name="c"), layers.ReLU(), layers.Conv2D(6, 1, name="d")], name="block"
    )
    inner = keras.Model(i, layers.Add()([i, block(i)]), name="inner")
    a = layers.Conv2D(6, 1, name="a")(x)
    b = layers.Conv2D(6, 1, name="b")(x)
    return layers.Concatenate()([inner(a), inner(b)])


def operations(x, layers):
    """Bare operations: a hard sigmoid as MobileNetV3 writes it, a mean, a reshape."""
    from keras import ops

    h = layers.Conv2D(8, 1, name="a")(x)
    s = ops.relu6(layers.Conv2D(8, 1, name="gate")(h) + 3.0) * (1.0 / 6.0)
    h = ops.maximum(h * s, layers.Conv2D(8, 1, name="b")(x))
    h = ops.concatenate([h, layers.Conv2D(4, 1, name="c")(x)], axis=-1)
    h = ops.mean(h, axis=(1, 2), keepdims=True)
    h = layers.Conv2D(6, 1, name="d")(h)
    return ops.reshape(h, (-1, 6))


def shuffle(x, layers):
    """A channel shuffle between two convolutions in two groups."""
    h = layers.Conv2D(8, 1, name="a")(x)
    h = layers.Reshape((6, 6, 2, 4))(h)
    h = layers.Permute((1, 2, 4, 3))(h)
    h = layers.Reshape((6, 6, 8))(h)
    return layers.Conv2D(6, 1, groups=2, name="b")(h)


def convnext(x, layers):
    """Layer normalisation over a trunk that a depthwise convolution in groups leads to."""
    from keras.src.applications.convnext import LayerScale

    trunk = layers.Conv2D(6, 1, name="stem")(x)
    h = layers.Conv2D(6, 3, groups=6, padding="same", name="dw")(trunk)
    h = layers.LayerNormalization(name="ln")(h)
    h = layers.Dense(12, activation="gelu", name="wide")(h)
    h = layers.Dense(6, name="narrow")(h)
    h = LayerScale(1e-6, 6, name="scale")(h)
    return trunk + h


NETWORKS: dict[str, Callable] = {
    f.__name__: f
    for f in (
        plain, residual, branches, squeeze_excite, few_groups, many_groups, up_and_down, shared,
        nested, operations, shuffle, convnext,
    )
}  # fmt: skip


def build(name: str):
    """Build one of the networks."""
    return _model(NETWORKS[name])
