"""TensorFlow, loaded once, and the networks that the tests of pruning share."""

import pytest


@pytest.fixture(scope="session", autouse=True)
def _tensorflow() -> None:
    """Load TensorFlow once, as the program does."""
    from optimizer.chatter import load_tensorflow

    load_tensorflow()
