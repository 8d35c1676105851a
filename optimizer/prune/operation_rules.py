"""What bare Keras operations (`keras.ops`, arithmetic on symbolic tensors) do with channels."""

from typing import Any

import numpy as np

from optimizer.prune.flow import Flow
from optimizer.prune.layer_rules import Rule
from optimizer.prune.merge_rules import MergeRule, concatenate, elementwise
from optimizer.prune.shape_rules import frozen, permuted, reshaped
from optimizer.prune.tracer import Tracer

# Keras has no public name for the class of an operation.
_NUMPY, _NN = "keras.src.ops.numpy.", "keras.src.ops.nn."


def one_by_one(_tracer: Tracer, operation: Any, flow: Flow) -> Flow:
    """Operation that treats each number by itself."""
    return flow.moved(operation.compute_output_spec(flow.spec))


def reduced(tracer: Tracer, operation: Any, flow: Flow) -> Flow:
    """Mean, sum, largest or smallest over axes that hold no channels."""
    spec = operation.compute_output_spec(flow.spec)
    rank = len(flow.shape)
    axes = range(rank) if operation.axis is None else np.atleast_1d(operation.axis) % rank
    gone = sorted(int(a) for a in axes)
    if flow.axis is None:
        return flow.moved(spec)
    if flow.axis in gone or 0 in gone:
        return frozen(tracer, operation, flow, f"'{tracer.path(operation)}' is over channels", spec)
    before = 0 if operation.keepdims else sum(a < flow.axis for a in gone)
    return flow.moved(spec, flow.axis - before)


def reshape(tracer: Tracer, operation: Any, flow: Flow) -> Flow:
    """Reshape to a shape that counts the batch as -1 or not at all."""
    spec = operation.compute_output_spec(flow.spec)
    target = operation.newshape
    is_open = isinstance(target, tuple | list) and target and target[0] in (-1, None)
    if not is_open and flow.axis is not None:
        return frozen(tracer, operation, flow, f"'{tracer.path(operation)}' moves the batch", spec)
    result = reshaped(tracer, operation, flow, spec)
    if result.axis is not None and target[result.axis] != -1:
        tracer.size(operation, "newshape", result.ids, result.axis)
    return result


def transpose(tracer: Tracer, operation: Any, flow: Flow) -> Flow:
    """Transposition that leaves the batch where it is."""
    spec = operation.compute_output_spec(flow.spec)
    rank = len(flow.shape)
    axes = tuple(reversed(range(rank))) if operation.axes is None else tuple(operation.axes)
    order = tuple(a % rank for a in axes)
    if order[0] != 0:
        return frozen(tracer, operation, flow, f"'{tracer.path(operation)}' moves the batch", spec)
    return permuted(flow, order).moved(spec)


_SINGLE = (
    "Absolute Negative Square Sqrt Exp Exp2 Expm1 Log Log1p Tanh Sin Cos Abs Sign Floor Ceil Clip"
)
_SINGLE_NN = (
    "Relu Relu6 Sigmoid Softplus Softsign Silu LogSigmoid LeakyRelu HardSigmoid HardSilu HardTanh"
    " Elu Selu Celu Gelu Squareplus TanhShrink SoftShrink HardShrink SparsePlus Threshold"
)
_MEETING = "Add Subtract Multiply Divide TrueDivide Maximum Minimum Power"
OPERATION_RULES: dict[str, Rule] = {
    **{_NUMPY + name: one_by_one for name in _SINGLE.split()},
    **{_NN + name: one_by_one for name in _SINGLE_NN.split()},
    **{_NUMPY + name: reduced for name in ("Mean", "Sum", "Max", "Min", "Amax", "Amin")},
    _NUMPY + "Reshape": reshape,
    _NUMPY + "Transpose": transpose,
}
OPERATION_MERGE_RULES: dict[str, MergeRule] = {
    **{_NUMPY + name: elementwise for name in _MEETING.split()},
    _NUMPY + "Concatenate": concatenate,
}
