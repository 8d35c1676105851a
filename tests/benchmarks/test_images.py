"""Image training on real photographs: time, accuracy, energy; and two ways of batching."""

import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from optimizer.data.dataset import DataConfig, Dataset
from optimizer.data.images_config import ImagesConfig
from optimizer.images.config import BackboneConfig, ImageAugmentConfig, ImageTrainConfig

pytestmark = [
    pytest.mark.bench,
    pytest.mark.tf,
    pytest.mark.data,
    # Keras 3.15 saves its variables with numpy's old protocol.
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
]
SHAPE = (32, 32, 3)
BATCH, TIMED, WARM_UP = 64, 40, 5
BACKBONE = BackboneConfig("SmallResNet", options={"blocks": 1, "width": 16})
TRAIN = ImageTrainConfig(
    epochs=15,
    batch=BATCH,
    learning_rate=0.004,
    warm_up=1,
    weight_decay=0.02,
    augment=ImageAugmentConfig("horizontal", shift=0.1),
)


@pytest.fixture(scope="module")
def photographs(real_data: Callable[[str], Path]) -> Dataset:
    """Return cifar10_small with its own test images, or skip."""
    from optimizer.chatter import load_tensorflow
    from optimizer.data.load import load

    real_data("cifar10_small")
    load_tensorflow()
    size = ImagesConfig(height=SHAPE[0], width=SHAPE[1])
    return load(DataConfig(source="cifar10_small", protocol="given", images=size))


def test_training(photographs: Dataset, tmp_path: Path) -> None:
    """One seed; the accuracy is of 1,500 test images looked at once."""
    from optimizer.images.backbone import build_classifier
    from optimizer.images.costs import count_costs, measure_latencies
    from optimizer.images.energy import find_meters, load_power, predict_training_j
    from optimizer.images.evaluate import evaluate
    from optimizer.images.training import ImageLessons, Watch, quiet, train
    from optimizer.training.keras_engine import make_deterministic

    make_deterministic(0)
    model = build_classifier(BACKBONE, SHAPE, len(photographs.labels))
    meters = find_meters()
    began, cpu = time.monotonic(), time.process_time()
    lessons = ImageLessons(photographs.train, photographs.validation)
    trained = train(model, lessons, TRAIN, 0, Watch(meters.watching(quiet), tmp_path / "t.npz"))
    seconds, cpu = time.monotonic() - began, time.process_time() - cpu
    scores = evaluate(model, photographs.test)
    content, costs = count_costs(model)
    (latency,) = measure_latencies([content])
    print(f"\n{BACKBONE.network} {dict(BACKBONE.options)}, {TRAIN.epochs} epochs of {BATCH}:")
    print(f"  {seconds:.0f} s wall, {cpu:.0f} s CPU, {np.median(trained.epoch_s):.1f} s an epoch")
    for name in ("tosim-t4", "generic-x86"):
        power = load_power(name)
        print(f"  modelled {predict_training_j(power, seconds):.0f} J at {power.si:g} W ({name})")
    print(f"  measured {meters.read_j() or '; '.join(meters.missing)}")
    print(f"  epoch {trained.best_epoch}: validation {trained.validation.accuracy:.1%}")
    print(f"  test accuracy {scores.accuracy:.1%}, macro-F1 {scores.macro_f1:.1%}")
    print(f"  {costs.onnx_bytes} B, {costs.parameters} parameters, {costs.macs} MACs")
    print(f"  onnxruntime {1e3 * latency.median_s:.2f} ms, median of {latency.runs}")


def test_batches(photographs: Dataset) -> None:
    """CPU time of a step with batches gathered by NumPy and by tf.data."""
    import tensorflow as tf

    from optimizer.images.backbone import build_classifier
    from optimizer.images.step import Stepper
    from optimizer.keras_onnx import before_softmax

    x, y = photographs.train.x, photographs.train.y
    ones = np.ones(BATCH, np.float32)
    count = WARM_UP + TIMED

    def by_numpy() -> Iterator[tuple[Any, Any]]:
        order = np.random.default_rng(0).permutation(len(y))
        for i in range(count):
            chosen = order[i * BATCH : (i + 1) * BATCH]
            yield x[chosen], y[chosen]

    def by_tf_data() -> Iterable[tuple[Any, Any]]:
        data = tf.data.Dataset.from_tensor_slices((x, y)).shuffle(len(y), seed=0)
        return data.batch(BATCH).prefetch(2).take(count)

    stepper = Stepper(before_softmax(build_classifier(BACKBONE, SHAPE, 10)), TRAIN)
    for name, batches in (("NumPy", by_numpy()), ("tf.data", by_tf_data())):
        for i, (images, classes) in enumerate(batches):
            if i == WARM_UP:
                began = time.process_time()
            stepper.step(images, classes, ones, 1e-3, (0, i))
        print(f"\n  {name}: {1e3 * (time.process_time() - began) / TIMED:.1f} ms of CPU a step")


@pytest.mark.parametrize("width", [16, 24, 32])
def test_pruned_latency(width: int) -> None:
    """Time that pruning to half of the MACs saves in onnxruntime, by the multiple of the widths.

    The models take turns on one thread. Weights are random: what is kept is one channel of two, as
    far as the multiple allows.
    """
    from optimizer.chatter import load_tensorflow

    load_tensorflow()
    from optimizer.images.backbone import build_classifier
    from optimizer.images.costs import count_costs, measure_latencies
    from optimizer.prune.groups import find_groups
    from optimizer.prune.keep import Rules
    from optimizer.prune.prune import prune
    from optimizer.prune.weight_importance import random_importance
    from optimizer.rivals.allocate import allocate

    options = {"blocks": 1, "width": width, "stride": 2}
    model = build_classifier(BackboneConfig("SmallResNet", options=options), SHAPE, 10)
    groups = find_groups(model)
    scores = random_importance(groups, np.random.default_rng(0))
    whole, (content, _) = groups.macs({}), count_costs(model)
    kept, contents = {}, [content]
    for multiple in (1, 4, 8, 16):
        least = groups.macs({g.name: range(min(multiple, g.width)) for g in groups.groups})
        if least <= 0.5 * whole:
            kept[multiple] = allocate(
                groups, scores, 0.5 * whole, Rules(multiple=multiple), "layer"
            )
            contents.append(count_costs(prune(model, kept[multiple], groups).model)[0])
    unpruned, *others = measure_latencies(contents, rounds=200, clock=time.thread_time)
    print(
        f"\nSmallResNet of width {width}, {whole / 1e6:.1f} MMACs, {1e3 * unpruned.median_s:.2f} ms"
    )
    for (multiple, keep), latency in zip(kept.items(), others, strict=True):
        share, ratio = groups.macs(keep) / whole, latency.median_s / unpruned.median_s
        widths = " ".join(f"{len(c)}/{groups[name].width}" for name, c in keep.items())
        gain = (1 - ratio) / (1 - share)
        print(
            f"  multiples of {multiple:2}: {share:4.0%} of the MACs, {ratio:4.0%} of the time,"
            f" {gain:5.2f} of what is saved ({widths})"
        )
