"""Write the small models the tests of the runtimes are made of; needs the onnx package.

Run it from anywhere: `.venv/bin/python tests/testdata/make_models.py`. What it writes is committed,
because the environment of the runtimes has no onnx.

chain: x (N, 16, 2) -> [0] a (N, 4, 8) -> [1] b (N, 6, 4) -> [2] y (N, 3), where segment 2 takes a
    as well, so that two tensors cross partition point 2.
fixed: x (8,) and gain (1,) int64 -> [0] a (6,) -> [1] y (3,), where gain skips segment 0; there is
    no batch axis.
slow: x (N, 8) -> [0] a (N, 8) -> [1] y (N, 3), where segment 1 takes milliseconds: products with a
    large constant matrix, which the file describes and does not hold.
trial: segment 0 of `chain`, which fails where a window has a value over 100, and gives what that
    one gives elsewhere: `nan` gives NaN, `raises` ends with an error of onnxruntime, `slow` takes
    tens of milliseconds more.
"""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FOLDER = Path(__file__).resolve().parent
OPSET, IR_VERSION = 17, 8
ROUNDS = 4000
"""Of products of small matrices, some 80 ms: slow for one window, and for several at once."""


def tensor(name: str, shape: tuple[str | int, ...], kind: int = TensorProto.FLOAT):
    """Return the description of one graph input or output."""
    return helper.make_tensor_value_info(name, kind, shape)


def weights(rng: np.random.Generator, **shapes: tuple[int, ...]):
    """Return random float32 initialisers by name."""
    return [
        numpy_helper.from_array((0.5 * rng.standard_normal(shape)).astype(np.float32), name)
        for name, shape in shapes.items()
    ]


def write(path: Path, graph: onnx.GraphProto) -> None:
    """Check a graph and write it as a model of a pinned opset."""
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION
    )
    onnx.checker.check_model(model, full_check=True)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(model.SerializeToString(deterministic=True))


def write_parts(folder: Path, parts) -> None:
    """Write each (nodes, inputs, outputs, initialisers) as a segment, and all as one graph."""
    for i, (nodes, inputs, outputs, initialisers) in enumerate(parts):
        write(
            folder / f"{i}.onnx", helper.make_graph(nodes, f"s{i}", inputs, outputs, initialisers)
        )
    made = {t.name for _, _, outputs, _ in parts for t in outputs}
    whole_inputs = {t.name: t for _, inputs, _, _ in parts for t in inputs if t.name not in made}
    write(
        folder / "whole.onnx",
        helper.make_graph(
            [node for nodes, _, _, _ in parts for node in nodes],
            "whole",
            list(whole_inputs.values()),
            parts[-1][2],
            [w for _, _, _, initialisers in parts for w in initialisers],
        ),
    )


def chain_parts(rng: np.random.Generator):
    """Return the three segments of the batchable model."""
    x, y = tensor("x", ("N", 16, 2)), tensor("y", ("N", 3))
    a, b = tensor("a", ("N", 4, 8)), tensor("b", ("N", 6, 4))
    node = helper.make_node
    first = [
        node("Transpose", ["x"], ["xt"], perm=[0, 2, 1]),
        node("Conv", ["xt", "w0"], ["c0"], kernel_shape=[2], strides=[2]),
        node("Relu", ["c0"], ["a"]),
    ]
    second = [
        node("Conv", ["a", "w1"], ["c1"], kernel_shape=[2], strides=[2]),
        node("Relu", ["c1"], ["b"]),
    ]
    third = [
        node("Flatten", ["a"], ["fa"]),
        node("Flatten", ["b"], ["fb"]),
        node("Concat", ["fa", "fb"], ["f"], axis=1),
        node("Gemm", ["f", "w2", "bias"], ["logits"]),
        node("Softmax", ["logits"], ["y"], axis=-1),
    ]
    return [
        (first, [x], [a], weights(rng, w0=(4, 2, 2))),
        (second, [a], [b], weights(rng, w1=(6, 4, 2))),
        (third, [a, b], [y], weights(rng, w2=(56, 3), bias=(3,))),
    ]


def fixed_parts(rng: np.random.Generator):
    """Return the two segments of the model without a batch axis."""
    node = helper.make_node
    first = [node("MatMul", ["x", "w0"], ["c0"]), node("Relu", ["c0"], ["a"])]
    second = [
        node("Cast", ["gain"], ["gain_f"], to=TensorProto.FLOAT),
        node("Mul", ["a", "gain_f"], ["scaled"]),
        node("MatMul", ["scaled", "w1"], ["y"]),
    ]
    x, a, y = tensor("x", (8,)), tensor("a", (6,)), tensor("y", (3,))
    gain = tensor("gain", (1,), TensorProto.INT64)
    return [
        (first, [x], [a], weights(rng, w0=(8, 6))),
        (second, [a, gain], [y], weights(rng, w1=(6, 3))),
    ]


