"""The verdict on a canary: what its agents and the fog measured, held against its rules."""

import math
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import NamedTuple

from fog_server.rollout.database import TailCounts
from fog_server.rollout.measurements import Counts
from fog_server.rollout.rules import Rules

_CHANCE = 1e-3
"""A share that chance alone would bring about less often than this condemns a canary early."""
EARLY_WINDOWS = 20
"""Windows after which a canary that is far too slow need not bake any longer."""
EARLY_RATIO = 2.0
"""How many times its limit "far too slow" is."""


class Verdict(StrEnum):
    """What is to become of a canary."""

    BAKING = "baking"
    PASSED = "passed"
    FAILED = "failed"


class Comparison(NamedTuple):
    """One thing compared; None where there is nothing to compare."""

    what: str
    active: float | None
    canary: float | None
    limit: float
    verdict: Verdict


class Evidence(NamedTuple):
    """Everything known of a trial."""

    age_s: float
    canary: Mapping[str, Counts]
    """Of the agents that run the canary, by device profile."""
    active: Mapping[str, Counts]
    """Of the active bundle meanwhile; before the trial where no agent runs it any more."""
    canary_tail: TailCounts
    active_tail: TailCounts
    sample_windows: int
    sample_agreed: int
    is_priced_alike: bool
    """Whether both bundles' energies come of the same profiles."""
    faults: Sequence[str]
    """What agents say who gave it up."""


class Judgement(NamedTuple):
    """A verdict and what led to it."""

    verdict: Verdict
    reason: str
    comparisons: Sequence[Comparison]
    windows: int
    active_windows: int


def judge(rules: Rules, evidence: Evidence) -> Judgement:
    """Return the verdict on a canary.

    It fails at once where an agent gave it up, or where its failures, its answers or its slowness
    leave no doubt; it passes when it has baked long enough, over enough windows, within every
    limit; it fails when these windows do not come in time, or the shadowed ones that it needs.
    """
    canary, active = _sum(evidence.canary), _sum(evidence.active)
    comparisons: Sequence[Comparison] = (
        _failures("failed", rules, canary, active),
        _tail_failures(rules, evidence.canary_tail, evidence.active_tail),
        _means("latency", rules.max_latency_increase_ratio, evidence, "latency_s"),
        _energies(rules, evidence),
        _agreement(rules, evidence, canary),
    )

    def decided(verdict: Verdict, reason: str) -> Judgement:
        return Judgement(verdict, reason, comparisons, canary.windows, active.windows)

    if evidence.faults:
        return decided(Verdict.FAILED, evidence.faults[0])
    early = next((c for c in comparisons if c.verdict is Verdict.FAILED), None)
    if early is not None:
        return decided(Verdict.FAILED, _say(early))
    has_baked = evidence.age_s >= rules.bake_s
    shadows = _agreed(evidence, canary)[1]
    is_seen = shadows >= rules.min_shadows or not rules.needs_agreement
    if not (has_baked and is_seen) or canary.windows < rules.min_windows:
        reason = (
            f"{canary.windows} of {rules.min_windows} windows,"
            f" {evidence.age_s:.0f} of {rules.bake_s:.0f} s"
        )
        if not is_seen:
            reason += f", {shadows} of {rules.min_shadows} shadowed windows"
        if evidence.age_s >= max(rules.timeout_s, rules.bake_s):
            return decided(Verdict.FAILED, f"no verdict in {rules.timeout_s:.0f} s: {reason}")
        return decided(Verdict.BAKING, reason)
    comparisons = [_at_the_end(c, rules, evidence, canary) for c in comparisons]
    bad = next((c for c in comparisons if c.verdict is Verdict.FAILED), None)
    if bad is not None:
        return decided(Verdict.FAILED, _say(bad))
    return decided(Verdict.PASSED, f"within every limit over {canary.windows} windows")


def is_beyond(count: int, total: int, limit: float) -> bool:
    """Return whether a share is above a limit, or as far below, as chance hardly explains.

    Source: Hoeffding, Probability inequalities for sums of bounded random variables (1963),
    theorem 1: `total` draws of probability `limit` give a share that far out with a probability
    of at most exp(-total * D), D the relative entropy of the two.
    """
    if total == 0:
        return False
    share = count / total
    entropy = 0.0
    for found, expected in ((share, limit), (1 - share, 1 - limit)):
        if found > 0:
            entropy += found * math.log(found / expected) if expected > 0 else math.inf
    return total * entropy > -math.log(_CHANCE)


