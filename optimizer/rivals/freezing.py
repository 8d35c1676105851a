"""A trained network trained on in some of its layers: chosen by evolution, or drawn at random."""

from pathlib import Path

import keras
import msgspec
import numpy as np

from optimizer.data.dataset import Split
from optimizer.freeze.choose import choose_layers
from optimizer.freeze.layers import FreezableLayer, apply_mask
from optimizer.freeze.mask import FreezeMask
from optimizer.freeze.network import read_network
from optimizer.freeze.training import FreezeLessons
from optimizer.labelled import Labelled
from optimizer.progress import Advance, Reporter
from optimizer.rivals.bench import Bench, as_input, cpu_seconds
from optimizer.rivals.pruning import Made, copy_of
from optimizer.run_folder import RunFolder

USUAL_SHARE = 0.5
"""Of the layers that random freezing trains where no evolution says how many."""


class MaskRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which layers are trained, and how long the choice took."""

    layers: FreezeMask
    choosing_s: float


def choose_mask(bench: Bench, network: keras.Model, reporter: Reporter, folder: Path) -> MaskRecord:
    """Choose the layers to train by the genetic algorithm, resumable in `folder`.

    The seconds are those of this process alone, where another made a part of the choice.
    """
    began = cpu_seconds()
    folder.mkdir(parents=True, exist_ok=True)
    lessons = FreezeLessons(_labelled(bench.lessons.training), _labelled(bench.lessons.validation))
    model, config = copy_of(network), bench.config.freeze
    record = choose_layers(model, lessons, config, bench.seed, reporter, RunFolder(folder))
    return MaskRecord(record.mask, cpu_seconds() - began)


def draw_mask(bench: Bench, network: keras.Model, chosen: MaskRecord | None) -> MaskRecord:
    """Draw as many layers to train as were chosen, or half of them where nothing was."""
    count = len(read_network(network).layers)
    trained = sum(chosen.layers) if chosen else max(1, round(USUAL_SHARE * count))
    return MaskRecord(random_mask(count, trained, bench.rng(9)), 0.0)


def random_mask(count: int, trained: int, rng: np.random.Generator) -> FreezeMask:
    """Return a mask that trains the last layer, which is the classifier, and others at random.

    Args:
        count: Layers.
        trained: How many of them are trained, at least 1.
        rng: Draws them.
    """
    others = rng.permutation(count - 1)[: trained - 1]
    chosen = {count - 1, *others.tolist()}
    return tuple(i in chosen for i in range(count))


def train_masked(bench: Bench, network: keras.Model, record: MaskRecord, advance: Advance) -> Made:
    """Spend the budget of a bench on the layers of a mask alone."""
    model, mask = copy_of(network), record.layers
    read = read_network(model)
    apply_mask(model, read.layers, mask)
    epochs = bench.config.fine_tune.epochs
    seconds = bench.fine_tune(model, epochs, advance, network)
    apply_mask(model, read.layers, (True,) * len(mask))
    share = read.costs.backward_flops(mask, bench.config.fine_tune.batch)
    whole = read.costs.backward_flops((True,) * len(mask), bench.config.fine_tune.batch)
    names = _names(read.layers, mask)
    note = f"{sum(mask)} of {len(mask)} layers, {share / whole:.0%} of the backward pass: {names}"
    return Made(None, model, seconds, record.choosing_s, epochs, note)


def _names(layers: tuple[FreezableLayer, ...], mask: FreezeMask) -> str:
    return ", ".join(la.name for la, is_trained in zip(layers, mask, strict=True) if is_trained)


def _labelled(split: Split) -> Labelled:
    return Labelled(as_input(split.x), split.y)
