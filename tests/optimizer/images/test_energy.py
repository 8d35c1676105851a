"""Tests of training energy: the paper's model, RAPL's counters, NVIDIA's library."""

import shutil
import subprocess
from pathlib import Path

import pytest

from headtail.constant import Constant
from headtail.errors import ConfigError
from optimizer.images.energy import find_meters, load_power, predict_training_j

# What the real library does, for two boards of which each read adds 500 and 1500 mJ.
LIBRARY = """
static unsigned long long total[2] = {1000000ULL, 5000000ULL};
int nvmlInit_v2(void) { return 0; }
int nvmlDeviceGetCount_v2(unsigned *count) { *count = BOARDS; return 0; }
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **board) {
    *board = &total[index];
    return 0;
}
int nvmlDeviceGetTotalEnergyConsumption(void *board, unsigned long long *value) {
    unsigned long long *mine = board;
    if (BOARDS == 1) return 3;
    *value = *mine;
    *mine += mine == total ? 500 : 1500;
    return 0;
}
"""


def zone(folder: Path, name: str, counter: int, highest: int = 262_143_328_850) -> Path:
    """Write a zone of the powercap interface; return the file of its counter."""
    folder.mkdir(parents=True)
    (folder / "name").write_text(f"{name}\n")
    (folder / "max_energy_range_uj").write_text(f"{highest}\n")
    (folder / "energy_uj").write_text(f"{counter}\n")
    return folder / "energy_uj"


def test_paper_model_by_hand() -> None:
    """One hour at 74 W is 74 Wh."""
    power = load_power("tosim-t4")
    assert (74 * 3600.0, "paper") == (predict_training_j(power, 3600.0), power.kind)


def test_power_comes_from_device_profiles_too() -> None:
    assert 35.0 == load_power("generic-x86").si
    with pytest.raises(ConfigError, match="has no power under load"):
        load_power("stm32l476-paper")
    with pytest.raises(ValueError, match="expected a power in W, received s"):
        predict_training_j(Constant(1.0, "s", "datasheet", "x"), 1.0)


def test_packages_and_memory_are_added_and_wraps_counted(tmp_path: Path) -> None:
    """Cores are part of their package, psys is more than the processor: neither is added."""
    package = zone(tmp_path / "intel-rapl:0", "package-0", 900_000, highest=1_000_000)
    memory = zone(tmp_path / "intel-rapl:0:1", "dram", 5_000)
    cores = zone(tmp_path / "intel-rapl:0:0", "core", 1)
    board = zone(tmp_path / "intel-rapl:1", "psys", 1)
    (tmp_path / "intel-rapl").mkdir()
    meters = find_meters(tmp_path, "none.so")
    (meter,) = meters.present
    package.write_text("950000\n")
    memory.write_text("7000\n")
    cores.write_text("999\n")
    board.write_text("999\n")
    assert pytest.approx(0.052) == meter.read_j()
    package.write_text("50000\n")
    assert pytest.approx(0.152) == meter.read_j()
    package.write_text("60000\n")
    assert {"RAPL": pytest.approx(0.162)} == meters.read_j()


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    meters = find_meters(tmp_path, "libnone.so.1")
    assert () == meters.present
    assert f"RAPL: {tmp_path} has no processor package" == meters.missing[0]
    assert meters.missing[1].startswith("NVML: libnone.so.1")


def test_counter_that_makes_no_sense_is_said(tmp_path: Path) -> None:
    zone(tmp_path / "intel-rapl:0", "package-0", 1).write_text("none\n")
    assert "RAPL" in find_meters(tmp_path, "none.so").missing[0]


def test_progress_looks_at_the_meters(tmp_path: Path) -> None:
    """Two wraps of one counter are both seen, since steps read it in between."""
    package = zone(tmp_path / "intel-rapl:0", "package-0", 0, highest=100)
    meters = find_meters(tmp_path, "none.so")
    seen: list[int] = []

    def advance(done: int, total: int, note: str) -> None:
        seen.append(done)

    watched = meters.watching(advance)
    for step, counter in enumerate((60, 20, 80, 40)):
        package.write_text(str(counter))
        watched(step, 4, "")
    assert [0, 1, 2, 3] == seen
    assert {"RAPL": pytest.approx(240e-6)} == meters.read_j()


@pytest.fixture(params=[0, 1, 2])
def library(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[int, str]:
    """Build a library with the functions that NVIDIA documents; return boards and path."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler")
    (tmp_path / "nvml.c").write_text(LIBRARY)
    path = tmp_path / "nvml.so"
    words = [compiler, "-shared", "-fPIC", f"-DBOARDS={request.param}", "-o", str(path)]
    subprocess.run([*words, str(tmp_path / "nvml.c")], check=True)
    return request.param, str(path)


def test_boards_are_added(library: tuple[int, str], tmp_path: Path) -> None:
    """Each read finds 2 J more; without a board, or one that does not count, that is said."""
    boards, path = library
    meters = find_meters(tmp_path / "none", path)
    if boards == 2:
        assert [pytest.approx(2.0), pytest.approx(4.0)] == [
            meters.present[0].read_j() for _ in range(2)
        ]
        return
    reasons = {0: "no NVIDIA board", 1: "nvmlDeviceGetTotalEnergyConsumption gave error 3"}
    assert f"NVML: {reasons[boards]}" == meters.missing[1]
