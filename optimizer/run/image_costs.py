"""What training some layers, and keeping some channels, costs: measured where a recipe asks."""

import keras
import msgspec
import numpy as np

from optimizer.data.dataset import Split
from optimizer.freeze.costs import Schedule
from optimizer.freeze.mask import tail_mask
from optimizer.freeze.network import Network, read_network
from optimizer.freeze.training import FreezeLessons, FrozenTrainer
from optimizer.images.costs import Latency, ModelCosts, count_costs, measure_latencies
from optimizer.images.energy import load_power, predict_training_j
from optimizer.images.evaluate import evaluate
from optimizer.images.training import ImageLessons, train
from optimizer.keras_file import read_keras_file
from optimizer.prune.groups import ChannelGroups, find_groups
from optimizer.prune.keep import Rules, keep_above
from optimizer.prune.prune import prune
from optimizer.prune.record import PruneRecord
from optimizer.prune.scores import Scores
from optimizer.prune.weight_importance import l1_importance
from optimizer.recipe.image import CostsConfig
from optimizer.run.image_adapt import ADAPTED
from optimizer.run.image_bench import ImageBench, as_labelled, metered
from optimizer.run.image_freeze import TUNED
from optimizer.training.costs import CostsRecord, RetainedShare, TrainedShare
from optimizer.training.keras_engine import make_deterministic

RECORD = "costs.json"


def cost_or_restore(
    bench: ImageBench, model: keras.Model, pruned: PruneRecord | None
) -> CostsRecord | None:
    """Return the costs at every share; None where the recipe asks for none.

    Every row is kept in the run's folder as soon as it is known; the latencies of all models, which
    take turns, come last.

    Args:
        bench: The run.
        model: Its own model, which is left as it is.
        pruned: How that was pruned; gives the importances of the channels.
    """
    config = bench.recipe.costs
    if config is None:
        return None
    power = load_power(config.power)
    split = _few(bench, config)
    record = bench.folder.read_record(RECORD, CostsRecord)
    if record is None:
        missing = bench.meters.missing
        record = CostsRecord(config.power, power.si, config.epochs, len(split), missing)
    for share in sorted(config.shares)[len(record.trained) :]:
        row = _train_share(bench, split, share, config)
        record = msgspec.structs.replace(record, trained=(*record.trained, row))
        bench.folder.write_record(RECORD, record)
    if record.own is None:
        record = _retained(bench, split, model, pruned, record)
        bench.folder.write_record(RECORD, record)
    return record


def _train_share(
    bench: ImageBench, split: Split, share: float, config: CostsConfig
) -> TrainedShare:
    with bench.seeded(f"train {share:.0%} of the layers", 6) as advance:
        network = read_network(_whole(bench), bench.recipe.fine_tune.optimizer)
        mask = tail_mask(len(network.layers), share)
        brief = msgspec.structs.replace(bench.recipe.fine_tune, epochs=config.epochs)
        lessons = FreezeLessons(as_labelled(split), as_labelled(bench.dataset.validation))
        trainer = FrozenTrainer(network, lessons, brief, bench.recipe.seed)
        with metered(bench.meters) as spent:
            done = trainer.train(mask, lambda passed: advance(passed.epoch, brief.epochs, ""))
    seconds = [passed.seconds for passed in done.passes]
    epoch_s = float(np.median(seconds[1:] or seconds))
    return TrainedShare(
        share=share,
        layers=sum(mask),
        parameters=sum(
            layer.parameters for layer, is_on in zip(network.layers, mask, strict=True) if is_on
        ),
        epoch_s=epoch_s,
        training_s=sum(seconds),
        flops=_flops(network, mask, brief.batch, config.epochs) * len(split),
        modelled_j=predict_training_j(load_power(config.power), epoch_s),
        measured_j=spent,
        accuracy=done.validation.accuracy,
    )


def _flops(network: Network, mask: tuple[bool, ...], batch: int, epochs: int) -> float:
    """Return the operations of a training for one image, its prefix computed once."""
    return network.costs.training_flops(mask, Schedule(batch, epochs, 1))


