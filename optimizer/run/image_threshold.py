"""How far a run prunes: to a cost, at a given threshold, or at the best of some that are tried."""

import hashlib
from typing import TYPE_CHECKING

import msgspec

from headtail.errors import PruningError
from optimizer.images.evaluate import evaluate
from optimizer.images.training import ImageLessons, train
from optimizer.prune.groups import Keep
from optimizer.prune.keep import Rules, keep_above
from optimizer.prune.prune import prune
from optimizer.prune.record import ThresholdTrial
from optimizer.prune.scores import Scores
from optimizer.prune.threshold import Goal, search_threshold
from optimizer.training.keras_engine import make_deterministic

if TYPE_CHECKING:
    from optimizer.run.image_prune import ImagePruning

TRIALS = "pruning_trials.json"


class _Trials(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Accuracies of thresholds that were tried, by a digest of the channels that they keep."""

    accuracies: dict[str, float] = {}


def find_threshold(
    pruning: "ImagePruning", scores: Scores, rules: Rules
) -> tuple[float, tuple[ThresholdTrial, ...]]:
    """Return the multiply-accumulates to prune to, as a share of all, and what was tried.

    Every trial is kept in the run's folder as soon as it is known.

    Raises:
        PruningError: If the given threshold keeps more than L, or no trial meets A_min and L.
    """
    config, groups = pruning.config, pruning.groups
    whole = groups.macs({})
    if config.threshold is not None:
        macs = groups.macs(keep_above(groups, scores, config.threshold, rules))
        if macs > config.macs_share * whole:
            raise PruningError(
                "[prune] threshold",
                f"expected one that leaves at most {config.macs_share * whole:.0f} MACs,"
                f" {config.threshold:g} leaves {macs} of {whole}",
            )
        return _share(macs, whole), ()
    if not config.trials:
        return config.macs_share, ()
    goal = Goal(
        config.accuracy_weight, config.cost_weight, config.min_accuracy, config.macs_share * whole
    )
    with pruning.bench.seeded("search the threshold", 5) as advance:
        looked = 0

        def evaluate_next(keep: Keep) -> float:
            nonlocal looked
            advance(looked, config.trials, f"{groups.macs(keep) / whole:.1%} of the cost")
            accuracy = _look(pruning, keep)
            looked += 1
            advance(looked, config.trials, f"accuracy {accuracy:.1%}")
            return accuracy

        found = search_threshold(groups, scores, evaluate_next, goal, rules, config.trials)
    told = tuple(
        ThresholdTrial(t.threshold, t.macs, t.accuracy, t.profit, t.is_valid) for t in found
    )
    return _share(found[0].macs, whole), told


def _look(pruning: "ImagePruning", keep: Keep) -> float:
    """Return the validation accuracy with some channels, from the folder where it is known."""
    bench, config = pruning.bench, pruning.config
    key = hashlib.sha256(msgspec.json.encode(keep, order="sorted")).hexdigest()[:32]
    known = bench.folder.read_record(TRIALS, _Trials) or _Trials()
    if key in known.accuracies:
        return known.accuracies[key]
    make_deterministic(bench.recipe.seed)
    model = prune(pruning.model, keep, pruning.groups).model
    if config.trial_epochs:
        brief = msgspec.structs.replace(config.fine_tune, epochs=config.trial_epochs)
        lessons = ImageLessons(bench.second, bench.dataset.validation)
        accuracy = train(model, lessons, brief, bench.recipe.seed).validation.accuracy
    else:
        accuracy = evaluate(model, bench.dataset.validation).accuracy
    bench.folder.write_record(TRIALS, _Trials({**known.accuracies, key: accuracy}))
    return accuracy


def _share(macs: int, whole: int) -> float:
    # Half a MAC more, so that the product with the whole is not below by rounding.
    return min(1.0, (macs + 0.5) / whole)
