"""An image classifier: pixels in [0, 1], a backbone, a new classification head."""

from typing import Any

import keras

from headtail.bundle.manifest import Step
from headtail.errors import ConfigError
from optimizer.cut.graph_file import first_line
from optimizer.images.backbone_layers import find_features, fit_input, read_backbone
from optimizer.images.config import BackboneConfig
from optimizer.images.family import build_family, checked_file, family_names, find_family
from optimizer.images.residual import NAME as SMALL_RESNET
from optimizer.images.residual import small_resnet

HEAD = "head_"
"""Beginning of the names of the new head's layers."""
_LIMITS = {"blocks": 20, "width": 1024, "stride": 4}


def build_classifier(
    config: BackboneConfig, shape: tuple[int, int, int], classes: int
) -> keras.Model:
    """Build a classifier of images: one flat graph that ends in a softmax.

    Args:
        config: Which backbone, and with what weights.
        shape: Height, width and channels (3) of the images.
        classes: Units of the new head.

    Returns:
        A model from float32 pixels in [0, 1], shape (N, height, width, 3), to class shares, shape
        (N, classes).

    Raises:
        ConfigError: If there is no such network, file or option, or the weights cannot be had.
    """
    if config.network.endswith(".keras"):
        inputs, features = _read_features(config, shape)
    else:
        inputs = keras.Input(shape, name="pixels")
        features = _build_features(config, inputs)
    x = features
    if len(x.shape) == 4:
        x = keras.layers.GlobalAveragePooling2D(name="head_pool")(x)
    if config.hidden:
        x = keras.layers.Dense(config.hidden, activation="relu", name="head_hidden")(x)
    if config.dropout:
        x = keras.layers.Dropout(config.dropout, name="head_dropout")(x)
    x = keras.layers.Dense(classes, name="head_logits")(x)
    return keras.Model(inputs, keras.layers.Softmax(name="head_softmax")(x), name="classifier")


def preprocess_steps(height: int, width: int) -> tuple[Step, ...]:
    """Return the window steps from an image of any size, 0 to 255, to the model's input."""
    resize = Step("resize", {"height": height, "width": width})
    return (resize, Step("scale", {"gain": 1 / 255}))


def _build_features(config: BackboneConfig, inputs: Any) -> Any:
    if config.network == SMALL_RESNET:
        if config.weights != "none":
            raise ConfigError("[backbone] weights", f"{SMALL_RESNET} has none to load")
        return small_resnet(inputs, **_small_options(config))
    if config.network not in family_names():
        known = ", ".join([SMALL_RESNET, *family_names()])
        raise ConfigError(
            "[backbone] network",
            f"expected a .keras file or one of {known}; received '{config.network}'",
        )
    family = find_family(config.network)
    unknown = sorted(config.options.keys() - set(family.options))
    if unknown:
        raise ConfigError(
            f"[backbone.options] {unknown[0]}",
            f"{family.name} takes {', '.join(family.options) or 'none'}",
        )
    is_own = config.preprocessing == "family"
    if family.is_fixed and not is_own:
        raise ConfigError(
            "[backbone] preprocessing", f"{family.name} always does its own; set 'family'"
        )
    if is_own:
        gain = (255 * family.gain).tolist()
        offset = family.offset.tolist()
        inputs = keras.layers.Rescaling(gain, offset, name="family_range")(inputs)
    return build_family(family, inputs, config.weights, config.options, own=is_own)


def _small_options(config: BackboneConfig) -> dict[str, int]:
    options: dict[str, int] = {}
    for name, value in config.options.items():
        limit = _LIMITS.get(name)
        if limit is None:
            known = ", ".join(_LIMITS)
            raise ConfigError(f"[backbone.options] {name}", f"{SMALL_RESNET} takes {known}")
        if not isinstance(value, int) or not 1 <= value <= limit:
            raise ConfigError(
                f"[backbone.options] {name}", f"expected 1 to {limit}, received {value!r}"
            )
        options[name] = value
    return options


def _read_features(config: BackboneConfig, shape: tuple[int, int, int]) -> tuple[Any, Any]:
    if config.options or config.weights == "imagenet":
        raise ConfigError(
            "[backbone] network", "a .keras file takes no options and not the weights 'imagenet'"
        )
    model = read_backbone(checked_file(config.network))
    if config.weights != "none":
        try:
            model.load_weights(checked_file(config.weights))
        except (OSError, ValueError, KeyError) as error:
            where = f"[backbone] weights '{config.weights}'"
            raise ConfigError(where, first_line(error)) from error
    fitted = fit_input(model, shape, config.network)
    return fitted.inputs[0], find_features(fitted)
