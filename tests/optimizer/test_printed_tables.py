"""The printed tables against the paper's own text, against one another, and the cost model."""

import pytest
from paper_profiles import PROFILES

from optimizer.network import Genome
from optimizer.partition import Bounds, list_rows
from optimizer.printed_tables import (
    TABLE_II,
    TABLE_III,
    TABLE_IV,
    TABLE_V,
    TABLE_VI,
    ArchitectureRow,
    TotalRow,
)
from optimizer.search.genome_cost import price

EDGE = {row.name: row for row in TABLE_II}
# Sec. V-D: how many times fewer parameters and FLOPs than each.
TIMES_FEWER = {
    ("NASNet", "seizure"): (47, 273),
    ("NASNet", "arrhythmia"): (51, 18),
    ("DARTS", "seizure"): (1124, 8067),
    ("DARTS", "arrhythmia"): (1193, 523),
    ("SPOS", "seizure"): (20362, 23467),
    ("SPOS", "arrhythmia"): (23872, 1563),
    ("CNN-GA", "seizure"): (2688, 107467),
    ("CNN-GA", "arrhythmia"): (11172, 35367),
    ("Zero-Shot (#Params)", "seizure"): (7.3, None),
    ("Zero-Shot (#Params)", "arrhythmia"): (13.1, None),
    ("Zero-Shot (#FLOPs)", "seizure"): (None, 8.3),
    ("Zero-Shot (#FLOPs)", "arrhythmia"): (None, 20.7),
}
# Sec. V-C2: "without partition" is so many times "with partition".
TIMES_CUT = {"SD-1": 2.1, "SD-2": 4.2, "AC-1": 8.1, "AC-2": 9.2}


@pytest.mark.parametrize("row", TABLE_III, ids=lambda r: f"{r.name}-{r.fog_factor}")
def test_table_iii_adds_up_with_the_accuracy_of_table_ii(row: TotalRow) -> None:
    """To a digit of the print, which rounds every part; the cut at 10 is the one of table II."""
    parts = row.edge_compute_mj + row.edge_radio_mj + row.fog_mj
    assert pytest.approx(row.total_mj, abs=0.0011) == parts
    assert EDGE[row.name].accuracy_percent == row.accuracy_percent
    if row.fog_factor > 1:
        edge_mj = row.edge_compute_mj + row.edge_radio_mj
        assert pytest.approx(EDGE[row.name].edge_mj, abs=0.0011) == edge_mj


@pytest.mark.parametrize("row", TABLE_IV, ids=lambda r: r.name)
def test_table_iv_repeats_tables_ii_and_iii_and_the_text(row: ArchitectureRow) -> None:
    """Cut as in table II, whole as in table III at factor 1."""
    assert EDGE[row.name].edge_mj == row.edge_mj
    whole = next(r for r in TABLE_III if (r.name, r.fog_factor) == (row.name, 1))
    assert whole.total_mj == row.whole_mj
    assert TIMES_CUT[row.name] == round(row.whole_mj / row.edge_mj, 1)


@pytest.mark.parametrize("row", TABLE_IV, ids=lambda r: r.name)
def test_cost_model_reproduces_table_iv(row: ArchitectureRow) -> None:
    """The least edge energy is at the printed point; energies within 1.75 %."""
    genome = Genome(row.lengths[:-1], row.channels[:-1], row.lengths[-1])
    rows = list_rows(price(genome, PROFILES, ()), Bounds(), "stm32l476-paper", "ble-paper")
    best = min(rows, key=lambda r: r.edge_j)
    assert row.point == best.point
    assert pytest.approx(row.edge_mj * 1e-3, rel=0.0175, abs=0.6e-6) == best.edge_j
    assert pytest.approx(row.whole_mj * 1e-3, rel=0.0175) == rows[-1].edge_j
    printed = EDGE[row.name]
    assert pytest.approx(printed.flash_kib, abs=0.05) == best.flash_bytes / 1024
    assert pytest.approx(printed.ram_kib, abs=0.0501) == best.ram_bytes / 1024


def test_table_v_has_the_factors_of_the_text() -> None:
    """3.5 and 5058.8 times for seizures, 8225.3 and 457.8 times for arrhythmias."""
    rows = {(row.name, row.application): row for row in TABLE_V}
    whole, cut = "VGG11 without partition", "VGG11 with partition"
    ours, heart = rows["energy-aware NAS", "seizure"], rows["energy-aware NAS", "arrhythmia"]
    assert 3.5 == round(rows[cut, "seizure"].edge_mj / ours.edge_mj, 1)
    assert 5058.8 == round(rows[whole, "seizure"].total_mj / ours.total_mj, 1)
    assert 8225.3 == round(rows[whole, "arrhythmia"].edge_mj / heart.edge_mj, 1)
    assert 457.8 == round(rows[cut, "arrhythmia"].total_mj / heart.total_mj, 1)
    for row, name in ((ours, "SD-3"), (heart, "AC-3")):
        told = row.edge_mj, row.flash_kib, row.ram_kib, row.accuracy_percent
        own = EDGE[name]
        assert (own.edge_mj, own.flash_kib, own.ram_kib, own.accuracy_percent) == told


@pytest.mark.parametrize(("name", "application"), TIMES_FEWER)
def test_table_vi_has_the_factors_of_the_text(name: str, application: str) -> None:
    """Of each way's whole network and what the paper's leaves on the edge."""
    rows = {(row.name, row.application): row for row in TABLE_VI}
    row, ours = rows[name, application], rows["energy-aware NAS, edge", application]
    ratios = row.parameters / ours.parameters, row.flops / ours.flops
    for printed, ratio in zip(TIMES_FEWER[name, application], ratios, strict=True):
        assert printed is None or abs(printed - ratio) < (0.1 if isinstance(printed, float) else 1)


def test_seizure_head_of_table_vi_is_that_of_sd_2() -> None:
    """342 parameters and 2 x 7,296 operations; the accuracy beside it is SD-3's."""
    row = next(r for r in TABLE_VI if r.is_partitioned and r.application == "seizure")
    sd_2 = next(r for r in TABLE_IV if r.name == "SD-2")
    genome = Genome(sd_2.lengths[:-1], sd_2.channels[:-1], 2)
    head = genome.footprints()[sd_2.point].operations
    assert (row.parameters, row.flops) == (
        round(head.parameters, -1),
        round(2 * head.conv_macz, -3),
    )
    assert EDGE["SD-3"].accuracy_percent == row.accuracy_percent


def test_every_application_has_the_same_rows() -> None:
    """Tables II to VI list seizures and arrhythmias alike."""
    for table in (TABLE_III, TABLE_V, TABLE_VI):
        halves = [[r for r in table if r.application == a] for a in ("seizure", "arrhythmia")]
        assert len(halves[0]) == len(halves[1]) == len(table) // 2
    assert 4 == sum(row.application == "seizure" for row in TABLE_II)
