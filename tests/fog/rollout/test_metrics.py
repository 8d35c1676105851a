"""What Prometheus sees of a rollout's changes."""

import itertools

from prometheus_client import CollectorRegistry

from fog_server.rollout import changes
from fog_server.rollout.metrics import MAKERS, RolloutMetrics
from fog_server.rollout.state import Action, Change, Entry, Model, State


def changed(registry: CollectorRegistry) -> dict[tuple[str, str], float | None]:
    """Return the changes counted, by action and by who made them."""
    return {
        (action, by): registry.get_sample_value(
            "fog_rollout_changes_total", {"model": "ecg", "action": action, "by": by}
        )
        for action, by in itertools.product(map(str, Action), MAKERS)
    }


def test_first_change_of_a_kind_is_an_increase():
    """Every series is there, at 0, before: `increase()` says nothing of one that begins at 1."""
    registry = CollectorRegistry()
    metrics, model = RolloutMetrics(registry), Model("ecg")
    for version in ("1", "2"):
        entry = Entry(
            version, version * 64, 100, f"{version}.bundle", State.CANDIDATE, 0, 1.0, "ann", ""
        )
        model = changes.promote(
            changes.publish(model, entry, Change(1.0, "ann", "")),
            entry.digest,
            Change(2.0, "ann", ""),
        )
    metrics.show({"ecg": model}, {})
    assert {0.0} == set(changed(registry).values())
    metrics.show({"ecg": changes.roll_back(model, Change(3.0, "rule", "slow"))}, {})
    counted = changed(registry)
    assert 1.0 == counted.pop(("roll_back", "fog"))
    assert {0.0} == set(counted.values())
