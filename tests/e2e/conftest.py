"""What the end-to-end tests share: the real commands, run to their end."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from programs import BIN

Run = Callable[..., "subprocess.CompletedProcess[str]"]
TIMEOUT_S = 120.0


@pytest.fixture(scope="session")
def run() -> Run:
    """Return a function that runs one of our commands; `env` is added to the environment."""

    def call(name: str, *arguments: str | Path, **env: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [BIN / name, *arguments],
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
            stdin=subprocess.DEVNULL,
            env=os.environ | env,
        )

    return call
