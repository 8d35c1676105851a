"""What masks cost, by hand and against the operations of TensorFlow's own gradient graph."""

import itertools

import keras
import pytest
import tensorflow as tf
from freeze_case import K, branching, nested
from tensorflow.python.framework import ops

from headtail.errors import ConfigError
from optimizer.freeze.costs import Schedule
from optimizer.freeze.layers import apply_mask
from optimizer.freeze.mask import tail_mask
from optimizer.freeze.network import Network, read_network

pytestmark = pytest.mark.tf
COUNTED = {"Conv2D", "Conv2DBackpropFilter", "Conv2DBackpropInput", "MatMul"}


def chain() -> Network:
    """Return a convolution of 6 x 6 x 2 x 27 products and dense layers of 72 x 4 and 4 x 3."""
    x = keras.Input((8, 8, 3))
    h = K.Flatten()(K.Conv2D(2, 3, name="conv")(x))
    return read_network(keras.Model(x, K.Dense(3, name="b")(K.Dense(4, name="a")(h))))


CONV, A, B = 36 * 2 * 27, 288, 12


@pytest.mark.parametrize(
    ("mask", "macs", "changed"),
    [
        ("000", 0, 0),
        ("001", B, 15),
        ("010", A + B, 292),  # the gradient passes B
        ("011", A + B + B, 307),
        ("100", CONV + A + B, 56),
        ("111", CONV + 2 * A + 2 * B, 363),
    ],
)
def test_backward_pass_of_a_chain_by_hand(mask: str, macs: int, changed: int) -> None:
    """Two operations for each product, twelve for each parameter and step of Adam."""
    flops = chain().costs.backward_flops(tuple(c == "1" for c in mask), batch=4)
    assert 2 * macs + 12 * changed / 4 == flops


def test_training_of_a_chain_by_hand() -> None:
    """What lies ahead of the first trained layer is passed once where it is cached."""
    costs, mask = chain().costs, (False, True, True)
    backward = 2 * (A + 2 * B) + 12 * 307 / 4
    cached = costs.training_flops(mask, Schedule(4, 5, 1))
    assert 2 * CONV + 5 * (2 * (A + B) + backward) == cached
    plain = costs.training_flops(mask, Schedule(4, 5, 5))
    assert 5 * (2 * (CONV + A + B) + backward) == plain
    assert 0 == costs.training_flops((False,) * 3, Schedule(4, 5, 5))
    assert 1 == costs.training_share((True,) * 3, Schedule(4, 5, 1))


def test_a_layer_by_itself_by_hand() -> None:
    """Algorithm 1 adds these up."""
    conv, a, b = chain().costs.layers
    assert (2 * CONV, 2 * CONV, 12 * 56) == (conv.weight_flops, conv.input_flops, conv.update_flops)
    assert 4 * A + 12 * 292 / 8 == a.flops(8)
    shares = chain().costs.layer_shares(8)
    assert pytest.approx(1) == sum(shares)
    assert pytest.approx(b.flops(8) / a.flops(8)) == shares[2] / shares[1]


@pytest.mark.parametrize(("optimizer", "each"), [("sgd", 2), ("momentum", 4), ("adam", 12)])
def test_update_by_hand(optimizer, each: int) -> None:
    network = read_network(chain().model, optimizer)
    assert each * 15 == network.costs.layers[2].update_flops


def graph_flops(network: Network, mask: tuple[bool, ...]) -> int:
    """Return what TensorFlow counts in one training step on one window, dead operations left out.

    It counts no normalisation and no gradient of a depthwise convolution; those of a convolution
    it takes to be as many as its input has places, so only padded ones can be compared.
    """
    apply_mask(network.model, network.layers, mask)
    variables = [v.value for v in network.model.trainable_variables]

    @tf.function
    def gradients(x):
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(variables)
            loss = tf.reduce_sum(network.model(x, training=True))
        return loss, tape.gradient(loss, variables)

    shape = (1, *network.model.input_shape[1:])
    graph = gradients.get_concrete_function(tf.TensorSpec(shape)).graph
    todo, seen, total = [t.op for t in graph.outputs], set(), 0
    while todo:
        op = todo.pop()
        if op.name not in seen:
            seen.add(op.name)
            todo += [t.op for t in op.inputs] + list(op.control_inputs)
            if op.type in COUNTED:
                total += int(ops.get_stats_for_node_def(graph, op.node_def, "flops").value)
    return total


@pytest.mark.filterwarnings("ignore")  # TensorFlow's counts are of its first version
def test_masks_cost_what_tensorflow_computes() -> None:
    """All masks of a branching network without normalisations, whose last layer is trained."""
    x = keras.Input((8, 8, 3))
    stem = K.Conv2D(4, 3, padding="same")(x)
    left = K.Conv2D(4, 3, padding="same")(stem)
    right = K.Conv2D(5, 3, padding="same")(stem)
    joined = K.Concatenate()([K.Conv2D(3, 1)(left), right])
    model = keras.Model(x, K.Dense(3)(K.Flatten()(joined)))
    network = read_network(model, "sgd")
    for mask in itertools.product([False, True], repeat=4):
        mask = (*mask, True)
        update = 2 * sum(
            n for n, is_trained in zip(network.costs.parameters, mask, strict=True) if is_trained
        )
        ours = network.costs.forward_flops() + network.costs.backward_flops(mask, 1) - update
        assert graph_flops(network, mask) == ours, mask


@pytest.mark.parametrize("build", [branching, nested])
def test_training_more_never_costs_less(build) -> None:
    costs = read_network(build()).costs
    schedule = Schedule(4, 3, 1)
    for mask in itertools.product([False, True], repeat=len(costs.parameters)):
        for i in range(len(mask)):
            more = (*mask[:i], True, *mask[i + 1 :])
            assert costs.training_flops(mask, schedule) <= costs.training_flops(more, schedule)


def test_shared_layer_passes_its_own_gradient() -> None:
    """Called twice, it has two gradients for its weights, and one goes from call to call."""
    x = keras.Input((4,))
    layer = K.Dense(4)
    costs = read_network(keras.Model(x, layer(layer(x)))).costs
    assert 2 * (16 + 16 + 16) + 12 * 20 == costs.backward_flops((True,), 1)


def test_shares_of_a_real_network_are_as_the_tail_grows() -> None:
    model = keras.applications.MobileNetV2(
        input_shape=(32, 32, 3), alpha=0.35, weights=None, classes=3
    )
    costs = read_network(model).costs
    assert all(layer.is_exact for layer in costs.layers)
    masks = [tail_mask(len(costs.parameters), share) for share in (0.1, 0.5, 1.0)]
    shares = [costs.training_share(mask, Schedule(20, 10, 1)) for mask in masks]
    assert sorted(shares) == shares
    assert 0 < shares[0] < 0.5
    assert 1 == shares[2]


def test_open_axes_are_refused() -> None:
    model = keras.Sequential([keras.Input((None, None, 3)), K.Conv2D(2, 3)])
    with pytest.raises(ConfigError, match="expected fixed axes but the first"):
        read_network(model)
