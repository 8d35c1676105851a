"""Profiling this machine with a kit: what `edge-agent profile` and `optimizer profile` do."""

import argparse
import contextlib
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import numpy as np
import onnxruntime as ort

from headtail.config import decode_toml
from headtail.constant import Constant
from headtail.cost_model import CpuTime
from headtail.errors import ConfigError
from headtail.files import write_file
from headtail.profile import DeviceProfile, ProfileName, read_device_profile
from headtail.profile_fit import Power, fit_kit, make_profile
from headtail.profile_kit import read_kit
from headtail.profile_measure import MIN_ROUNDS, Limits, measure_kit
from headtail.profile_text import encode_figures, format_fit
from headtail.profile_toml import encode_profile

BUDGET_S = 60.0
ROUNDS = 1000
MAX_BUDGET_S = 3600.0
BAR = 30
# Whose powers stand in, marked as assumed, where none are given.
STAND_INS = {"x86_64": "generic-x86", "AMD64": "generic-x86"}
OTHER_STAND_IN = "raspberry-pi-4"


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags that both programs take."""
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DEVICE.toml", help="profile to write"
    )
    parser.add_argument("--name", help="the profile's name; default: the file's, without its end")
    parser.add_argument(
        "--budget-s",
        type=float,
        default=BUDGET_S,
        metavar="S",
        help=f"time to measure for; default: {BUDGET_S:g}",
    )
    parser.add_argument(
        "--rounds",
        type=int,
        default=ROUNDS,
        metavar="N",
        help=f"over all layers, at most; default: {ROUNDS}",
    )
    for word, what in (("idle", "with nothing to do"), ("full", "with every core busy")):
        parser.add_argument(
            f"--power-{word}-w",
            type=float,
            metavar="W",
            help=f"the board's power {what}, read from a meter",
        )
    parser.add_argument("--seed", type=int, default=0, help="of orders and inputs; default: 0")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")


def profile_device(kit_path: Path, arguments: argparse.Namespace) -> None:
    """Measure the kit, write the profile, print how well it fits.

    Raises:
        ConfigError: If a flag is wrong or the profile cannot be written.
        DataError: If the kit is bad, or the measurement too short.
    """
    out, budget_s = arguments.out, arguments.budget_s
    if out.suffix != ".toml":
        raise ConfigError("--out", f"expected a path that ends in .toml, received '{out}'")
    if not 0 < budget_s <= MAX_BUDGET_S:
        raise ConfigError(
            "--budget-s", f"expected more than 0 and up to {MAX_BUDGET_S:g} s, received {budget_s}"
        )
    if arguments.rounds < MIN_ROUNDS:
        raise ConfigError(
            "--rounds", f"expected at least {MIN_ROUNDS}, received {arguments.rounds}"
        )
    if arguments.seed < 0:
        raise ConfigError("--seed", f"expected at least 0, received {arguments.seed}")
    power, note = choose_power(arguments.power_idle_w, arguments.power_full_w)
    name = check_name(arguments.name or out.stem)
    kit = read_kit(kit_path)
    rng = np.random.default_rng(arguments.seed)
    with _bar(sys.stderr.isatty()) as advance:
        timing = measure_kit(kit, Limits(budget_s, arguments.rounds), rng, advance)
    fit = fit_kit(kit, timing, rng)
    source = (
        f"measured on {describe_machine()}, {datetime.now(UTC):%Y-%m-%d}, onnxruntime"
        f" {ort.__version__} float32 on one thread, kit {kit.digest[:12]}, {timing.rounds} rounds"
    )
    profile = make_profile(
        name, f"{platform.node()}: CPU time as measured, {note}", fit, power, source
    )
    content = encode_profile(profile)
    assert decode_toml(content, DeviceProfile, str(out)) == profile
    write_file(out, content, 0o644)
    if arguments.json:
        sys.stdout.write(encode_figures(kit, timing, fit, source).decode() + "\n")
    else:
        sys.stdout.write(f"{format_fit(kit, timing, fit)}\n{out}: {profile.description}\n")


def check_name(name: str) -> str:
    """Return `name` if a profile may be called so.

    Raises:
        ConfigError: If it may not.
    """
    try:
        return msgspec.convert(name, ProfileName)
    except msgspec.ValidationError as error:
        raise ConfigError("--name", f"{error}, received '{name}'") from error


def choose_power(idle_w: float | None, full_w: float | None) -> tuple[Power, str]:
    """Return the board's powers and a note on them for the profile's description.

    Without both, the powers of a shipped profile stand in, marked as assumed.

    Raises:
        ConfigError: If only one is given, or they are no powers.
    """
    cores = os.cpu_count() or 1
    if idle_w is None and full_w is None:
        name = STAND_INS.get(platform.machine(), OTHER_STAND_IN)
        model = read_device_profile(name).model
        assert isinstance(model, CpuTime)
        idle, full = (
            Constant(
                constant.value,
                constant.unit,
                "assumed",
                f"not of this device: taken from profile {name} ({constant.source})",
                constant.value if constant.uncertainty is None else constant.uncertainty,
            )
            for constant in (model.idle_power, model.full_power)
        )
        # As many cores as the powers are of.
        return Power(idle, full, model.cores), f"powers assumed as of {name}: no energy of its own"
    if idle_w is None or full_w is None:
        raise ConfigError("--power-idle-w and --power-full-w", "expected both or neither")
    if not 0 <= idle_w < full_w < float("inf"):
        raise ConfigError(
            "--power-full-w",
            f"expected more than the idle power, both finite, received {full_w} and {idle_w} W",
        )
    given = [Constant(w, "W", "measured", "given by a flag") for w in (idle_w, full_w)]
    return Power(given[0], given[1], cores), "powers as given"


def describe_machine() -> str:
    """Return host name and processor model."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    models = [
        line.partition(":")[2].strip()
        for line in lines
        if line.partition(":")[0].strip() in ("model name", "Model")
    ]
    return f"{platform.node()} ({models[0] if models else platform.machine()})"


@contextlib.contextmanager
def _bar(is_terminal: bool) -> Iterator[Callable[[float, float], None]]:
    """Yield a function that shows share and time left on stderr, a few times a second.

    However the measurement ends, what is written next begins a line.
    """
    shown = -1.0

    def advance(share: float, left_s: float) -> None:
        nonlocal shown
        now = time.monotonic()
        if not is_terminal or (now - shown < 0.2 and share < 1):
            return
        shown = now
        full = round(BAR * share)
        bar = "#" * full + "." * (BAR - full)
        sys.stderr.write(f"\rmeasuring [{bar}] {share:4.0%}, {left_s:4.0f} s left ")
        sys.stderr.flush()

    try:
        yield advance
    finally:
        if shown >= 0:
            sys.stderr.write("\n")
