"""Networks of keras.applications: which there are, how each takes its pixels, its weights."""

import inspect
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from headtail.errors import ConfigError
from headtail.tensor import Array
from optimizer.cut.graph_file import first_line
from optimizer.images.config import Option

_OURS = frozenset({"input_tensor", "input_shape", "include_top", "weights", "pooling", "classes"})
_OURS |= {"classifier_activation", "include_preprocessing", "name"}


@dataclass(frozen=True, slots=True)
class Family:
    """One network of keras.applications."""

    name: str
    build: Callable[..., Any]
    """Keras' own function of that name."""
    gain: Array
    """What a pixel in [0, 255] is multiplied with, per channel from red on, shape (3,)."""
    offset: Array
    """What is added then, shape (3,)."""
    is_bgr: bool
    """Whether its weights expect blue first."""
    parameters: frozenset[str]
    """Names of what `build` takes."""

    @property
    def can_leave_out(self) -> bool:
        """Whether the network preprocesses inside itself and can be built without."""
        return "include_preprocessing" in self.parameters

    @property
    def is_fixed(self) -> bool:
        """Whether the network preprocesses inside itself and cannot be built without."""
        is_identity = bool((self.gain == 1).all() and (self.offset == 0).all())
        return is_identity and not self.can_leave_out

    @property
    def options(self) -> list[str]:
        """Names of the options that a recipe may set."""
        return sorted(self.parameters - _OURS)


def family_names() -> list[str]:
    """Return the names of all networks of keras.applications."""
    return sorted(n for n, v in _functions().items() if _has_preprocessing(v))


def find_family(name: str) -> Family:
    """Return the network of that name.

    Its preprocessing is read off `preprocess_input`, which is affine in every channel.

    Raises:
        ConfigError: If there is none; the known names follow.
    """
    function = _functions().get(name)
    if function is None or not _has_preprocessing(function):
        known = ", ".join(family_names())
        raise ConfigError("[backbone] network", f"expected one of {known}; received '{name}'")
    pixels = np.zeros((4, 1, 1, 3), np.float32)
    pixels[1:, 0, 0] = np.eye(3)
    given = _preprocess(function)(pixels)[:, 0, 0].astype(np.float64)
    offset, change = given[0], given[1:] - given[0]
    is_bgr = bool(change[0, 2] != 0)
    if is_bgr:
        change, offset = change[:, ::-1], offset[::-1]
    return Family(
        name=name,
        build=function,
        gain=np.diag(change).copy(),
        offset=offset.copy(),
        is_bgr=is_bgr,
        parameters=frozenset(inspect.signature(function).parameters),
    )


def build_family(
    family: Family, inputs: Any, weights: str, options: Mapping[str, Option], *, own: bool
) -> Any:
    """Return the feature maps that the network makes of `inputs`, its weights loaded.

    Args:
        family: Which network.
        inputs: Keras tensor of images with red first, shape (N, H, W, 3), in the range that the
            family takes.
        weights: `imagenet`, `none` or a path.
        options: Further arguments of the network.
        own: Whether preprocessing inside the network stays.

    Raises:
        ConfigError: If the network cannot be built so, or the weights cannot be had.
    """
    arguments: dict[str, Any] = {"include_top": False, **options}
    if family.can_leave_out:
        arguments["include_preprocessing"] = own
    shape = tuple(inputs.shape[1:])
    with _errors(f"[backbone] network '{family.name}'"):
        model = family.build(weights=None, input_tensor=inputs, input_shape=shape, **arguments)
    if weights == "none":
        return model.outputs[0]
    source = "imagenet" if weights == "imagenet" else None
    with _errors(f"[backbone] weights '{weights}'"):
        # Built apart, so that the files fit: they know nothing of layers in front of the network.
        plain = family.build(weights=source, input_shape=shape, **arguments)
        if source is None:
            plain.load_weights(checked_file(weights))
        model.set_weights(plain.get_weights())
    if family.is_bgr:
        _swap_channels(model)
    return model.outputs[0]


def checked_file(path: str) -> Path:
    """Return the path of a file that is there.

    Raises:
        ConfigError: If it is not.
    """
    file = Path(path).expanduser()
    if not file.is_file():
        raise ConfigError(path, "no such file")
    return file


def _swap_channels(model: Any) -> None:
    """Let the first convolution take red first, which is exact: sums do not care for order."""
    first = next(la for la in model.layers if isinstance(la, keras.layers.Conv2D))
    kernel, *rest = first.get_weights()
    first.set_weights([kernel[:, :, ::-1], *rest])


def _functions() -> dict[str, Callable[..., Any]]:
    found: dict[str, Callable[..., Any]] = {}
    for value in vars(keras.applications).values():
        names = vars(value) if inspect.ismodule(value) else {}
        found |= {n: f for n, f in names.items() if n[:1].isupper() and inspect.isfunction(f)}
    top = vars(keras.applications).items()
    return found | {n: f for n, f in top if n[:1].isupper() and inspect.isfunction(f)}


def _has_preprocessing(function: Callable[..., Any]) -> bool:
    return hasattr(sys.modules[function.__module__], "preprocess_input")


def _preprocess(function: Callable[..., Any]) -> Callable[[Array], Array]:
    found: Callable[[Array], Array] = sys.modules[function.__module__].preprocess_input
    return found


@contextmanager
def _errors(where: str) -> Iterator[None]:
    """Give Keras' errors one line and its warnings none: sizes unlike ImageNet's are meant."""
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    except ConfigError:
        raise
    # Keras raises a bare Exception where a download fails.
    except Exception as error:
        raise ConfigError(where, first_line(error)) from error
