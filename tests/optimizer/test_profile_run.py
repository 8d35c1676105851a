"""A device profile from a kit: the fit, the measurement, the commands."""

import contextlib
import json
import os
import pty
import select
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edge_agent import cli as edge
from headtail.energy import predict_compute
from headtail.errors import DataError
from headtail.operations import Operations
from headtail.profile import read_device_profile
from headtail.profile_fit import LAYER_TERMS, fit_kit
from headtail.profile_kit import Kit, read_kit
from headtail.profile_measure import Limits, Timing, measure_kit
from optimizer import cli

pytestmark = pytest.mark.tf


def test_synthetic_times_give_their_rates_back(kit: Kit) -> None:
    """Exactly, on the kinds and sizes of a real kit."""
    rates = np.array([2e-6, 0.1e-9, 20e-9, 1e-9])
    layers = kit.manifest.layers
    layer_s = np.array(
        [rates @ (1, y.operations.macs, y.shape.rows, y.shape.patch_values) for y in layers]
    )
    run_s = np.array(
        [
            20e-6 + 1e-9 * (o.conv_macs + 2 * o.depthwise_macs + 3 * o.dense_macs)
            for o in (layer.operations for layer in layers)
        ]
    )
    fitted = np.array([not layer.is_held_out for layer in layers])
    timing = Timing(run_s, layer_s, np.zeros(len(layers)), 3)
    fit = fit_kit(kit, timing, np.random.default_rng(0))
    np.testing.assert_allclose(fit.layers["conv_transpose"].rates, rates, rtol=1e-5)
    assert fit.overhead_s == pytest.approx(float(np.median((run_s - layer_s)[fitted])))
    assert [row.held_out.r2 for row in fit.layer_rows] == pytest.approx([1] * 5)
    # Layers of 2 us and their MACs, in calls of 18 us more: what the profile's model can say.
    linear = Timing(run_s, run_s - 18e-6, np.zeros(len(layers)), 3)
    fit = fit_kit(kit, linear, np.random.default_rng(0))
    np.testing.assert_allclose(fit.run.rates, [20e-6, 1e-9, 2e-9, 3e-9], rtol=1e-6)
    assert [row.held_out.r2 for row in fit.run_rows] == pytest.approx([1] * 5)


def test_a_round_that_cannot_be_finished_says_how_long_it_takes(kit: Kit) -> None:
    ticks = iter(range(10**9))
    with pytest.raises(DataError, match="3 rounds of 32 layers, received 5 s; about 96 s"):
        measure_kit(
            kit,
            Limits(5, 9),
            np.random.default_rng(0),
            lambda *_: None,
            wall=lambda: float(next(ticks)),
        )


def test_profile_of_this_machine_end_to_end(
    kit_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Kit, measurement, fit, file, prediction; the figures depend on the machine, not this test."""
    out = tmp_path / "device.toml"
    command = ["profile", str(kit_path), "--out", str(out), "--rounds", "3", "--json"]
    command += ["--budget-s", "600"]
    assert edge.main([*command, "--power-idle-w", "2", "--power-full-w", "6"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert set(LAYER_TERMS) == set(figures["layer"]["conv"]["rates"])
    assert [row["held_out"]["count"] for row in figures["run_agreement"]] == [2, 2, 2, 2, 8]
    profile = read_device_profile(str(out))
    assert profile.name == "device"
    fitted = [y.operations for y in read_kit(kit_path).manifest.layers if not y.is_held_out]
    assert profile.domain is not None
    assert max(o.conv_macs for o in fitted) == profile.domain.conv_macs
    assert max(o.dense_macs for o in fitted) == profile.domain.dense_macs
    assert max(o.depthwise_macs for o in fitted) == profile.domain.depthwise_macs
    assert profile.model.run_time.kind == "fitted"
    assert profile.model.run_time.uncertainty is not None
    assert "kit " + figures["kit"][:12] in profile.model.conv_time.source
    assert profile.model.idle_power.kind == "measured"
    cost = predict_compute(profile, Operations(conv_macs=10**6))
    rates = figures["run"]["rates"]
    seconds = rates["run"]["seconds"] + 1e6 * rates["conv_mac"]["seconds"]
    assert cost.seconds == pytest.approx(seconds)
    assert cost.joules == pytest.approx(4 * seconds / profile.model.cores)


def test_without_powers_those_of_another_board_are_marked_assumed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`optimizer profile` makes the kit itself, and prints tables."""
    out = tmp_path / "here.toml"
    command = ["profile", "--out", str(out), "--layers", "32", "--rounds", "3"]
    assert cli.main([*command, "--budget-s", "600"]) == 0
    text = capsys.readouterr().out
    assert "held out" in text
    assert "no energy of its own" in text
    model = read_device_profile(str(out)).model
    assert model.full_power.kind == "assumed"
    assert "not of this device" in model.full_power.source


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--power-idle-w", "2"], "expected both or neither"),
        (["--power-idle-w", "3", "--power-full-w", "2"], "expected more than the idle power"),
        (["--power-idle-w", "nan", "--power-full-w", "2"], "expected more than the idle power"),
        (["--budget-s", "0"], "more than 0 and up to 3600"),
        (["--rounds", "2"], "expected at least 3"),
        (["--seed", "-1"], "expected at least 0"),
        (["--name", "No Name!"], "name"),
    ],
)
def test_bad_flags_give_one_line(
    kit_path: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    flags: list[str],
    message: str,
) -> None:
    out = tmp_path / "device.toml"
    assert edge.main(["profile", str(kit_path), "--out", str(out), *flags]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not out.exists()


# A program started in the background ignores SIGINT, and so do its children: not this one.
INTERRUPTIBLE = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from edge_agent.cli import main
sys.exit(main(sys.argv[1:]))
"""


def test_ctrl_c_ends_a_measurement_with_one_line_and_no_file(
    kit_path: Path, tmp_path: Path
) -> None:
    """The bar on the terminal is left on a line of its own."""
    command = ["profile", str(kit_path), "--out", str(tmp_path / "device.toml")]
    ours, theirs = pty.openpty()
    text = b""
    with (
        open(ours, "rb", buffering=0) as terminal,  # noqa: PTH123 - an open file, no path
        subprocess.Popen([sys.executable, "-c", INTERRUPTIBLE, *command], stderr=theirs) as program,
    ):
        os.close(theirs)
        try:
            while b"measuring" not in text:
                assert select.select([ours], [], [], 60)[0], text
                text += terminal.read(1024)
            program.send_signal(signal.SIGINT)
            assert 130 == program.wait(60)
            with contextlib.suppress(OSError):  # how a terminal tells that nobody writes any more
                while more := terminal.read(1024):
                    text += more
        finally:
            program.kill()
    lines = text.decode().splitlines()
    assert "interrupted" == lines.pop()
    assert all(line.startswith("measuring [") for line in lines if line)
    assert [] == list(tmp_path.iterdir())


def test_running_the_agent_imports_nothing_of_profiles() -> None:
    """Only the command `profile` does."""
    code = (
        "import sys\nfrom edge_agent.cli import main\n"
        "try: main(['run', '--help'])\nexcept SystemExit: pass\n"
        "sys.exit(' '.join(sorted(n for n in sys.modules if 'profile' in n or n == 'numpy')) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stderr, done.returncode) == ("", 0)