def slow_parts(rng: np.random.Generator):
    """Return the two segments of the model that a server is overloaded with."""
    node = helper.make_node
    width, layers = 1024, 24
    shape = numpy_helper.from_array(np.array([width, width], np.int64), "shape")
    entry = numpy_helper.from_array(np.array([1 / width], np.float32))
    second = [
        node("ConstantOfShape", ["shape"], ["w"], value=entry),
        node("Reshape", ["a", "rows"], ["column"]),
        node("MatMul", ["column", "row"], ["h0"]),
        *(node("MatMul", [f"h{i}", "w"], [f"h{i + 1}"]) for i in range(layers)),
        node("ReduceMean", [f"h{layers}"], ["mean"], axes=[2], keepdims=0),
        node("MatMul", ["mean", "w1"], ["y"]),
    ]
    x, a, y = tensor("x", ("N", 8)), tensor("a", ("N", 8)), tensor("y", ("N", 3))
    rows = numpy_helper.from_array(np.array([-1, 8, 1], np.int64), "rows")
    constants = [shape, rows, *weights(rng, row=(1, width), w1=(8, 3))]
    return [([node("Relu", ["x"], ["a"])], [x], [a], []), (second, [a], [y], constants)]


def trial_parts(first):
    """Return the nodes and constants of segment 0 by how it fails, made of the good one's."""
    good, inputs, outputs, constants = first
    node, named = helper.make_node, numpy_helper.from_array
    limit = named(np.array(100, np.float32), "limit")
    trigger = [
        node("ReduceMax", ["x"], ["top"], keepdims=0),
        node("Greater", ["top", "limit"], ["is_bad"]),
    ]
    found = [*good[:-1], node("Relu", ["c0"], ["good"]), *trigger]
    zero, nan = (named(np.array(v, np.float32), n) for v, n in ((0, "zero"), (np.nan, "nan")))
    to_nan = [
        node("Where", ["is_bad", "nan", "zero"], ["change"]),
        node("Add", ["good", "change"], ["a"]),
    ]
    index = [
        node("Cast", ["is_bad"], ["index"], to=TensorProto.INT64),
        node("Gather", ["table", "index"], ["change"]),
        node("Add", ["good", "change"], ["a"]),
    ]
    rounds = [
        node("Cast", ["is_bad"], ["bad"], to=TensorProto.INT64),
        node("Mul", ["bad", "many"], ["rounds"]),
        node("Loop", ["rounds", "", "square"], ["mixed"], body=_round(96)),
        node("ReduceSum", ["mixed"], ["total"], keepdims=0),
        node("Mul", ["total", "zero"], ["change"]),
        node("Add", ["good", "change"], ["a"]),
    ]
    blind = [
        node("Where", ["is_bad", "zero", "one"], ["change"]),
        node("Mul", ["good", "change"], ["a"]),
    ]
    square = named(np.full((96, 96), 1 / 96, np.float32), "square")
    return {
        "nan": ([*found, *to_nan], inputs, outputs, [*constants, limit, nan, zero]),
        "raises": (
            [*found, *index], inputs, outputs,
            [*constants, limit, named(np.zeros(1, np.float32), "table")],
        ),
        "blind": (
            [*found, *blind], inputs, outputs,
            [*constants, limit, zero, named(np.array(1, np.float32), "one")],
        ),
        "slow": (
            [*found, *rounds], inputs, outputs,
            [*constants, limit, zero, square, named(np.array(ROUNDS, np.int64), "many")],
        ),
    }  # fmt: skip


def _round(width: int):
    """Return the body of a loop that multiplies a matrix with itself."""
    node = helper.make_node
    condition = tensor("on", (), TensorProto.BOOL)
    return helper.make_graph(
        [node("Identity", ["on"], ["still"]), node("MatMul", ["m", "m"], ["next"])],
        "round",
        [tensor("i", (), TensorProto.INT64), condition, tensor("m", (width, width))],
        [tensor("still", (), TensorProto.BOOL), tensor("next", (width, width))],
    )


def main() -> None:
    """Write the models below this file's folder."""
    rng = np.random.default_rng(20)
    chain = chain_parts(rng)
    write_parts(FOLDER / "chain", chain)
    write_parts(FOLDER / "fixed", fixed_parts(rng))
    write_parts(FOLDER / "slow", slow_parts(rng))
    for name, (nodes, inputs, outputs, constants) in trial_parts(chain[0]).items():
        graph = helper.make_graph(nodes, name, inputs, outputs, constants)
        write(FOLDER / "trial" / f"{name}.onnx", graph)


if __name__ == "__main__":
    main()
