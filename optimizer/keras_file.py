"""Files that hold a Keras model, `.keras`: read without running code in them, written whole."""

from pathlib import Path

import keras

from headtail.errors import ConfigError
from headtail.zip_errors import ZIP_ERRORS
from optimizer.cut.graph_file import first_line

MAX_BYTES = 4 << 30


def read_keras_file(path: Path) -> keras.Model:
    """Read a model; one that brings code, as lambda layers do, is refused.

    Raises:
        ConfigError: If it is not there, too large, or no Keras model.
    """
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise ConfigError(str(path), f"expected at most {MAX_BYTES} bytes, received {size}")
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except (OSError, TypeError, KeyError, *ZIP_ERRORS) as error:
        raise ConfigError(str(path), f"Keras cannot load it: {first_line(error)}") from error


def write_keras_file(model: keras.Model, path: Path) -> None:
    """Write a model, which takes the place of an existing file in one step; make its folder.

    Raises:
        ConfigError: If it cannot be written.
    """
    temporary = path.with_name(f".{path.stem}.partial{path.suffix}")  # Keras looks at the suffix
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        model.save(temporary)
        temporary.replace(path)
    except OSError as error:
        raise ConfigError(str(path), f"cannot be written: {error.strerror or error}") from error
    finally:
        temporary.unlink(missing_ok=True)
