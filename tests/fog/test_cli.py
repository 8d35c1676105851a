"""The program as an operator runs it: flags, files, one line for what is wrong, signals."""

import queue
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import grpc
import pytest

from fog_server.cli import FLAGS, main, make_parser, read_config
from fog_server.config import Config
from headtail.config import read_toml
from headtail.errors import ConfigError

DEPLOY = Path(__file__).parents[2] / "deploy" / "fog"
FOG = [sys.executable, "-m", "fog_server.cli"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_drains_and_exits_with_zero(number, start):
    """Its log is one line per change of state."""
    process = start()
    assert process.stop(number) == 0
    assert "draining: 0 streams open" in process.log
    assert process.log.rstrip().endswith("stopped")
    assert "Traceback" not in process.log


def test_program_serves_and_ends_open_streams_cleanly(start):
    """From the outside: a frame answered, SIGTERM, status OK."""
    process = start("--metrics", "127.0.0.1:0")
    with grpc.insecure_channel(process.address) as channel:
        call = channel.stream_stream("/inference.GRPCInferenceService/ModelStreamInfer")
        frames = queue.SimpleQueue()
        stream = call(iter(frames.get, None), timeout=20)
        frames.put(b"\xff")
        assert b"INVALID_ARGUMENT" in next(stream)
        assert process.stop() == 0
        assert list(stream) == []
        assert stream.code() == grpc.StatusCode.OK
        frames.put(None)
    assert re.search(r"metrics on http://127\.0\.0\.1:\d+/metrics", process.log)


def test_idle_server_does_not_spin(start):
    """Half a second of nothing costs no CPU time worth naming."""
    process = start()
    before = process.cpu_s()
    time.sleep(0.5)  # the measurement itself, not a wait for something
    assert process.cpu_s() - before <= 0.25  # spinning would cost all of it


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "bundles: name the folder of bundles with --bundles DIR"),
        (["--bundles", "/nowhere"], "bundles: '/nowhere' is not a folder"),
        (
            ["--bundles", ".", "--max-batch", "0"],
            r"flags: Expected `int` >= 1.*inference.max_batch",
        ),
        (["--config", "/nowhere.toml"], "/nowhere.toml: cannot be read"),
        (["--bundles", ".", "--trust", "/nowhere"], "/nowhere: no trusted keys"),
    ],
)
def test_wrong_setting_is_one_line_and_exit_one(arguments, message, key_folder, capsys):
    """No traceback for what the user can mend."""
    if "--trust" not in arguments:
        arguments = [*arguments, "--trust", str(key_folder / "trust")]
    assert main(arguments) == 1
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 1
    assert re.match(f"error: {message}", errors[0])


def test_unknown_flag_is_a_usage_error(capsys):
    """Exit code 2, as argparse has it."""
    with pytest.raises(SystemExit) as ended:
        main(["--bundels", "x"])
    assert ended.value.code == 2
    assert "--bundels" in capsys.readouterr().err


@pytest.mark.parametrize("flag", ["--help", "--version"])
def test_help_and_version_end_with_zero(flag, capsys):
    """Help teaches by example."""
    with pytest.raises(SystemExit) as ended:
        main([flag])
    assert ended.value.code == 0
    assert "fog-server" in capsys.readouterr().out


def test_bad_bundle_stops_the_program(write_test_bundle, tmp_path, key_folder):
    """Exit code 1, one line, the bundle named, nothing served."""
    write_test_bundle(tmp_path, corrupt=True)
    arguments = ["--bundles", str(tmp_path), "--trust", str(key_folder / "trust")]
    done = subprocess.run(
        [*FOG, *arguments, "--listen", "127.0.0.1:0"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert re.match(r"error: bundle chain 1\.0\.0: self-test of output 'y'", done.stderr)
    assert len(done.stderr.splitlines()) == 1


def test_port_in_use_stops_the_program(fog, bundle_folder, key_folder):
    """One error line, with the address; gRPC's own line about it does not come."""
    arguments = ["--bundles", str(bundle_folder), "--trust", str(key_folder / "trust")]
    done = subprocess.run(
        [*FOG, *arguments, "--listen", fog.address, "--log-level", "error"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: --listen: cannot listen on {fog.address}: Address")
    assert len(done.stderr.splitlines()) == 1


def test_flags_win_over_the_file(tmp_path):
    """The file holds every key; a flag changes one."""
    file = tmp_path / "fog.toml"
    file.write_text('bundles = "a"\nlisten = "0.0.0.0:1"\n[inference]\nmax_queued = 7\n')
    arguments = ["--config", str(file), "--listen", "0.0.0.0:2", "--max-batch", "9"]
    config = read_config(make_parser().parse_args(arguments))
    assert (config.bundles, config.listen) == ("a", "0.0.0.0:2")
    assert (config.inference.max_queued, config.inference.max_batch) == (7, 9)


def test_unknown_key_is_named_with_its_file(tmp_path):
    """A spelling mistake is not ignored."""
    file = tmp_path / "fog.toml"
    file.write_text("[wire]\nmax_agent = 3\n")
    with pytest.raises(ConfigError, match=r"fog\.toml: .*`max_agent`.*wire"):
        read_config(make_parser().parse_args(["--config", str(file)]))


def test_every_flag_has_its_key():
    """Flags mirror keys, one to one."""
    flags = vars(make_parser().parse_args([])).keys() - {"config"}
    assert flags == FLAGS.keys()
    for flag, path in FLAGS.items():
        section, _, key = path.rpartition(".")
        assert hasattr(getattr(Config(), section) if section else Config(), key)
        assert flag in (key, f"{section}_{key}") or (flag, key) == (section, "enabled")


def test_deployed_configuration_has_every_key_at_its_default():
    """The commented file says what the program does without it, but for the folders it names."""
    config = read_toml(DEPLOY / "fog-server.toml", Config)
    text = (DEPLOY / "fog-server.toml").read_text()
    default = Config()
    batching = default.inference.dynamic_batching
    for section in (default, default.inference, batching, batching.default_queue_policy,
                    default.wire, default.tls, default.rollout,
                    default.rollout.rules, default.capture):  # fmt: skip
        for key in section.__struct_fields__:
            assert re.search(rf"^((# )?\[(\w+\.)*{key}[\].]|{key} = )", text, re.MULTILINE), key
    assert (default.inference, default.wire) == (config.inference, config.wire)
    assert default.rollout == config.rollout
    assert default.capture == config.capture
