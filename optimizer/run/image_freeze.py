"""Which layers a run on images trains on, and that training; done once and kept."""

import keras
import msgspec

from optimizer.freeze.calls import flatten_calls
from optimizer.freeze.choose import FreezeRecord, choose_layers
from optimizer.freeze.config import FreezeConfig
from optimizer.freeze.layers import freezable_layers, places
from optimizer.freeze.mask import FreezeMask, mask_text
from optimizer.freeze.network import Network, read_network
from optimizer.freeze.prediction import predict_training
from optimizer.freeze.record import FreezingRecord
from optimizer.freeze.training import FreezeLessons, FreezePass, FrozenTrainer
from optimizer.images.augment import copier
from optimizer.keras_file import read_keras_file, write_keras_file
from optimizer.recipe.image import ImageRecipe
from optimizer.run.image_bench import ImageBench, as_labelled, metered
from optimizer.training.keras_engine import make_deterministic

TUNED, RECORD = "tuned.keras", "freezing.json"


def check_freeze(recipe: ImageRecipe, model: keras.Model) -> None:
    """Refuse a name in [freeze] that no layer has, before anything is trained.

    Raises:
        ConfigError: If there is one.
    """
    config = recipe.freeze
    if config is None:
        return
    layers = freezable_layers(flatten_calls(model))
    named = {"layers": config.layers, "always": config.always, "values": tuple(config.values)}
    for key, names in named.items():
        places(layers, names, f"[freeze] {key}")


def freeze_or_restore(
    bench: ImageBench, model: keras.Model
) -> tuple[keras.Model, FreezingRecord | None]:
    """Return the model trained on under a mask; as it is where the recipe freezes nothing.

    A selection goes on behind the last individual of the folder's history.

    Raises:
        ConfigError: If the loss leaves the finite numbers.
    """
    config, folder = bench.recipe.freeze, bench.folder
    if config is None:
        return model, None
    record = folder.read_record(RECORD, FreezingRecord)
    if record is not None:
        bench.reporter.say(f"fine-tuned earlier: {record.mask.count('1')} layers trained")
        return read_keras_file(folder.path / TUNED), record
    lessons = _lessons(bench)
    mask, selection = _choose(bench, model, lessons, config)
    network = read_network(model, bench.recipe.fine_tune.optimizer)
    record = _fine_tune(bench, network, lessons, mask, selection)
    write_keras_file(model, folder.path / TUNED)
    folder.write_record(RECORD, record)
    return model, record


def _lessons(bench: ImageBench) -> FreezeLessons:
    change = copier(bench.recipe.train.augment)
    first, validation = bench.first, bench.dataset.validation
    return FreezeLessons(as_labelled(first), as_labelled(validation), change)


def _choose(
    bench: ImageBench, model: keras.Model, lessons: FreezeLessons, config: FreezeConfig
) -> tuple[FreezeMask, FreezeRecord | None]:
    """Return the mask, and how it was found."""
    if config.layers:
        layers = freezable_layers(flatten_calls(model))
        wanted = places(layers, config.layers, "[freeze] layers")
        return tuple(i in wanted for i in range(len(layers))), None
    make_deterministic(bench.recipe.seed)
    seed, folder = bench.recipe.seed, bench.folder
    found = choose_layers(model, lessons, config, seed, bench.reporter, folder)
    return found.mask, found


def _fine_tune(
    bench: ImageBench,
    network: Network,
    lessons: FreezeLessons,
    mask: FreezeMask,
    selection: FreezeRecord | None,
) -> FreezingRecord:
    """Train the network's model in place."""
    recipe = bench.recipe
    assert recipe.freeze is not None, "there is a mask"
    epochs = recipe.fine_tune.epochs
    with bench.seeded("fine-tune the chosen layers", 2) as advance:

        def on_pass(done: FreezePass) -> None:
            advance(done.epoch, epochs, f"loss {done.loss:.3f}")

        advance(0, epochs, "computing what lies below the first trained layer")
        trainer = FrozenTrainer(network, lessons, recipe.fine_tune, recipe.seed)
        with metered(bench.meters) as spent:
            done = trainer.train(mask, on_pass)
    whole = (True,) * len(mask)
    config = msgspec.structs.replace(recipe.freeze, train=recipe.fine_tune)
    augments = lessons.augment is not None
    # Its speed is not asked for: operations alone.
    told = predict_training(network.costs, config, len(lessons.training.y), 1.0, augments=augments)
    return FreezingRecord(
        layers=tuple(layer.name for layer in network.layers),
        parameters=tuple(layer.parameters for layer in network.layers),
        mask=mask_text(mask),
        passes=done.passes,
        cached_bytes=done.cached_bytes,
        flops=told.flops(mask),
        whole_flops=told.flops(whole),
        validation=done.validation.confusion.tolist(),
        test=bench.test(network.model),
        measured_j=spent,
        selection=selection,
    )
