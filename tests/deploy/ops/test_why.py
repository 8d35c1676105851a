"""What is said for a new bundle, and when two bundles are the same."""

import msgspec
import pytest

from headtail.bundle import read_bundle
from headtail.v1 import control_pb2 as pb
from optimizer.field.correction import Change
from reoptimization.essence import essence
from reoptimization.standing import MAX_REASON, Marks, marked, marks
from reoptimization.trial import rules_text
from reoptimization.why import Offer, Why, learned, quantity

OLD = Offer("1.0", 1, "float32", 512, 0.9, "pi", "wifi", 0.005, 0.02)
NEW = Offer("1.1", 2, "int8", 64, 0.88, "pi-field", "wifi-field", 0.0002, 0.004)


def test_old_new_field_and_measured_stand_below_each_other() -> None:
    canary = pb.Canary(
        comparisons=[
            pb.Comparison(what="latency", active=0.02, canary=0.0041),
            pb.Comparison(what="failed", active=0.0, canary=0.0),
            pb.Comparison(what="agreement", canary=0.98),
            pb.Comparison(what="tail_failed", active=0.0, canary=0.001),
        ]
    )
    assert [
        "old 1.0: point 1, float32, 512 bytes, 5 mJ, 20 ms, accuracy 0.900",
        "new 1.1: point 2, int8, 64 bytes, 200 uJ, 4 ms, accuracy 0.880",
        "  (each by the profiles that it was made for)",
        "field: it rained",
        "measured latency: 20 ms -> 4.1 ms",
        "measured agreement: 0.98",
        "measured tail failed: 0 -> 0.001",
    ] == list(Why(NEW, OLD, ("field: it rained",), canary).lines())
    assert 4 == len(Why(NEW, OLD, (), canary).facts()["measured"])


def test_report_of_a_run_tells_what_the_field_said() -> None:
    """With the constants as the run's own type writes them."""
    change = Change("link", "rate", "bit/s", 1e6, 64e3, "of 300 windows")
    told = {
        "model": "m", "windows": 300.0, "link_profile": "wifi-field", "verdict": "Better.",
        "changes": [msgspec.to_builtins(change)],
    }  # fmt: skip
    assert (
        "field: 300 windows of m",
        "field: wifi-field: rate 1e+06 -> 6.4e+04 bit/s",
        "field: Better.",
    ) == learned({"field": told})
    assert () == learned({"field": None}) == learned({})


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [(0.005, "J", "5 mJ"), (2.29e-6, "J", "2.29 uJ"), (3e-9, "s", "3 ns"), (1.5, "s", "1.5 s"),
     (0.25, "", "0.25"), (0.0, "s", "0 ns")],
)  # fmt: skip
def test_small_quantities_have_small_units(value, unit, text) -> None:
    assert text == quantity(value, unit)


def test_essence_is_what_a_bundle_does(templates, trust) -> None:
    """Version and price do not count; another point or another tail does."""
    names = ("first", "clone", "better", "opposite", "other")
    found = {n: read_bundle(templates / f"{n}.bundle", trust).manifest for n in names}
    of = {name: essence(manifest) for name, manifest in found.items()}
    renamed = msgspec.structs.replace(found["first"], version="7", task="x")
    assert of["first"] == of["clone"] == essence(renamed)
    assert 4 == len(set(of.values()))
    relabelled = msgspec.structs.replace(found["first"], labels=("v", "s", "n"))
    assert of["first"] != essence(relabelled)


@pytest.mark.parametrize("reason", ["", "p95 latency", "x" * 1000, "a [b] c", "two\nlines"])
def test_marks_are_found_again_behind_any_reason(reason) -> None:
    """Within what a fog keeps of a reason."""
    text = marked(reason, "0123456789ab", "ba9876543210")
    assert Marks("0123456789ab", "ba9876543210") == marks(text)
    assert len(text) <= MAX_REASON + 50 <= 300


@pytest.mark.parametrize("reason", ["", "p95", "[reoptimize a]", "[reoptimize a b] c", "]"])
def test_reasons_of_others_have_no_marks(reason) -> None:
    assert Marks() == marks(reason)


def test_rules_of_a_trial_are_told_as_they_are_called() -> None:
    """In one order."""
    rules = {"share_ratio": 0.1, "bake_s": 300.0, "promotes": False}
    assert "bake_s 300, promotes false, share_ratio 0.1" == rules_text(rules)
    assert "by the fog's own rules" == rules_text({})
