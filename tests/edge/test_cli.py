"""The command: one line for every error, exit statuses, flags that mirror the file."""

import re
import tomllib
from pathlib import Path

import pytest

from edge_agent.cli import build_parser, main
from edge_agent.config import Config, read_config
from headtail.errors import ConfigError

EXAMPLE = Path(__file__).parents[2] / "deploy" / "edge" / "edge-agent.toml"


def flags() -> set[str]:
    """Return the keys that `run` takes as flags."""
    commands = build_parser()._subparsers._group_actions[0].choices
    return {action.dest for action in commands["run"]._actions} - {"help", "config"}


def test_flags_mirror_the_keys_one_to_one():
    assert set(Config.__struct_fields__) == flags()


def test_example_file_names_every_key_with_its_default():
    """Each key stands there commented out; without the marks it is the defaults."""
    text = re.sub(r"^# ?(\w+ = )", r"\1", EXAMPLE.read_text(), flags=re.MULTILINE)
    keys = tomllib.loads(text)
    assert set(Config.__struct_fields__) == keys.keys()
    defaults = {name: value for name, value in keys.items() if name not in OWN}
    assert defaults == {name: getattr(Config(), name) for name in defaults}


OWN = {"bundle", "fog", "source", "sink", "trust"}  # what everybody sets


def test_flags_win_over_the_file(tmp_path):
    (tmp_path / "a.toml").write_text('fog = "a:1"\nbatch = 3\nspeed = 2.5\n')
    config = read_config(tmp_path / "a.toml", {"fog": "b:2", "speed": "max"})
    assert (("b:2",), 3, None) == (config.fogs, config.batch, config.pace)


def test_fogs_are_one_or_a_list_in_order(tmp_path):
    (tmp_path / "a.toml").write_text('fog = ["a:1", "b:2"]\n')
    assert ("a:1", "b:2") == read_config(tmp_path / "a.toml", {}).fogs
    assert ("c:3", "d:4") == read_config(None, {"fog": ["c:3", "d:4"]}).fogs
    assert () == read_config(None, {}).fogs


@pytest.mark.parametrize(("text", "pace"), [("max", None), ("20", 20.0), ("0.5", 0.5)])
def test_speed_is_a_number_or_max(text, pace):
    assert pace == read_config(None, {"speed": text}).pace


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("fgo = 'x'", "unknown field `fgo`"),
        ("batch = 0", "at `$.batch`"),
        ("batch = 'many'", "at `$.batch`"),
        ("batch = ", "no valid TOML"),
    ],
)
def test_wrong_file_is_named_with_its_key(tmp_path, content, reason):
    (tmp_path / "a.toml").write_text(content)
    with pytest.raises(ConfigError, match=f"a\\.toml: .*{re.escape(reason)}"):
        read_config(tmp_path / "a.toml", {})


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--source", "npz:x"], "error: --bundle, --model: expected exactly one of them"),
        (["--bundle", "none.bundle"], "error: --source: expected wfdb:RECORD"),
        (["--batch", "0"], "error: edge-agent run: Expected `int` >= 1 - at --batch"),
        (["--speed", "slow"], "error: edge-agent run: .* - at --speed"),
        (["--config", "none.toml"], "error: none.toml: cannot be read: No such file"),
        (
            ["--bundle", "b", "--source", "npz:x", "--trust", "/none"],
            "error: /none: no trusted keys",
        ),
    ],
)
def test_error_is_one_line_and_exit_1(capsys, arguments, line):
    assert 1 == main(["run", *arguments])
    captured = capsys.readouterr()
    assert re.match(line, captured.err)
    assert 1 == captured.err.count("\n")
    assert "" == captured.out


@pytest.mark.parametrize(
    "arguments", [[], ["go"], ["run", "--batch", "x"], ["run", "--bundle", "a", "--model", "b"]]
)
def test_wrong_usage_is_exit_2(capsys, arguments):
    with pytest.raises(SystemExit) as raised:
        main(arguments)
    assert 2 == raised.value.code
    assert "usage: edge-agent" in capsys.readouterr().err


def test_version(capsys):
    with pytest.raises(SystemExit) as raised:
        main(["--version"])
    assert 0 == raised.value.code
    assert re.fullmatch(r"edge-agent \d+\.\d+\.\d+\n", capsys.readouterr().out)


def test_help_teaches_by_examples(capsys):
    with pytest.raises(SystemExit):
        main(["run", "--help"])
    assert 4 == capsys.readouterr().out.count("edge-agent run --")


def test_run_to_the_end_is_exit_0(run_agent, capfd):
    """Results alone on standard output; the log on standard error."""
    settings = run_agent.settings
    arguments = ["--bundle", settings["bundle"], "--trust", settings["trust"], "--point", "3"]
    assert 0 == main(["run", *arguments, "--source", settings["source"], "--sink", "stdout"])
    captured = capfd.readouterr()
    assert 20 == captured.out.count("\n")
    assert "ready: bundle chain 1.0.0 (" in captured.err
    assert "done: 20 windows; 20 on edge" in captured.err
