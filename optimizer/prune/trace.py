"""Tracing a model: which channels depend on which, from its inputs to its outputs."""

from typing import Any

import keras
import numpy as np
from keras.src.models.functional import Functional

from headtail.errors import PruningError
from optimizer.prune.flow import Flow, fixed
from optimizer.prune.layer_rules import LAYER_RULES, Rule, layer_scale
from optimizer.prune.merge_rules import MERGE_RULES, MergeRule
from optimizer.prune.operation_rules import OPERATION_MERGE_RULES, OPERATION_RULES
from optimizer.prune.shape_rules import SHAPE_RULES, unchanged
from optimizer.prune.tracer import Tracer

# ConvNeXt's two layers have no public name.
_BY_NAME: dict[str, Rule] = {
    "keras.src.applications.convnext.LayerScale": layer_scale,
    "keras.src.applications.convnext.StochasticDepth": unchanged,
    **OPERATION_RULES,
}
_SINGLE: dict[type, Rule] = {**LAYER_RULES, **SHAPE_RULES}


def trace_model(model: keras.Model) -> Tracer:
    """Return what a model's channels depend on.

    Its inputs and outputs stay as they are, and so does all that meets a layer that no rule is
    known for; subclasses of known layers are not known.

    Raises:
        PruningError: If it is neither functional nor sequential, or not built.
    """
    tracer = Tracer()
    graph = functional(model)
    if graph is None:
        raise PruningError(f"model '{model.name}'", "expected a built functional or sequential one")
    specs = [keras.KerasTensor(t.shape, t.dtype) for t in graph.inputs]
    inputs = [fixed(s, f"model input '{t.name}'") for s, t in zip(specs, graph.inputs, strict=True)]
    results = _run(tracer, graph, inputs)
    for flow, output in zip(keras.tree.flatten(results), graph.outputs, strict=True):
        tracer.freeze(flow, f"model output '{output._keras_history.operation.name}'")
    return tracer


def functional(model: Any) -> Any:
    """Return the graph of a functional or sequential model; None for anything else."""
    if isinstance(model, keras.Sequential):
        return model._functional if type(model).call is keras.Sequential.call else None
    is_plain = isinstance(model, Functional) and type(model).call is Functional.call
    return model if is_plain else None


def _run(tracer: Tracer, graph: Any, inputs: list[Flow]) -> Any:
    def call(operation: Any, *args: Any, **kwargs: Any) -> Any:
        return _call(tracer, operation, args, kwargs)

    # The graph runs on anything: here on flows in place of tensors.
    return graph._run_through_graph(inputs, call_fn=call)


def _call(tracer: Tracer, operation: Any, args: Any, kwargs: Any) -> Any:
    """Return the flow, or structure of flows, that an operation makes."""
    leaves = keras.tree.flatten((args, kwargs))
    flows = [leaf for leaf in leaves if isinstance(leaf, Flow)]
    others = [leaf for leaf in leaves if not isinstance(leaf, Flow)]
    if _is_plain(operation):
        single, merge = _rule(operation), _merge_rule(operation)
        graph = functional(operation)
        if graph is not None and _fits(graph, args):
            return _nested(tracer, operation, graph, flows)
        if single is not None and len(flows) == 1 and _is_first(args, flows[0]):
            return single(tracer, operation, flows[0])
        if merge is not None and all(np.ndim(n) == 0 for n in others if _is_array(n)):
            result = _merged(tracer, operation, merge, args, flows)
            if result is not None:
                return result
    return _unknown(tracer, operation, args, kwargs, flows)


def _merged(
    tracer: Tracer, operation: Any, rule: MergeRule, args: Any, flows: list[Flow]
) -> Flow | None:
    """Return what a merge makes, None where its tensors do not come as one expects."""
    is_layer = isinstance(operation, keras.Layer)
    numbers = [a for a in args if isinstance(a, int | float | np.number)]
    if not is_layer and len(flows) == 1 and len(numbers) == 1 and len(args) == 2:
        return flows[0].moved(operation.compute_output_spec(*_specs(args)))
    listed = args[0] if len(args) == 1 else args
    if list(listed) != flows:
        return None
    # Layers put missing axes behind the batch, operations before it.
    if not is_layer and len({len(f.shape) for f in flows}) > 1:
        return None
    return rule(tracer, operation, flows)


def _nested(tracer: Tracer, model: Any, graph: Any, flows: list[Flow]) -> Any:
    for i, flow in enumerate(flows):
        ids = None if flow.axis is None else flow.ids
        tracer.bind_input(model, i, flow.axis, ids)
    tracer.enter(model)
    try:
        return _run(tracer, graph, flows)
    finally:
        tracer.leave()


def _unknown(tracer: Tracer, operation: Any, args: Any, kwargs: Any, flows: list[Flow]) -> Any:
    path, kind = tracer.path(operation), type(operation).__name__
    reason = f"'{path}' ({kind}), which no rule is known for"
    for flow in flows:
        tracer.freeze(flow, reason)
    args, kwargs = _specs((args, kwargs))
    specs = operation.compute_output_spec(*args, **kwargs)
    return keras.tree.map_structure(lambda s: fixed(s, reason), specs)


def _rule(operation: Any) -> Rule | None:
    kind = type(operation)
    return _SINGLE.get(kind) or _BY_NAME.get(f"{kind.__module__}.{kind.__qualname__}")


def _merge_rule(operation: Any) -> MergeRule | None:
    kind = type(operation)
    name = f"{kind.__module__}.{kind.__qualname__}"
    return MERGE_RULES.get(kind) or OPERATION_MERGE_RULES.get(name)


def _is_plain(operation: Any) -> bool:
    """Return whether a layer is as built: without adapters, quantisation or a call of its own."""
    has_own_call = "call" in vars(operation)
    is_quantised = getattr(operation, "quantization_mode", None) is not None
    return not (has_own_call or is_quantised or getattr(operation, "lora_enabled", False))


def _fits(graph: Any, args: Any) -> bool:
    """Return whether a nested model is called with one structure, of tensors as it was built on."""
    if len(args) != 1:
        return False
    flows = keras.tree.flatten(args[0])
    if not all(isinstance(f, Flow) for f in flows) or len(flows) != len(graph.inputs):
        return False
    is_single = len(flows) == 1
    try:
        keras.tree.assert_same_structure(args[0], graph._inputs_struct)
    except (ValueError, TypeError):
        if not is_single:
            return False
    return all(len(f.shape) == len(t.shape) for f, t in zip(flows, graph.inputs, strict=True))


def _is_first(args: Any, flow: Flow) -> bool:
    return len(args) == 1 and args[0] is flow


def _is_array(leaf: Any) -> bool:
    return isinstance(leaf, np.ndarray | list) or hasattr(leaf, "shape")


def _specs(structure: Any) -> Any:
    return keras.tree.map_structure(lambda v: v.spec if isinstance(v, Flow) else v, structure)
