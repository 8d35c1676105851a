"""The archive: every network once, a front that no order changes, a volume of known size."""

import itertools

import numpy as np
import pytest

from optimizer.search.archive import Archive
from optimizer.search.individual import Assessment, Individual

GOALS = ("accuracy", "edge_energy")


def individual(length: int, score: float | None, edge_j: float, ok: bool = True) -> Individual:
    """Return a network that its length names."""
    assessment = Assessment(ok, edge_j, edge_j, parameters=length)
    return Individual((length,), (1,), assessment, score, score)


def test_front_and_volume_are_those_counted_by_hand() -> None:
    """Errors 0.5 at 1 J and 0.25 at 2 J in a box of 1 by 4 J: (0.5 x 3 + 0.25 x 2) / 4."""
    archive = Archive(GOALS, {"edge_energy": 4.0})
    archive.add([individual(1, 0.5, 1.0), individual(2, 0.75, 2.0), individual(3, 0.4, 3.0)])
    assert [2, 1] == [i.lengths[0] for i in archive.front]
    assert (1.0, 4.0) == archive.reference
    assert pytest.approx(0.5) == archive.volume


def test_corner_is_the_bound_or_the_worst_of_the_first_feasible_networks() -> None:
    """And stays, whatever comes later; what lies beyond it adds nothing."""
    archive = Archive((*GOALS, "parameters"), {"edge_energy": 4.0, "parameters": None})
    archive.add([individual(9, None, 1.0, ok=False)])
    assert (None, 0.0, ()) == (archive.reference, archive.volume, archive.front)
    archive.add([individual(1, 0.5, 1.0), individual(2, 0.75, 2.0)])
    assert (1.0, 4.0, 2.0) == archive.reference
    before = archive.volume
    archive.add([individual(5, 0.9, 3.0)])
    assert (1.0, 4.0, 2.0) == archive.reference
    assert before == archive.volume
    assert 3 == len(archive.front)


def test_no_order_changes_the_front() -> None:
    """Of two networks that reach the same the one with the lesser name stays."""
    some = [
        individual(n, s, e)
        for n, s, e in ((1, 0.5, 1.0), (2, 0.5, 1.0), (3, 0.7, 2.0), (4, 0.2, 3))
    ]
    fronts = set()
    for order in itertools.permutations(some):
        whole, single = Archive(GOALS), Archive(GOALS)
        whole.add(order)
        for one in order:
            single.add([one])
        fronts |= {whole.front, single.front}
    assert {(some[2], some[0])} == fronts


def test_untrained_and_infeasible_networks_are_known_but_never_on_the_front() -> None:
    """Nor are those of which a goal cannot be predicted."""
    archive = Archive(("accuracy", "latency"))
    archive.add(
        [individual(1, None, 1.0), individual(2, 0.5, 1.0), individual(3, None, 1.0, False)]
    )
    assert ((), 3) == (archive.front, len(archive.known))
    assert [2] == [i.lengths[0] for i in archive.trained]


def test_later_individual_of_a_network_takes_its_place() -> None:
    """As when a finalist that was only assessed is trained."""
    archive = Archive(GOALS)
    archive.add([individual(1, None, 1.0)])
    archive.add([individual(1, 0.5, 1.0)])
    assert [0.5] == [i.score for i in archive.front]
    assert 1 == len(archive.known)


def test_thousands_of_networks_are_archived_one_generation_after_another() -> None:
    """The front is that of all of them together."""
    rng = np.random.default_rng(1)
    some = [individual(n + 1, *map(float, rng.random(2))) for n in range(2000)]
    archive, whole = Archive(GOALS), Archive(GOALS)
    for start in range(0, 2000, 100):
        archive.add(some[start : start + 100])
    whole.add(some)
    assert whole.front == archive.front
    assert 2000 == len(archive.known)
