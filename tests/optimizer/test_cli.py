"""The command line: exit codes, one-line errors, help without TensorFlow."""

import subprocess
import sys
from pathlib import Path

import pytest

from headtail.profile import list_device_profiles, list_link_profiles
from optimizer import cli, profiles_command

COMMANDS = sorted(cli.COMMANDS)


def test_version_names_program_and_release(capsys: pytest.CaptureFixture[str]) -> None:
    """On standard output, exit code 0."""
    with pytest.raises(SystemExit, match="0"):
        cli.main(["--version"])
    assert capsys.readouterr().out.startswith("optimizer 0.")


@pytest.mark.parametrize("command", [*([c] for c in COMMANDS), []], ids=str)
def test_help_teaches(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Every command has a description; those with arguments have examples."""
    with pytest.raises(SystemExit, match="0"):
        cli.main([*command, "--help"])
    text = capsys.readouterr().out
    assert "usage: optimizer" in text
    assert "examples:" in text or command == ["profiles"]


def test_help_loads_no_training_library() -> None:
    """Nobody waits five seconds for a usage line."""
    code = (
        "import sys\nfrom optimizer.cli import main\n"
        "try: main(['run', '--help'])\nexcept SystemExit: pass\n"
        "heavy = {'tensorflow', 'keras', 'onnx', 'matplotlib', 'wfdb', 'scipy'}\n"
        "sys.exit(' '.join(sorted(heavy & set(sys.modules))) or 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert done.returncode == 0


def test_mistake_gives_one_line_and_exit_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And no folder."""
    code = cli.main(["run", str(tmp_path / "none.toml"), "--out", str(tmp_path / "out")])
    assert code == 1
    expected = f"error: {tmp_path}/none.toml: cannot be read: No such file or directory\n"
    assert expected == capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_wrong_usage_gives_exit_2(capsys: pytest.CaptureFixture[str]) -> None:
    """As every program of the system has it."""
    with pytest.raises(SystemExit, match="2"):
        cli.main(["run"])
    assert "usage: optimizer run" in capsys.readouterr().err


def test_interrupt_gives_exit_130(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a traceback."""

    def interrupted(_arguments: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(profiles_command, "handle", interrupted)
    assert cli.main(["profiles"]) == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_profiles_are_listed_with_their_mode(capsys: pytest.CaptureFixture[str]) -> None:
    """One line each."""
    assert cli.main(["profiles"]) == 0
    names = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert [*list_device_profiles(), *list_link_profiles()] == names
