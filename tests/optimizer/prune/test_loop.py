"""Pruning in steps: the plan is kept, and an interrupted loop goes on where it was."""

import numpy as np
import pytest
from prune_case import randomise, relative_error
from prune_networks import build

from headtail.errors import ConfigError, PruningError

pytestmark = [
    pytest.mark.tf,
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy"),
]


class Trainer:
    """Returns given accuracies and changes nothing; remembers what it was called with."""

    def __init__(self, *accuracies: float) -> None:
        self.accuracies, self.parameters = list(accuracies), []

    def __call__(self, model) -> float:
        """Return the next accuracy, or stop as a user would."""
        if not self.accuracies:
            raise KeyboardInterrupt
        self.parameters.append(model.count_params())
        return self.accuracies.pop(0)


def judge(_model, groups):
    from optimizer.prune.weight_importance import l1_importance

    return l1_importance(groups)


@pytest.fixture(name="model", scope="module")
def _model():
    model = build("branches")
    randomise(model, np.random.default_rng(4))
    return model


def test_steps_reach_the_cost_and_an_interrupted_loop_ends_alike(model, tmp_path) -> None:
    from optimizer.prune.groups import find_groups
    from optimizer.prune.loop import Plan, prune_in_steps
    from optimizer.prune.prune import prune

    plan = Plan(0.4, 3)
    whole = prune_in_steps(model, judge, Trainer(0.9, 0.8, 0.7), plan, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        prune_in_steps(model, judge, Trainer(0.9), plan, tmp_path / "halted")
    trainer = Trainer(0.8, 0.7)
    resumed = prune_in_steps(model, judge, trainer, plan, tmp_path / "halted")
    assert 2 == len(trainer.parameters)
    assert whole.steps == resumed.steps
    assert whole.is_complete
    groups = find_groups(model)
    total = groups.macs({})
    assert all(s.macs <= plan.share(i) * total for i, s in enumerate(whole.steps, 1))
    # Nothing was trained, so all steps together are one pruning of the original.
    at_once = prune(model, whole.steps[-1].keep).model
    assert whole.steps[-1].macs == groups.macs(whole.steps[-1].keep)
    x = np.random.default_rng(0).normal(size=(2, 6, 6, 3)).astype(np.float32)
    assert 1e-6 > relative_error(resumed.model(x, training=False), at_once(x, training=False))


def test_a_step_below_a_min_ends_the_loop_and_is_not_taken(model, tmp_path) -> None:
    from optimizer.prune.loop import Plan, prune_in_steps

    trainer = Trainer(0.9, 0.6, 0.9)
    outcome = prune_in_steps(model, judge, trainer, Plan(0.5, 3, min_accuracy=0.65), tmp_path)
    assert (0.9,) == tuple(s.accuracy for s in outcome.steps)
    assert not outcome.is_complete
    assert outcome.model.count_params() == outcome.steps[0].parameters
    with pytest.raises(PruningError, match=r"A_min: expected an accuracy of at least 0.65"):
        prune_in_steps(
            model, judge, Trainer(0.3), Plan(0.5, 1, min_accuracy=0.65), tmp_path / "none"
        )


def test_a_folder_of_another_plan_is_refused(model, tmp_path) -> None:
    from optimizer.prune.loop import Plan, prune_in_steps

    prune_in_steps(model, judge, Trainer(0.9), Plan(0.8), tmp_path)
    with pytest.raises(ConfigError, match=r"expected steps of ' share=0.7"):
        prune_in_steps(model, judge, Trainer(0.9), Plan(0.7), tmp_path)
    (tmp_path / "pruning.json").write_text("{")
    with pytest.raises(ConfigError, match="cannot be read"):
        prune_in_steps(model, judge, Trainer(0.9), Plan(0.8), tmp_path)


def test_shares_and_diversity_are_of_the_original_whatever_earlier_steps_left(
    model, tmp_path
) -> None:
    from optimizer.prune.diversity import channel_diversity
    from optimizer.prune.groups import find_groups
    from optimizer.prune.keep import Rules
    from optimizer.prune.loop import Plan, prune_in_steps

    groups = find_groups(model)
    bound = channel_diversity(groups, 0.5)
    plan = Plan(0.6, 2, Rules(min_share=0.5, diversity=bound))
    last = prune_in_steps(model, judge, Trainer(0.9, 0.9), plan, tmp_path).steps[-1]
    for group in groups.groups:
        kept = last.keep[group.name]
        assert 2 * len(kept) >= group.width
        assert bound.of(group, kept) >= 0.5 - 1e-9
    assert any(len(last.keep[g.name]) < g.width for g in groups.groups)


def test_a_damaged_step_is_named(model, tmp_path) -> None:
    from optimizer.prune.loop import Plan, prune_in_steps

    prune_in_steps(model, judge, Trainer(0.9), Plan(0.8), tmp_path)
    step = tmp_path / "step-1.keras"
    step.write_bytes(step.read_bytes()[:1000])
    with pytest.raises(ConfigError, match=r"step-1\.keras: Keras cannot load it: "):
        prune_in_steps(model, judge, Trainer(0.9), Plan(0.8), tmp_path)


def test_group_lasso_shrinks_filters_and_is_worked_out_by_hand() -> None:
    import keras

    from optimizer.prune.groups import find_groups
    from optimizer.prune.lasso import GroupLasso, add_group_lasso, remove_group_lasso

    weight = np.random.default_rng(0).normal(size=(3, 3, 2, 4)).astype(np.float32)
    expected = 0.1 * np.sqrt(18) * np.linalg.norm(weight.reshape(18, 4), axis=0).sum()
    assert expected == pytest.approx(float(GroupLasso(0.1)(weight)), rel=1e-5)
    model = build("plain")
    groups = find_groups(model)
    assert {"a/kernel", "b/kernel", "c/kernel"} == set(add_group_lasso(groups, 0.05))
    before = float(keras.ops.sum(keras.ops.abs(model.get_layer("b").kernel)))
    model.compile(keras.optimizers.SGD(0.05), "mse")
    assert len(model.losses) == 3
    x = np.zeros((8, 6, 6, 3), np.float32)
    model.fit(x, np.zeros((8, 3)), epochs=3, verbose=0)
    assert before > float(keras.ops.sum(keras.ops.abs(model.get_layer("b").kernel)))
    remove_group_lasso(groups)
    assert not model.losses
