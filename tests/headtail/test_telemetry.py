"""Nothing that onnxruntime sends home leaves the machine."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from headtail import telemetry

PROGRAM = """
from headtail import telemetry
telemetry.disable()
import onnxruntime
"""


def test_onnxruntime_leaves_nothing_in_the_home_folder(tmp_path: Path) -> None:
    """No device identifier and no database of events: the uploader was never made."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("ORT_", "XDG_"))}
    environment["HOME"] = str(tmp_path)
    subprocess.run([sys.executable, "-c", PROGRAM], check=True, env=environment)
    assert [] == list(tmp_path.rglob("*"))


def test_users_own_choice_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever sets the variable is obeyed."""
    monkeypatch.setenv(telemetry.VARIABLE, "0")
    telemetry.disable()
    assert os.environ[telemetry.VARIABLE] == "0"
