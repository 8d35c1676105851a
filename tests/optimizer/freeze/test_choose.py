"""Choosing layers: trained individuals, each once, resumed to the same end."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import keras
import msgspec
import numpy as np
import pytest
from freeze_case import K, images, weights_of

from headtail.errors import ConfigError
from optimizer.freeze.additive import best_mask
from optimizer.freeze.choose import FreezeRecord, additive_problem, choose_layers
from optimizer.freeze.config import FreezeConfig, FreezeEnergyConfig, FreezeTrainConfig
from optimizer.freeze.history import read_freeze_history
from optimizer.freeze.mask import parse_mask
from optimizer.freeze.network import read_network
from optimizer.freeze.prediction import predict_training
from optimizer.freeze.selection import scalar_fitness
from optimizer.freeze.training import FreezeLessons, FrozenTrainer
from optimizer.labelled import Labelled
from optimizer.run_folder import RunFolder

pytestmark = pytest.mark.tf
LESSONS = FreezeLessons(images(60), images(40, seed=1))
CONFIG = FreezeConfig(
    population=4,
    generations=2,
    elite=2,
    tails=(0.25, 1.0),
    beta=0.2,
    limit=0.5,
    train=FreezeTrainConfig(epochs=2, batch=20, learning_rate=0.01),
    energy=FreezeEnergyConfig(load_w=10.0, flops_per_s=1e6),
)


class Log:
    """A reporter that keeps what it is told, and may stop the run."""

    def __init__(self, stop_at: int | None = None) -> None:
        self.said: list[str] = []
        self.steps: list[tuple[int, int, str]] = []
        self.stop_at = stop_at

    def say(self, text: str) -> None:
        """Keep a line."""
        self.said.append(text)

    @contextmanager
    def stage(self, name: str) -> Iterator:
        """Keep every step; stop at the one that was asked for."""

        def advance(done: int, total: int, note: str) -> None:
            self.steps.append((done, total, note))
            if done == self.stop_at:
                raise KeyboardInterrupt

        yield advance


def dense(seed: int = 1) -> keras.Model:
    """Return four dense layers, quickly trained."""
    keras.utils.set_random_seed(seed)
    x = keras.Input((8, 8, 3))
    h = K.Flatten()(x)
    for i in range(3):
        h = K.Dense(6, activation="relu", name=f"dense{i}")(h)
    return keras.Model(x, K.Dense(3, activation="softmax", name="head")(h))


def untimed(record: FreezeRecord) -> FreezeRecord:
    """Return a record without what a clock measured."""

    def strip(individuals):
        return tuple(msgspec.structs.replace(i, training_s=None) for i in individuals)

    return msgspec.structs.replace(
        record,
        best=strip([record.best])[0],
        front=strip(record.front),
        individuals=strip(record.individuals),
    )


def lines(folder: Path, event: str) -> list[dict]:
    """Return the lines of one kind of a history."""
    records = map(msgspec.json.decode, (folder / "history.jsonl").read_bytes().splitlines())
    return [record for record in records if record["event"] == event]


def test_an_interrupted_selection_comes_to_the_same_end(tmp_path: Path) -> None:
    """Stopped in the middle of an individual, its last line torn; nobody is trained twice."""
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    for folder in (whole, parts):
        folder.mkdir()
    expected = choose_layers(dense(), LESSONS, CONFIG, 3, Log(), RunFolder(whole))
    for stop_at in (5, 13):
        with pytest.raises(KeyboardInterrupt):
            choose_layers(dense(), LESSONS, CONFIG, 3, Log(stop_at), RunFolder(parts))
        with (parts / "history.jsonl").open("ab") as file:
            file.write(b'{"event":"freeze_indiv')
    before = lines_whole(parts)
    model = dense()
    received = choose_layers(model, LESSONS, CONFIG, 3, Log(), RunFolder(parts))
    assert untimed(expected) == untimed(received)
    assert before == lines_whole(parts)[: len(before)]
    for event in ("freeze", "freeze_individual", "freeze_generation"):
        assert len(lines(whole, event)) == len(lines(parts, event))
    masks = [line["mask"] for line in lines(parts, "freeze_individual")]
    assert len(masks) == len(set(masks))
    history = read_freeze_history(parts / "history.jsonl")
    assert received.individuals == tuple(history.individuals.values())
    assert received.generations == history.generations
    for weight, value in weights_of(dense()).items():
        np.testing.assert_array_equal(value, weights_of(model)[weight])
    assert received.trained == tuple(layer.name for layer in model.layers[2:] if layer.trainable)


def lines_whole(folder: Path) -> list[bytes]:
    """Return the history's lines but a torn one."""
    return (folder / "history.jsonl").read_bytes().split(b"\n")[:-1]


def test_scores_are_those_of_the_trainings() -> None:
    """Fitness, cost and energy of the best by hand; another training of it scores the same."""
    log = Log()
    record = choose_layers(dense(), LESSONS, CONFIG, 1, log)
    network = read_network(dense())
    prediction = predict_training(network.costs, CONFIG, 60, 1e6, augments=False)
    for individual in record.individuals:
        assert prediction.share(individual.layers) == individual.cost
        assert pytest.approx(10 * individual.flops / 1e6) == individual.energy_j
    fitness = [scalar_fitness(i, CONFIG) for i in record.individuals]
    assert max(fitness) == record.best.score - 0.2 * max(record.best.cost - 0.5, 0)
    trainer = FrozenTrainer(network, LESSONS, CONFIG.train, 1)
    done = trainer.train(record.mask)
    assert done.validation.macro_f1 == record.best.score
    assert done.loss == record.best.loss
    assert log.said == [f"found {record}"]
    assert "of 4 layers to train: score" in log.said[0]
    done, total, note = log.steps[-1]
    assert (24, 24) == (done, total)
    assert note.startswith("generation 2 of 2, best macro_f1 0.")
    assert sorted(log.steps, key=lambda step: step[0]) == log.steps


