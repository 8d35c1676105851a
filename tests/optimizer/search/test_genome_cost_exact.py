"""The best cut of a search against brute force over the points of the exported model's pricing."""

import itertools

import numpy as np
import pytest

from headtail.errors import SearchError
from headtail.profile import read_device_profile, read_link_profile
from headtail.wire import Encoding
from optimizer.latency import FogTime
from optimizer.network import Genome
from optimizer.package.points import Profiles
from optimizer.partition import Bounds, Row, choose_row, list_rows
from optimizer.search.genome_cost import Terms, assess, price
from optimizer.search.individual import Assessment

ENCODINGS = tuple(Encoding)
OBJECTIVES = ("edge_energy", "total_energy", "latency")
FAMILIES = ((1024, 512, 256, 128, 64, 32, 16, 8, 4, 0), (192, 96, 64, 48, 32, 24, 16, 12, 8, 3, 0))
DEVICES = ("stm32l476-paper", "raspberry-pi-4", "stm32l4r5-int8")
LINKS = ("ble-paper", "ble-1m", "wifi-esp32")


def random_genome(rng: np.random.Generator) -> Genome:
    """Return a network of the paper's lengths or of divisors of 192, kernels up to five strides."""
    while True:
        family = int(rng.integers(2))
        depth = int(rng.integers(1, 9))
        lengths = (2048, 192)[family], *map(int, rng.choice(FAMILIES[family], depth))
        kept = [n for n in lengths if n]
        if all(max(pair) % min(pair) == 0 for pair in itertools.pairwise(kept)):
            channels = 1, *map(int, rng.integers(1, 9, depth))
            kernels = 1, *map(int, rng.choice([1, 2, 3, 5], depth))
            return Genome(lengths, channels, int(rng.integers(2, 6)), kernels).phenotype


def random_terms(rng: np.random.Generator, device: str) -> Terms:
    """Return terms with any of the bounds, near what such networks need."""
    profiles = Profiles(
        (read_device_profile(device),), (read_link_profile(str(rng.choice(LINKS))),)
    )
    scale = 1e-4 if device.startswith("stm32") else 1e-3
    usual = {
        "flash_bytes": 4e3,
        "ram_bytes": 9e3,
        "edge_j": scale,
        "total_j": 2 * scale,
        "parameters": 2e3,
    }
    bounds = {
        name: float(value * rng.lognormal(0, 0.7))
        for name, value in usual.items()
        if rng.random() < 0.4
    }
    encodings = tuple(e for e in ENCODINGS if e is Encoding.FLOAT32 or rng.random() < 0.5)
    has_speeds = device == "raspberry-pi-4"
    objective = OBJECTIVES[int(rng.integers(3 if has_speeds else 2))]
    factor = float(rng.choice([10, 2, 1]))
    fog = None if rng.random() < 0.5 else FogTime(*(float(t) for t in rng.lognormal(-7, 2, 3)))
    is_partitioned = bool(rng.random() < 0.8)
    return Terms(profiles, Bounds(**bounds), objective, encodings, factor, is_partitioned, fog)


def excess(row: Row) -> float:
    """Return how far a row is beyond the worst of its bounds."""
    return max(excess.ratio for excess in row.excesses)


def brute_force(genome: Genome, terms: Terms) -> Assessment:
    """Return what `assess` should: every point as a bundle holds it, priced, filtered, compared."""
    points = price(genome, terms.profiles, terms.encodings)
    parameters = genome.footprints()[-1].operations.parameters
    offered = points if terms.is_partitioned else points[-1:]
    names = terms.profiles.devices[0].name, terms.profiles.links[0].name
    rows = list_rows(offered, terms.bounds, *names, terms.fog_factor, terms.fog)
    if any(row.is_feasible for row in rows):
        best = choose_row(rows, terms.objective)
        costs = best.edge_j, best.total_j, best.latency_s
        return Assessment(True, *costs, parameters, best.point, best.encoding)
    over = [r for r in rows if {e.bound for e in r.excesses} <= {"edge_j", "total_j"}]
    near = min(over or rows, key=excess)
    reason = f"point {near.point} with {near.encoding.value}: {near.reason}"
    if not over:
        return Assessment(False, parameters=parameters, reason=reason)
    costs = near.edge_j, near.total_j, near.latency_s
    return Assessment(False, *costs, parameters, excess=excess(near), reason=reason)


@pytest.mark.parametrize("device", DEVICES)
def test_best_cut_of_a_thousand_random_genomes_is_that_of_brute_force(device: str) -> None:
    """To the last bit: point, encoding, every cost, or how far beyond which bound."""
    rng = np.random.default_rng(11)
    found = []
    for _ in range(100):
        terms = random_terms(rng, device)
        for _ in range(10):
            genome = random_genome(rng)
            found.append(assess(genome, terms))
            assert brute_force(genome, terms) == found[-1]
    feasible = sum(a.is_feasible for a in found)
    assert 100 < feasible < 900  # both kinds were compared
    assert len({(a.point, a.encoding) for a in found}) > 5


def test_latency_without_speeds_is_refused() -> None:
    """As `choose` refuses it."""
    profiles = Profiles((read_device_profile(DEVICES[0]),), (read_link_profile(LINKS[0]),))
    terms = Terms(profiles, Bounds(), "latency", ENCODINGS[:1])
    with pytest.raises(SearchError, match="no speeds, so latency cannot be the objective"):
        assess(Genome((64, 16), (1, 2), 3), terms)
