"""The first stage of a run on images: a backbone with a new head, checked and trained."""

from collections.abc import Callable

import keras

from optimizer.images.backbone import HEAD, build_classifier
from optimizer.images.training import Watch
from optimizer.keras_file import read_keras_file, write_keras_file
from optimizer.run.image_bench import ImageBench
from optimizer.run.image_freeze import check_freeze
from optimizer.run.image_prune import check_prune
from optimizer.training.stage import StageRecord

ADAPTED, RECORD, CHECKPOINT = "adapted.keras", "adapted.json", "adapting.npz"
Check = Callable[[keras.Model], None]


def adapt_or_restore(bench: ImageBench, check: Check) -> tuple[keras.Model, StageRecord]:
    """Return the model after its first training, from the folder where that is finished.

    Args:
        bench: The run.
        check: Called with the model before it is trained; raises what would be raised in the end.

    Raises:
        ConfigError: If the backbone cannot be built, a layer that the recipe names does not exist,
            or the loss leaves the finite numbers.
        PruningError: If the model cannot be pruned as the recipe says.
    """
    record = bench.folder.read_record(RECORD, StageRecord)
    path = bench.folder.path
    if record is not None:
        bench.reporter.say(f"trained earlier: epoch {record.best_epoch} is kept")
        return read_keras_file(path / ADAPTED), record
    recipe = bench.recipe
    with bench.seeded("build the backbone"):
        model = build_classifier(recipe.backbone, bench.shape, len(bench.dataset.labels))
        check_freeze(recipe, model)
        check_prune(recipe, model)
        check(model)
    with bench.seeded("train", 1) as advance:
        for layer in model.layers:
            layer.trainable = layer.name.startswith(HEAD) or not recipe.backbone.frozen
        watch = Watch(advance, path / CHECKPOINT)
        record = bench.train(model, bench.first, recipe.train, recipe.seed, watch)
    write_keras_file(model, path / ADAPTED)
    bench.folder.write_record(RECORD, record)
    return model, record
