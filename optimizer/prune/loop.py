"""Pruning in steps with training after each, resumable at the last finished step."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import keras
import msgspec

from headtail.errors import ConfigError, PruningError
from headtail.files import write_file
from optimizer.keras_file import read_keras_file, write_keras_file
from optimizer.prune.groups import ChannelGroups, Keep, find_groups
from optimizer.prune.keep import Rules, keep_for_macs
from optimizer.prune.prune import prune
from optimizer.prune.scores import Scores

RECORD = "pruning.json"
Judge = Callable[[keras.Model, ChannelGroups], Scores]
FineTune = Callable[[keras.Model], float]


class Step(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One finished step."""

    macs: int
    parameters: int
    accuracy: float
    """What `fine_tune` returned, 0 to 1."""
    keep: dict[str, tuple[int, ...]]
    """Channels of the original that are left, by its pruning groups."""
    model: str
    """File name of the model after training."""


class Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The file `pruning.json`."""

    original: str
    """Which model, scores and plan the steps belong to."""
    steps: tuple[Step, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """How far to prune, and in how many steps."""

    macs_share: float
    """Multiply-accumulates of the last step relative to the original's, above 0, at most 1."""
    steps: int = 1
    """Each takes the same share of what is left, so that late steps are not the largest."""
    rules: Rules = field(default_factory=Rules)
    min_accuracy: float = 0.0
    """A_min, 0 to 1: a step that falls below it ends the loop and is not taken."""
    name: str = ""
    """Stands for all else that decides the outcome: criterion, data, seed."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        if not 0 < self.macs_share <= 1 or self.steps < 1:
            raise PruningError(
                "pruning plan",
                "expected a share above 0 and at most 1 and one or more steps, received"
                f" {self.macs_share} and {self.steps}",
            )

    def share(self, step: int) -> float:
        """Return the share of the original's cost after a step, counted from 1."""
        return float(self.macs_share ** (step / self.steps))


@dataclass(frozen=True, slots=True)
class Outcome:
    """Where the loop ended."""

    model: keras.Model
    """The smallest that reached A_min."""
    steps: tuple[Step, ...]
    """Those that were taken."""
    is_complete: bool
    """False where A_min ended it before the planned cost."""


def prune_in_steps(
    model: keras.Model, judge: Judge, fine_tune: FineTune, plan: Plan, folder: Path
) -> Outcome:
    """Prune, train, and again, until the planned cost is reached or A_min would be missed.

    Every finished step is on disk before the next begins (`step-N.keras`, `pruning.json`, each
    whole or not there); called again with the same folder, it goes on behind the last of them.

    Args:
        model: A built classifier; it is left as it is.
        judge: Scores the channels of the model of each step.
        fine_tune: Trains a model in place, and returns its accuracy on held-out data, 0 to 1.
        plan: Goal and limits.
        folder: Where the steps are kept.

    Raises:
        PruningError: If the cost cannot be reached, or the first step misses A_min already.
        ConfigError: If the folder belongs to another model or plan, or cannot be read or written.
    """
    whole = find_groups(model)
    original = _fingerprint(model, plan, whole)
    record = _read(folder, original)
    total = whole.macs({})
    for number in range(len(record.steps) + 1, plan.steps + 1):
        if _is_missed(record, plan):
            break
        current = read_keras_file(folder / record.steps[-1].model) if record.steps else model
        groups = find_groups(current)
        limit = plan.share(number) * total
        before = record.steps[-1].keep if record.steps else {}
        keep = keep_for_macs(
            groups, judge(current, groups), limit, _rules(plan.rules, whole, before)
        )
        pruned = prune(current, keep, groups).model
        accuracy = float(fine_tune(pruned))
        step = Step(
            macs=groups.macs(keep),
            parameters=pruned.count_params(),
            accuracy=accuracy,
            keep=_composed(whole, before, keep),
            model=f"step-{number}.keras",
        )
        write_keras_file(pruned, folder / step.model)
        record = Record(original, (*record.steps, step))
        write_file(folder / RECORD, msgspec.json.format(msgspec.json.encode(record)), 0o644)
    return _outcome(folder, record, plan)


def _outcome(folder: Path, record: Record, plan: Plan) -> Outcome:
    taken = tuple(s for s in record.steps if s.accuracy >= plan.min_accuracy)
    if not taken:
        raise PruningError(
            "A_min",
            f"expected an accuracy of at least {plan.min_accuracy:g} after pruning, the first step"
            f" reached {record.steps[0].accuracy:g}",
        )
    return Outcome(read_keras_file(folder / taken[-1].model), taken, len(taken) == plan.steps)


def _rules(rules: Rules, whole: ChannelGroups, before: Keep) -> Rules:
    """Return the rules for a model of which earlier steps left some channels."""
    diversity = rules.diversity.after(before) if rules.diversity else None
    widths = {group.name: group.width for group in whole.groups}
    return replace(rules, diversity=diversity, widths=widths)


def _is_missed(record: Record, plan: Plan) -> bool:
    return bool(record.steps) and record.steps[-1].accuracy < plan.min_accuracy


def _composed(whole: ChannelGroups, before: Keep, keep: Keep) -> dict[str, tuple[int, ...]]:
    """Return which of the original channels are left after one more pruning."""
    result = {}
    for group in whole.groups:
        known = tuple(before.get(group.name, range(group.width)))
        chosen = keep.get(group.name, range(len(known)))
        result[group.name] = tuple(known[i] for i in chosen)
    return result


def _fingerprint(model: keras.Model, plan: Plan, groups: ChannelGroups) -> str:
    bounds = plan.rules
    diversity = bounds.diversity.minimum if bounds.diversity else 0
    weights = math.fsum(float(keras.ops.sum(keras.ops.abs(w))) for w in model.weights)
    facts = (
        f"{plan.name} share={plan.macs_share:g} steps={plan.steps} a_min={plan.min_accuracy:g}",
        f"{bounds.scope} x{bounds.multiple} min={bounds.min_share:g} d_min={diversity:g}",
        f"{model.name} groups={len(groups.groups)} macs={groups.macs({})} weights={weights:.9g}",
    )
    return "; ".join(facts)


def _read(folder: Path, original: str) -> Record:
    path = folder / RECORD
    try:
        record = msgspec.json.decode(path.read_bytes(), type=Record)
    except FileNotFoundError:
        return Record(original)
    except (OSError, msgspec.DecodeError) as error:
        raise ConfigError(str(path), f"cannot be read: {error}") from error
    if record.original != original:
        raise ConfigError(
            str(path), f"expected steps of '{original}', received those of '{record.original}'"
        )
    return record
