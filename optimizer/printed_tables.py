"""The figures of tables II to VI of the energy-aware NAS paper, as they are printed.

Source: the paper itself, Sec. V; energies in mJ, Flash and RAM in KiB (printed "KB"), accuracies in
percent, each from one run. Where the print contradicts itself the printed figure stands, and `note`
says what it contradicts.
"""

from dataclasses import dataclass
from typing import Literal

Application = Literal["seizure", "arrhythmia"]


@dataclass(frozen=True, slots=True)
class EdgeRow:
    """A row of table II: one search for each limit on the edge energy."""

    name: str
    application: Application
    edge_mj: float
    flash_kib: float
    """Parameters of the head."""
    ram_kib: float
    accuracy_percent: float


@dataclass(frozen=True, slots=True)
class TotalRow:
    """A row of table III: a network of table II at its best point for the total energy."""

    name: str
    application: Application
    fog_factor: int
    total_mj: float
    edge_compute_mj: float
    edge_radio_mj: float
    fog_mj: float
    accuracy_percent: float
    note: str = ""


@dataclass(frozen=True, slots=True)
class ArchitectureRow:
    """A row of table IV: what was found, and its edge energy whole and cut."""

    name: str
    application: Application
    lengths: tuple[int, ...]
    """The input's first, the number of classes last."""
    channels: tuple[int, ...]
    printed_point: int
    """Counts the input as a layer: one more than the partition point meant elsewhere."""
    whole_mj: float
    """Edge energy with everything on the edge."""
    edge_mj: float

    @property
    def point(self) -> int:
        """Weight layers on the edge."""
        return self.printed_point - 1


@dataclass(frozen=True, slots=True)
class ReferenceRow:
    """A row of table V: a one-dimensional VGG11 beside the networks found."""

    name: str
    application: Application
    edge_mj: float
    total_mj: float
    """At fog factor 1."""
    flash_kib: float | None
    """Of the edge; None where the text does not say it."""
    ram_kib: float | None
    accuracy_percent: float
    note: str = ""


@dataclass(frozen=True, slots=True)
class BenchmarkRow:
    """A row of table VI, one application of it: ways of searching."""

    name: str
    kind: str
    application: Application
    accuracy_percent: float
    parameters: int
    """Of the whole network; of the edge alone where `is_partitioned`."""
    flops: int
    """Of the whole network; of the edge alone where `is_partitioned`."""
    is_partitioned: bool = False
    note: str = ""


