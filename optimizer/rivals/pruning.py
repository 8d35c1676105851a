"""A trained network pruned by one criterion to a share of its cost, in steps, each trained."""

import functools
from dataclasses import dataclass
from typing import assert_never

import keras
import numpy as np

from optimizer.images.evaluate import Evaluator
from optimizer.keras_onnx import before_softmax
from optimizer.progress import Advance
from optimizer.prune.gradient_importance import gradcam_importance, taylor_importance
from optimizer.prune.groups import ChannelGroups, Keep, find_groups
from optimizer.prune.keep import Rules
from optimizer.prune.lasso import add_group_lasso, remove_group_lasso
from optimizer.prune.prune import prune
from optimizer.prune.scores import Scores
from optimizer.prune.weight_importance import (
    gamma_importance,
    l1_importance,
    l2_importance,
    random_importance,
)
from optimizer.recipe.rivals import Criterion
from optimizer.rivals.allocate import choose_keep
from optimizer.rivals.bench import Bench, cpu_seconds


@dataclass(frozen=True, slots=True)
class Made:
    """What a method made of the network."""

    before: keras.Model | None
    """Ahead of the last training; None where nothing was changed by then."""
    after: keras.Model
    training_s: float
    """CPU seconds of the budget's training steps."""
    choosing_s: float
    """CPU seconds that it took to choose channels or layers."""
    epochs: int
    note: str


def prune_by(bench: Bench, network: keras.Model, criterion: Criterion, advance: Advance) -> Made:
    """Prune a copy of a network and spend the budget on it.

    Args:
        bench: The budget, the images.
        network: Trained; it is left as it is.
        criterion: What channels are judged by.
        advance: Told how the trainings go.

    Raises:
        PruningError: If the cost cannot be reached.
    """
    config, model = bench.config, copy_of(network)
    whole, seconds, choosing, notes = find_groups(network).macs({}), 0.0, 0.0, []
    epochs = config.fine_tune.epochs
    if criterion == "lasso" and config.lasso_epochs:
        seconds += _shrink(bench, model, advance)
        epochs -= config.lasso_epochs
    before: keras.Model | None = None
    for step in range(1, config.steps + 1):
        began = cpu_seconds()
        groups = find_groups(model)
        scores = judge(bench, model, groups, criterion, step)
        limit = config.macs_share ** (step / config.steps) * whole
        keep, way = choose_keep(
            groups,
            scores,
            limit,
            Rules(multiple=config.multiple, min_share=config.min_share),
            config.allocations,
            functools.partial(_calibration_loss, bench, model, groups),
        )
        model = prune(model, keep, groups).model
        choosing += cpu_seconds() - began
        notes.append(f"{way}: {_widths(groups, keep)}")
        before = copy_of(model) if step == config.steps else None
        part = epochs * step // config.steps - epochs * (step - 1) // config.steps
        seconds += bench.fine_tune(model, part, advance, network)
    return Made(before, model, seconds, choosing, config.fine_tune.epochs, "; ".join(notes))


def judge(
    bench: Bench, model: keras.Model, groups: ChannelGroups, criterion: Criterion, step: int
) -> Scores:
    """Return the importance of each channel by a criterion; of `lasso` the norm it shrank."""
    match criterion:
        case "gradcam":
            batches = bench.calibration_batches()
            return gradcam_importance(model, groups, batches, bench.config.heatmap)
        case "taylor":
            return taylor_importance(model, groups, bench.calibration_batches())
        case "l1":
            return l1_importance(groups)
        case "l2" | "lasso":
            return l2_importance(groups)
        case "gamma":
            return gamma_importance(groups)
        case "random":
            return random_importance(groups, np.random.default_rng([bench.seed, 8, step]))
        case _:
            assert_never(criterion)


def copy_of(model: keras.Model) -> keras.Model:
    """Return a model that shares nothing with the given one, all of it trainable."""
    return prune(model, {}).model


def _shrink(bench: Bench, model: keras.Model, advance: Advance) -> float:
    """Train under the penalty; return the seconds."""
    groups = find_groups(model)
    add_group_lasso(groups, bench.config.lasso_strength)
    seconds = bench.fine_tune(model, bench.config.lasso_epochs, advance)
    remove_group_lasso(groups)
    return seconds


def _calibration_loss(bench: Bench, model: keras.Model, groups: ChannelGroups, keep: Keep) -> float:
    """Return the mean cross-entropy of the pruned model on the calibration images."""
    split = bench.calibration
    small = before_softmax(prune(model, keep, groups).model)
    logits = np.asarray(Evaluator(small).logits(split.x), np.float64)
    logits -= logits.max(axis=1, keepdims=True)
    shares = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    return float(-shares[np.arange(len(split)), split.y].mean())


def _widths(groups: ChannelGroups, keep: Keep) -> str:
    return " ".join(f"{len(keep.get(g.name, range(g.width)))}/{g.width}" for g in groups.groups)