def _retained(
    bench: ImageBench,
    split: Split,
    model: keras.Model,
    pruned: PruneRecord | None,
    record: CostsRecord,
) -> CostsRecord:
    """Return the record with a row for every share of retained channels, and the run's own."""
    config = bench.recipe.costs
    assert config is not None, "it was asked for"
    whole = _whole(bench)
    groups = find_groups(whole)
    total = sum(group.width for group in groups.groups)
    scores = _scores(groups, pruned)
    contents: list[bytes] = []
    rows: list[tuple[float, int, ModelCosts, float]] = []
    shares = sorted(config.shares)
    with bench.seeded("keep some channels", 7) as advance:
        for number, share in enumerate(shares):
            make_deterministic(bench.recipe.seed)
            advance(number, len(shares), f"{share:.0%} of the channels")
            # Just above a rank, so that rounding takes no channel more.
            keep = keep_above(groups, scores, 1 - share + 1e-9, Rules("uniform"))
            smaller = prune(whole, keep, groups).model
            content, counted = count_costs(smaller)
            channels = sum(len(keep.get(g.name, range(g.width))) for g in groups.groups)
            accuracy = _accuracy(bench, split, smaller, config, is_pruned=share < 1)
            contents.append(content)
            rows.append((share, channels, counted, accuracy))
        content, counted = count_costs(model)
        channels = pruned.last.channels if pruned else total
        accuracy = evaluate(model, bench.dataset.validation).accuracy
        contents.append(content)
        rows.append((channels / max(total, 1), channels, counted, accuracy))
    with bench.reporter.stage("measure the latencies"):
        latencies = measure_latencies(contents, config.rounds)
    made = [_row(*row, took) for row, took in zip(rows, latencies, strict=True)]
    return msgspec.structs.replace(record, retained=tuple(made[:-1]), own=made[-1])


def _accuracy(
    bench: ImageBench, split: Split, model: keras.Model, config: CostsConfig, *, is_pruned: bool
) -> float:
    """Return the validation accuracy, after a brief training where something was dropped."""
    if not is_pruned:
        return evaluate(model, bench.dataset.validation).accuracy
    asked = bench.recipe.prune.fine_tune if bench.recipe.prune else bench.recipe.train
    brief = msgspec.structs.replace(asked, epochs=config.epochs)
    lessons = ImageLessons(split, bench.dataset.validation)
    model.trainable = True
    return train(model, lessons, brief, bench.recipe.seed).validation.accuracy


def _row(
    share: float, channels: int, counted: ModelCosts, accuracy: float, took: Latency
) -> RetainedShare:
    return RetainedShare(
        share=share,
        channels=channels,
        onnx_bytes=counted.onnx_bytes,
        parameters=counted.parameters,
        macs=counted.macs,
        latency_s=took.median_s,
        low_s=took.low_s,
        high_s=took.high_s,
        accuracy=accuracy,
    )


def _scores(groups: ChannelGroups, pruned: PruneRecord | None) -> Scores:
    if pruned is None:
        return l1_importance(groups)
    rows = {name: np.asarray(row) for name, row in pruned.importance.items()}
    return Scores(pruned.criterion, rows, is_comparable=True)


def _whole(bench: ImageBench) -> keras.Model:
    """Return the model ahead of any pruning, every layer of it to be trained."""
    tuned = bench.folder.path / TUNED
    model = read_keras_file(tuned if tuned.exists() else bench.folder.path / ADAPTED)
    for layer in model._flatten_layers():
        layer.trainable = True
    return model


def _few(bench: ImageBench, config: CostsConfig) -> Split:
    split = bench.first
    if not 0 < config.images < len(split):
        return split
    rng = np.random.default_rng([bench.recipe.seed, 8])
    chosen = np.sort(rng.choice(len(split), config.images, replace=False))
    return Split(split.x[chosen], split.y[chosen])
