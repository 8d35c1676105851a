"""Keeping TensorFlow's start-up notes off the terminal."""

import importlib
import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager


def load_tensorflow() -> None:
    """Import TensorFlow, Keras and nothing else, without what they print as they start.

    Their C++ side writes to file descriptor 2 before any logging is configured, so that descriptor
    is turned away for the time of the import; if the import fails, what it said is shown.
    """
    if "tensorflow" in sys.modules:
        return
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # read once, by the import below
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    with _stderr_held():
        importlib.import_module("tensorflow")
        importlib.import_module("keras")


@contextmanager
def _stderr_held() -> Iterator[None]:
    sys.stderr.flush()
    original = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            held.seek(0)
            os.write(original, held.read())
            raise
        finally:
            os.dup2(original, 2)
            os.close(original)
