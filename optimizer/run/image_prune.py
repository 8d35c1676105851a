"""Pruning in a run on images: judged, cut, trained on, step by step, resumable at each."""

import hashlib
from collections.abc import Sequence

import keras
import msgspec
import numpy as np

from headtail.errors import ConfigError, PruningError
from optimizer.images.training import Watch, quiet
from optimizer.keras_file import read_keras_file
from optimizer.progress import Advance
from optimizer.prune.diversity import channel_diversity
from optimizer.prune.gradient_importance import Batches, gradcam_importance, taylor_importance
from optimizer.prune.groups import ChannelGroups, find_groups
from optimizer.prune.keep import Rules, keep_above
from optimizer.prune.loop import Outcome, Plan, prune_in_steps
from optimizer.prune.record import FrozenPart, PrunedStep, PruneRecord, ThresholdTrial
from optimizer.prune.scores import Scores
from optimizer.prune.weight_importance import (
    gamma_importance,
    l1_importance,
    l2_importance,
    random_importance,
)
from optimizer.recipe.image import ImageRecipe
from optimizer.recipe.prune import PruneConfig
from optimizer.run.image_bench import ImageBench
from optimizer.run.image_points import in_turns
from optimizer.run.image_threshold import find_threshold
from optimizer.training.keras_engine import make_deterministic
from optimizer.training.stage import StageRecord

RECORD, FOLDER = "pruned.json", "pruning"
CHECKPOINT = "training.npz"
JUDGED = 32
"""Images of one batch of gradients."""
_CONVOLUTIONS = (
    keras.layers.Conv1D,
    keras.layers.Conv2D,
    keras.layers.Conv3D,
    keras.layers.Conv2DTranspose,
    keras.layers.SeparableConv2D,
    keras.layers.DepthwiseConv2D,
)


def check_prune(recipe: ImageRecipe, model: keras.Model) -> None:
    """Refuse what cannot be pruned as the recipe says, before anything is trained.

    Raises:
        ConfigError: If a layer of `keep_layers` does not exist.
        PruningError: If the model has no convolution that can be pruned, or the cost is out of
            reach.
    """
    config = recipe.prune
    if config is None:
        return
    groups = find_groups(model)
    _check_convolutions(model, groups)
    kept = kept_groups(groups, config.keep_layers)
    scores = _without(l1_importance(groups), kept)
    rules = Rules(config.scope, config.multiple, config.min_share)
    least, whole = groups.macs(keep_above(groups, scores, 1.0, rules)), groups.macs({})
    if least > config.macs_share * whole:
        raise PruningError(
            "[prune] macs_share",
            f"expected at least {least / whole:.3g}, received {config.macs_share:g}: with one"
            f" channel left in every group and what keep_layers, multiple and min_share keep,"
            f" {least} of {whole} multiply-accumulates remain",
        )


def kept_groups(groups: ChannelGroups, layers: Sequence[str]) -> tuple[str, ...]:
    """Return the groups that hold channels of some layers.

    Raises:
        ConfigError: If a layer does not exist, or makes no channels.
    """
    known = [layer for group in groups.groups for layer in group.layers]
    known += [part.layer for part in groups.frozen]
    for name in layers:
        if name not in known:
            raise ConfigError(
                "[prune] keep_layers",
                f"expected names of layers that make channels, received '{name}'; there are"
                f" {', '.join(dict.fromkeys(known[:6]))}{', ...' if len(known) > 6 else ''}",
            )
    wanted = set(layers)
    return tuple(g.name for g in groups.groups if wanted.intersection(g.layers))


def prune_or_restore(
    bench: ImageBench, model: keras.Model
) -> tuple[keras.Model, PruneRecord | None]:
    """Return the pruned model; as it is where the recipe prunes nothing.

    Raises:
        PruningError: If A_min cannot be met.
        ConfigError: If the folder is damaged.
    """
    if bench.recipe.prune is None:
        return model, None
    record = bench.folder.read_record(RECORD, PruneRecord)
    if record is not None:
        bench.reporter.say(f"pruned earlier: {len(record.steps)} steps")
        return read_keras_file(bench.folder.path / record.model), record
    pruning = ImagePruning(bench, model, bench.recipe.prune)
    outcome, record = pruning.run()
    bench.folder.write_record(RECORD, record)
    return outcome.model, record


