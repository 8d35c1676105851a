"""The chaos programs in small: each ends well, says so, and says what it counted."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.e2e, pytest.mark.slow]
FOLDER = Path(__file__).parent
TIMEOUT_S = 300.0


@pytest.mark.parametrize(
    ("program", "flags"),
    [
        ("kills", ["--windows", "400", "--kills", "3", "--seconds", "120"]),
        ("network", ["--windows", "400", "--seconds", "8"]),
        ("disk", ["--windows", "3000", "--torn", "3"]),
        ("malformed", ["--messages", "2000"]),
        ("soak", ["--minutes", "0.3", "--samples", "8"]),
    ],
)
def test_a_short_run_ends_well(program: str, flags: list[str]) -> None:
    """A bounded run exits 0 and its last line is the verdict."""
    process = subprocess.run(
        [sys.executable, FOLDER / f"{program}.py", *flags],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert process.returncode == 0, process.stdout + process.stderr
    assert f"{program}: PASS" == process.stdout.splitlines()[-1]


@pytest.mark.parametrize("program", ["kills", "network", "disk", "malformed", "soak"])
def test_help_says_what_it_does(program: str) -> None:
    command = [sys.executable, FOLDER / f"{program}.py", "--help"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "usage:" in text