def test_energy_and_layers_are_objectives() -> None:
    """Fewer layers and joules at a loss of score; the limit, in joules, is kept."""
    config = msgspec.structs.replace(
        CONFIG,
        objectives=("score", "trained_layers", "energy"),
        cost="energy",
        limit=3.0,
        tails=(0.0, 0.25, 1.0),
    )
    record = choose_layers(dense(), LESSONS, config, 1, Log())
    assert record.front
    assert all(i.energy_j == i.cost <= 3.0 for i in record.front)
    assert any(i.energy_j > 3.0 for i in record.individuals)
    assert 0 == min(i.trained_layers for i in record.front)
    for one in record.front:
        for other in record.individuals:
            is_better = (
                other.cost <= 3.0
                and other.score >= one.score
                and other.trained_layers <= one.trained_layers
                and other.energy_j < one.energy_j
            )
            assert not is_better


def test_additive_selection_trains_nothing() -> None:
    """And finds what the dynamic programme finds, on four layers of which one is given."""
    config = msgspec.structs.replace(
        CONFIG,
        fitness="additive",
        values={"dense0": 3.0, "dense1": 2.0, "dense2": -1.0},
        always=("head",),
        generations=20,
        beta=100.0,
    )
    record = choose_layers(dense(), LESSONS, config, 1, Log())
    network = read_network(dense())
    prediction = predict_training(network.costs, config, 60, 1e6, augments=False)
    problem = additive_problem(network, prediction, config)
    assert best_mask(problem, [3]) == record.mask
    assert ("dense1", "head") == record.trained
    assert all(i.training_s is None for i in record.individuals)


def test_speed_is_measured_once_and_kept(tmp_path: Path) -> None:
    config = msgspec.structs.replace(CONFIG, energy=FreezeEnergyConfig(), generations=0)
    record = choose_layers(dense(), LESSONS, config, 1, Log(), RunFolder(tmp_path))
    assert record.flops_per_s > 0
    again = choose_layers(dense(), LESSONS, config, 1, Log(), RunFolder(tmp_path))
    assert record == again
    (start,) = lines(tmp_path, "freeze")
    assert record.flops_per_s == start["flops_per_s"]


def test_windows_are_bounded_and_the_same_for_all() -> None:
    """Of sixty, twenty; a training of these twenty scores the same."""
    train = msgspec.structs.replace(CONFIG.train, windows=20)
    config = msgspec.structs.replace(CONFIG, train=train, generations=0)
    record = choose_layers(dense(), LESSONS, config, 7, Log())
    chosen = np.sort(np.random.default_rng([7, 2]).permutation(60)[:20])
    lessons = FreezeLessons(LESSONS.training.take(chosen), LESSONS.validation)
    trainer = FrozenTrainer(read_network(dense()), lessons, train, 7)
    individual = record.individuals[1]
    assert trainer.train(parse_mask(individual.mask)).loss == individual.loss


def test_bad_recipes_and_folders_are_refused(tmp_path: Path) -> None:
    for key in ("always", "values"):
        named = ("deep",) if key == "always" else {"deep": 1.0}
        config = msgspec.structs.replace(CONFIG, **{key: named})
        with pytest.raises(ConfigError, match=f"freeze.{key}: expected names of .*received 'deep'"):
            choose_layers(dense(), LESSONS, config, 1, Log())
    config = msgspec.structs.replace(CONFIG, fitness="additive")
    with pytest.raises(ConfigError, match=r"freeze\.values: expected what layers are worth"):
        choose_layers(dense(), LESSONS, config, 1, Log())
    config = msgspec.structs.replace(CONFIG, generations=0)
    choose_layers(dense(), LESSONS, config, 1, Log(), RunFolder(tmp_path))
    with pytest.raises(ConfigError, match="holds the selection of another network, recipe, seed"):
        choose_layers(dense(), LESSONS, config, 2, Log(), RunFolder(tmp_path))
    with pytest.raises(ConfigError, match="holds the selection of another network, recipe, seed"):
        choose_layers(dense(seed=2), LESSONS, config, 1, Log(), RunFolder(tmp_path))
    same_labels = Labelled(LESSONS.training.x + 1, LESSONS.training.y)
    other = FreezeLessons(same_labels, LESSONS.validation)
    with pytest.raises(ConfigError, match="holds the selection of another network, recipe, seed"):
        choose_layers(dense(), other, config, 1, Log(), RunFolder(tmp_path))
    (tmp_path / "history.jsonl").write_bytes(b'{"event":"freeze"}\n')
    with pytest.raises(ConfigError, match="line 1 cannot be read"):
        choose_layers(dense(), LESSONS, config, 1, Log(), RunFolder(tmp_path))
    with pytest.raises(msgspec.ValidationError, match="unknown field"):
        msgspec.convert({"populations": 3}, FreezeConfig)