class ImagePruning:
    """A pruning under way."""

    def __init__(self, bench: ImageBench, model: keras.Model, config: PruneConfig) -> None:
        """Take the model, which is left as it is, but for what of it is trainable."""
        self.bench, self.model, self.config = bench, model, config
        if config.trains == "all":
            model.trainable = True
            for layer in model._flatten_layers():
                layer.trainable = True
        self.groups = find_groups(model)
        self.kept = kept_groups(self.groups, config.keep_layers)
        self.path = bench.folder.path / FOLDER
        self._calibration = in_turns(bench.second, config.images)
        self._step = len(list(self.path.glob("step-*.keras")))
        self._advance: Advance = quiet

    def run(self) -> tuple[Outcome, PruneRecord]:
        """Prune as far as the recipe says.

        Raises:
            PruningError: If A_min or L cannot be met.
        """
        config, diversity = self.config, None
        with self.bench.seeded("judge the channels", 3):
            scores = self.score(self.model, self.groups)
            if config.min_diversity:
                diversity = channel_diversity(self.groups, config.min_diversity)
        rules = Rules(config.scope, config.multiple, config.min_share, diversity)
        share, trials = find_threshold(self, scores, rules)
        plan = Plan(share, config.steps, rules, config.min_accuracy, self._name())
        with self.bench.seeded("prune and fine-tune", 4) as advance:
            self._advance = advance
            outcome = prune_in_steps(self.model, self._judge, self._fine_tune, plan, self.path)
        if not outcome.is_complete:
            self.bench.reporter.say(
                f"pruning ended at step {len(outcome.steps)} of {config.steps}: the next one misses"
                f" A_min {config.min_accuracy:g}"
            )
        return outcome, self._record(outcome, scores, trials)

    def score(self, model: keras.Model, groups: ChannelGroups) -> Scores:
        """Return the importances of a model's channels, without those of kept layers."""
        kind = self.config.importance
        if kind == "gradcam":
            found = gradcam_importance(model, groups, self._batches(), self.config.heatmap)
        elif kind == "taylor":
            found = taylor_importance(model, groups, self._batches())
        elif kind == "random":
            rng = np.random.default_rng([self.bench.recipe.seed, 4, self._step])
            found = random_importance(groups, rng)
        else:
            judges = {"l1": l1_importance, "l2": l2_importance, "gamma": gamma_importance}
            found = judges[kind](groups)
        return _without(found, self.kept)

    def _judge(self, model: keras.Model, groups: ChannelGroups) -> Scores:
        # Called ahead of each step: what it draws must not depend on earlier ones.
        self._step += 1
        make_deterministic(self.bench.recipe.seed + self._step)
        return self.score(model, groups)

    def _fine_tune(self, model: keras.Model) -> float:
        step, steps = self._step, self.config.steps

        def advance(done: int, total: int, note: str) -> None:
            self._advance((step - 1) * total + done, steps * total, f"step {step}/{steps}, {note}")

        watch = Watch(advance, self.path / CHECKPOINT)
        self.path.mkdir(exist_ok=True)
        second, seed = self.bench.second, self.bench.recipe.seed
        record = self.bench.train(model, second, self.config.fine_tune, seed, watch)
        self.bench.folder.write_record(f"{FOLDER}/step-{step}.json", record)
        return record.validation_scores.accuracy

    def _name(self) -> str:
        """Return what stands for all that decides the outcome besides model and limits."""
        told = [self.config, self.bench.recipe.seed, self.bench.dataset.fingerprint]
        return hashlib.sha256(msgspec.json.encode(told)).hexdigest()[:16]

    def _batches(self) -> Batches:
        images = self._calibration
        for i in range(0, len(images), JUDGED):
            x = images.x[i : i + JUDGED].astype(np.float32) / np.float32(255)
            yield x, images.y[i : i + JUDGED]

    def _record(
        self, outcome: Outcome, scores: Scores, trials: tuple[ThresholdTrial, ...]
    ) -> PruneRecord:
        read = self.bench.folder.read_record
        steps = []
        for number, step in enumerate(outcome.steps, start=1):
            training = read(f"{FOLDER}/step-{number}.json", StageRecord)
            assert training is not None, "it was written before the step was"
            channels = sum(map(len, step.keep.values()))
            steps.append(PrunedStep(step.macs, step.parameters, channels, step.accuracy, training))
        return PruneRecord(
            criterion=scores.criterion,
            macs=self.groups.macs({}),
            parameters=self.model.count_params(),
            channels=sum(g.width for g in self.groups.groups),
            steps=tuple(steps),
            model=f"{FOLDER}/{outcome.steps[-1].model}",
            is_complete=outcome.is_complete,
            importance={n: tuple(map(float, row)) for n, row in scores.by_group.items()},
            keep=outcome.steps[-1].keep,
            kept_layers=self.kept,
            frozen=tuple(FrozenPart(f.layer, f.count, f.reason) for f in self.groups.frozen),
            trials=trials,
        )


def _check_convolutions(model: keras.Model, groups: ChannelGroups) -> None:
    makers = {layer for group in groups.groups for layer in group.layers}
    parts = [part for part in groups.parts if isinstance(part.operation, _CONVOLUTIONS)]
    if not parts:
        raise PruningError(
            f"model '{model.name}'", "expected convolutions to prune, received a model without any"
        )
    if not any(part.path in makers for part in parts):
        reason = groups.frozen[0].reason if groups.frozen else "all have one channel"
        raise PruningError(
            f"model '{model.name}'",
            f"expected a convolution that can be pruned, received none: {reason}",
        )


def _without(scores: Scores, names: Sequence[str]) -> Scores:
    """Return the scores without some groups, which then stay whole."""
    rest = {name: row for name, row in scores.by_group.items() if name not in names}
    unscored = (*scores.unscored, *(n for n in names if n in scores.by_group))
    return Scores(scores.criterion, rest, scores.is_comparable, unscored)