TABLE_II = (
    EdgeRow("SD-0", "seizure", 0.059, 0.3, 8.1, 59.3),
    EdgeRow("SD-1", "seizure", 0.091, 0.3, 8.5, 84.1),
    EdgeRow("SD-2", "seizure", 0.212, 1.3, 9.5, 86.0),
    EdgeRow("SD-3", "seizure", 0.375, 2.5, 9.5, 87.3),
    EdgeRow("AC-0", "arrhythmia", 0.065, 0.6, 8.1, 19.9),
    EdgeRow("AC-1", "arrhythmia", 0.096, 0.1, 8.2, 39.5),
    EdgeRow("AC-2", "arrhythmia", 0.253, 1.2, 8.5, 83.8),
    EdgeRow("AC-3", "arrhythmia", 0.270, 4.0, 8.1, 88.0),
)
_RADIO_32 = "32 values are printed as 0.021 mJ here and as 0.020 mJ for SD-1"
TABLE_III = (
    TotalRow("SD-1", "seizure", 10, 0.103, 0.071, 0.020, 0.012, 84.1),
    TotalRow("SD-2", "seizure", 10, 0.281, 0.205, 0.008, 0.068, 86.0),
    TotalRow("SD-3", "seizure", 10, 0.382, 0.367, 0.008, 0.007, 87.3),
    TotalRow("SD-1", "seizure", 2, 0.151, 0.071, 0.020, 0.060, 84.1),
    TotalRow("SD-2", "seizure", 2, 0.552, 0.205, 0.008, 0.339, 86.0),
    TotalRow("SD-3", "seizure", 2, 0.410, 0.367, 0.008, 0.035, 87.3),
    TotalRow("SD-1", "seizure", 1, 0.192, 0.191, 0.001, 0.0, 84.1),
    TotalRow("SD-2", "seizure", 1, 0.884, 0.883, 0.001, 0.0, 86.0),
    TotalRow("SD-3", "seizure", 1, 0.439, 0.438, 0.001, 0.0, 87.3),
    TotalRow("AC-1", "arrhythmia", 10, 0.168, 0.055, 0.041, 0.072, 39.5),
    TotalRow("AC-2", "arrhythmia", 10, 0.461, 0.238, 0.015, 0.208, 83.8),
    TotalRow("AC-3", "arrhythmia", 10, 0.730, 0.249, 0.021, 0.460, 88.0, _RADIO_32),
    TotalRow("AC-1", "arrhythmia", 2, 0.454, 0.055, 0.041, 0.358, 39.5),
    TotalRow("AC-2", "arrhythmia", 2, 1.294, 0.238, 0.015, 1.041, 83.8),
    TotalRow("AC-3", "arrhythmia", 2, 2.569, 0.249, 0.021, 2.299, 88.0, _RADIO_32),
    TotalRow("AC-1", "arrhythmia", 1, 0.775, 0.772, 0.003, 0.0, 39.5),
    TotalRow("AC-2", "arrhythmia", 1, 2.323, 2.320, 0.003, 0.0, 83.8),
    TotalRow("AC-3", "arrhythmia", 1, 4.851, 4.848, 0.003, 0.0, 88.0),
)
TABLE_IV = (
    ArchitectureRow("SD-1", "seizure", (2048, 128, 8, 64, 2), (1, 1, 4, 2, 1), 3, 0.192, 0.091),
    ArchitectureRow("SD-2", "seizure", (2048, 128, 4, 128, 2), (1, 3, 3, 2, 1), 3, 0.884, 0.212),
    ArchitectureRow(
        "AC-1",
        "arrhythmia",
        (2048, 64, 256, 512, 4, 16, 16, 256, 5),
        (1, 1, 1, 3, 2, 4, 4, 1, 1),
        2,
        0.775,
        0.096,
    ),
    ArchitectureRow(
        "AC-2",
        "arrhythmia",
        (2048, 32, 8, 128, 256, 1024, 5),
        (1, 4, 3, 4, 4, 2, 1),
        3,
        2.323,
        0.253,
    ),
)
_RAW = (
    "the window itself is sent: 1.317 mJ here, but 1.371 mJ in the text on fig. 7; only 1.317 fits"
    " the other messages; of the edge's memory the text says nothing"
)
_VGG_WHOLE = (2220.821, 2220.821, 130_570.0, 256.0)
_VGG_CUT = (1.317, 2220.821, None, None)
TABLE_V = (  # its figures as the text around it repeats them, Sec. V-C3, and those of table II
    ReferenceRow("VGG11 without partition", "seizure", *_VGG_WHOLE, 78.7),
    ReferenceRow("VGG11 with partition", "seizure", *_VGG_CUT, 78.7, _RAW),
    ReferenceRow("energy-aware NAS", "seizure", 0.375, 0.439, 2.5, 9.5, 87.3),
    ReferenceRow("VGG11 without partition", "arrhythmia", *_VGG_WHOLE, 92.1),
    ReferenceRow("VGG11 with partition", "arrhythmia", *_VGG_CUT, 92.1, _RAW),
    ReferenceRow("energy-aware NAS", "arrhythmia", 0.270, 4.851, 4.0, 8.1, 88.0),
)
_RL, _GRADIENT, _SHOT = "reinforcement learning", "gradient-based", "one-shot"
_EVOLUTION = "evolutionary algorithms"
_SEIZURE_SIZE = (
    "prints the head of SD-2 (0.34K = 342 parameters) beside the accuracy of SD-3, whose head in"
    " table II holds 2.5 KiB"
)
_ARRHYTHMIA_SIZE = (
    "no network of table II: there the best has 88.0 % at 0.270 mJ with 4.0 KiB on the edge"
)
TABLE_VI = (
    BenchmarkRow("NASNet", _RL, "seizure", 84.3, 15_900, 4_090_000),
    BenchmarkRow("DARTS", _GRADIENT, "seizure", 77.7, 382_000, 121_000_000),
    BenchmarkRow("SPOS", _SHOT, "seizure", 81.5, 6_923_000, 352_000_000),
    BenchmarkRow("CNN-GA", _EVOLUTION, "seizure", 79.6, 914_000, 1_612_000_000),
    BenchmarkRow("Zero-Shot (#Params)", _EVOLUTION, "seizure", 86.6, 2_480, 104_000),
    BenchmarkRow("Zero-Shot (#FLOPs)", _EVOLUTION, "seizure", 85.3, 1_470, 124_000),
    BenchmarkRow("energy-aware NAS, whole", _EVOLUTION, "seizure", 87.3, 540, 17_000),
    BenchmarkRow(
        "energy-aware NAS, edge", _EVOLUTION, "seizure", 87.3, 340, 15_000, True, _SEIZURE_SIZE
    ),
    BenchmarkRow("NASNet", _RL, "arrhythmia", 89.8, 14_900, 550_000),
    BenchmarkRow("DARTS", _GRADIENT, "arrhythmia", 94.8, 346_000, 15_700_000),
    BenchmarkRow("SPOS", _SHOT, "arrhythmia", 92.9, 6_923_000, 46_900_000),
    BenchmarkRow("CNN-GA", _EVOLUTION, "arrhythmia", 91.5, 3_240_000, 1_061_000_000),
    BenchmarkRow("Zero-Shot (#Params)", _EVOLUTION, "arrhythmia", 88.9, 3_790, 540_000),
    BenchmarkRow("Zero-Shot (#FLOPs)", _EVOLUTION, "arrhythmia", 82.4, 1_320, 620_000),
    BenchmarkRow(
        "energy-aware NAS, whole",
        *(_EVOLUTION, "arrhythmia", 89.7, 1_670, 110_000, False, _ARRHYTHMIA_SIZE),
    ),
    BenchmarkRow(
        "energy-aware NAS, edge",
        *(_EVOLUTION, "arrhythmia", 89.7, 290, 30_000, True, _ARRHYTHMIA_SIZE),
    ),
)