def _failures(what: str, rules: Rules, canary: Counts, active: Counts) -> Comparison:
    return _shares(
        what,
        rules,
        (canary.failed, canary.windows + canary.failed),
        (active.failed, active.windows + active.failed),
    )


def _tail_failures(rules: Rules, canary: TailCounts, active: TailCounts) -> Comparison:
    return _shares(
        "tail_failed", rules, (canary.failed, canary.windows), (active.failed, active.windows)
    )


def _shares(
    what: str, rules: Rules, canary: tuple[int, int], active: tuple[int, int]
) -> Comparison:
    share, usual = _share(*canary), _share(*active)
    limit = (usual or 0.0) + rules.max_failed_increase
    is_bad = share is not None and share > limit and is_beyond(*canary, min(1.0, limit))
    return Comparison(what, usual, share, limit, Verdict.FAILED if is_bad else Verdict.BAKING)


def _means(what: str, increase: float, evidence: Evidence, field: str) -> Comparison:
    """Compare means of a window, of the same mix of devices."""
    canary_sum, active_sum, windows = 0.0, 0.0, 0
    for profile, counts in evidence.canary.items():
        other = evidence.active.get(profile)
        if counts.windows and other is not None and other.windows:
            windows += counts.windows
            canary_sum += getattr(counts, field)
            active_sum += getattr(other, field) / other.windows * counts.windows
    if not windows:
        total = _sum(evidence.canary)
        mean = getattr(total, field) / total.windows if total.windows else None
        return Comparison(what, None, mean, math.inf, Verdict.BAKING)
    mean, usual = canary_sum / windows, active_sum / windows
    limit = usual * (1 + increase)
    is_bad = windows >= EARLY_WINDOWS and mean > EARLY_RATIO * limit
    return Comparison(what, usual, mean, limit, Verdict.FAILED if is_bad else Verdict.BAKING)


def _energies(rules: Rules, evidence: Evidence) -> Comparison:
    """Compare modelled energies, where they are of one model: other profiles, other joules."""
    if not evidence.is_priced_alike:
        evidence = evidence._replace(active={})
    return _means("energy", rules.max_energy_increase_ratio, evidence, "energy_j")


def _agreement(rules: Rules, evidence: Evidence, canary: Counts) -> Comparison:
    count, total = _agreed(evidence, canary)
    share = _share(count, total)
    limit = rules.min_agreement_ratio
    is_bad = share is not None and share < limit and is_beyond(count, total, limit)
    verdict = Verdict.FAILED if is_bad else Verdict.BAKING
    return Comparison("agreement", None, share, limit, verdict)


def _agreed(evidence: Evidence, canary: Counts) -> tuple[int, int]:
    """Return windows that agreed and windows compared: by the fog, by agents, and the samples."""
    tail = evidence.canary_tail
    return (
        tail.agreed + canary.agreed + evidence.sample_agreed,
        tail.shadowed + canary.shadowed + evidence.sample_windows,
    )


def _at_the_end(
    comparison: Comparison, rules: Rules, evidence: Evidence, canary: Counts
) -> Comparison:
    """Return a comparison with the verdict that it leads to when the canary has baked."""
    found, limit = comparison.canary, comparison.limit
    if comparison.what == "agreement":
        total = _agreed(evidence, canary)[1]
        is_bad = total >= rules.min_shadows and (found is None or found < limit)
        verdict = Verdict.FAILED if is_bad else Verdict.PASSED
    else:
        verdict = Verdict.FAILED if found is not None and found > limit else Verdict.PASSED
    return comparison._replace(verdict=verdict)


def _say(comparison: Comparison) -> str:
    what, active, canary, limit, _ = comparison
    found = "nothing" if canary is None else f"{canary:.4g}"
    usual = "" if active is None else f" (active: {active:.4g})"
    relation = "at least" if what == "agreement" else "at most"
    return f"{what}: expected {relation} {limit:.4g}, found {found}{usual}"


def _share(count: int, total: int) -> float | None:
    return count / total if total else None


def _sum(counts: Mapping[str, Counts]) -> Counts:
    total = Counts()
    for more in counts.values():
        total = total.plus(more)
    return total
