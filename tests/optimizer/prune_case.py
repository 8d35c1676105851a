"""A reference for pruning that knows nothing of channel ids: masks carried through the model.

Every layer runs at full width. What a convolution or a dense layer reads is multiplied by a mask
of the channels that are left; the mask of its output is what the keep-sets say of that layer.
"""

import numpy as np

MIXING = {
    "Conv1D", "Conv2D", "Conv3D", "SeparableConv1D", "SeparableConv2D",
    "Conv1DTranspose", "Conv2DTranspose", "Dense",
}  # fmt: skip


def dropped_by_layer(groups, keep) -> dict[str, list[int]]:
    """Return which of each layer's own channels are dropped."""
    dropped: dict[str, list[int]] = {}
    for name, channels in keep.items():
        for layer, rows in groups.places(name).items():
            gone = [i for c, row in enumerate(rows) if c not in set(channels) for i in row]
            dropped.setdefault(layer, []).extend(gone)
    return dropped


def masked_output(model, x, dropped: dict[str, list[int]]):
    """Return the output of a model with one input, channels last."""
    return _run(model, Pair(x, np.ones(x.shape[-1])), dropped, "").value


class Pair:
    """A tensor, and which numbers of a window are of channels that are left."""

    def __init__(self, value, mask) -> None:
        self.value, self.mask = value, np.broadcast_to(mask, tuple(value.shape[1:]))

    @property
    def row(self) -> np.ndarray:
        """The mask of the last axis, where it is the same everywhere."""
        rows = self.mask.reshape(-1, self.mask.shape[-1])
        assert (rows == rows[0]).all()
        return rows[0]


def _run(model, pair: Pair, dropped, prefix) -> Pair:
    graph = getattr(model, "_functional", None) or model

    def call(operation, *args, **kwargs):
        return _call(operation, args, dropped, prefix)

    return graph._run_through_graph([pair], call_fn=call)


def _call(operation, args, dropped, prefix) -> Pair:
    import keras

    kind, path = type(operation).__name__, prefix + operation.name
    pairs = [a for a in keras.tree.flatten(args) if isinstance(a, Pair)]
    if hasattr(operation, "_run_through_graph") or kind == "Sequential":
        return _run(operation, pairs[0], dropped, path + "/")
    if kind in MIXING:
        value = operation(pairs[0].value * pairs[0].mask.astype("float32"))
        mask = np.ones(value.shape[-1])
        mask[dropped.get(path, [])] = 0
        return Pair(value, mask)
    bare = keras.tree.map_structure(lambda a: a.value if isinstance(a, Pair) else a, args)
    value = operation(*bare, **({"training": False} if kind == "BatchNormalization" else {}))
    return Pair(value, _mask(operation, kind, pairs, tuple(value.shape)))


def _mask(operation, kind, pairs: list[Pair], shape) -> np.ndarray:
    first = pairs[0]
    if kind == "Concatenate":
        assert operation.axis in (-1, len(shape) - 1)
        return np.concatenate([p.mask for p in pairs], axis=-1)
    if kind.startswith("DepthwiseConv"):
        return np.repeat(first.row, operation.depth_multiplier)
    if kind in ("Flatten", "Reshape"):
        return first.mask.reshape(shape[1:])
    if kind == "Permute":
        return first.mask.transpose([d - 1 for d in operation.dims])
    wide = [p for p in pairs if p.value.shape[-1] == shape[-1]]
    for pair in wide[1:]:
        np.testing.assert_array_equal(wide[0].row, pair.row, f"meeting at {operation.name}")
    return wide[0].row if first.mask.shape != shape[1:] else wide[0].mask


def randomise(model, rng: np.random.Generator) -> None:
    """Give every weight a random value, so that outputs neither vanish nor grow."""
    for layer in model._flatten_layers():
        for weight in layer._trainable_variables + layer._non_trainable_variables:
            shape, name = tuple(weight.shape), weight.path.rsplit("/", 1)[-1]
            if "seed" in name or name == "count":
                continue
            if len(shape) > 1:
                fan_in = np.prod(shape[:-1]) if "depthwise" not in weight.path else shape[0] ** 2
                value = rng.normal(size=shape) * np.sqrt(1.5 / fan_in)
            elif name in ("gamma", "moving_variance", "variance") or "scale" in weight.path:
                value = rng.uniform(0.5, 1.5, shape)
            else:
                value = rng.normal(size=shape) * 0.3
            weight.assign(value.astype("float32"))


def random_keep(groups, rng: np.random.Generator, share: float = 0.4) -> dict[str, list[int]]:
    """Return keep-sets for a random share of the groups, each of a random half or so."""
    count = min(max(1, round(share * len(groups.groups))), len(groups.groups))
    chosen = rng.choice(len(groups.groups), count, replace=False)
    keep = {}
    for i in sorted(chosen):
        group = groups.groups[i]
        size = int(rng.integers(1, group.width))
        keep[group.name] = sorted(rng.choice(group.width, size, replace=False).tolist())
    return keep


def relative_error(received, expected) -> float:
    """Return the largest difference relative to the largest expected output."""
    received, expected = np.asarray(received), np.asarray(expected)
    return float(np.abs(received - expected).max() / np.abs(expected).max())


def exported(model, x):
    """Export a model, cut it where it pays, and return its graph and two errors.

    The first is of onnxruntime against Keras, the second of the segments against the whole.
    """
    import onnxruntime as ort

    from optimizer.cut.cut import cut_model, legal_cuts, select_cuts
    from optimizer.cut.graph import read_graph
    from optimizer.keras_onnx import export_keras
    from optimizer.verify import before_softmax, onnx_reference, verify

    content = export_keras(model)
    session = ort.InferenceSession(content, providers=["CPUExecutionProvider"])
    (received,) = session.run(["y"], {"x": x})
    graph = read_graph(content)
    segments = cut_model(graph, select_cuts(legal_cuts(graph), "auto"))
    assert len(segments.segments) > 1
    split = verify(segments, onnx_reference(graph), {"x": x}, before_softmax(graph))
    return graph, relative_error(received, model(x, training=False)), split


def pruning_errors(model, seed: int, share: float = 0.4) -> dict[str, float]:
    """Prune a model at random and return how it differs from the references, before a softmax.

    "model" is the pruned one, "masked" the reference of this module, "silenced" the library's own,
    "change" how far the original is from the masked one.
    """
    from optimizer.keras_onnx import before_softmax
    from optimizer.prune.groups import find_groups
    from optimizer.prune.prune import prune, silenced

    rng = np.random.default_rng(seed)
    randomise(model, rng)
    linear = before_softmax(model)
    groups = find_groups(linear)
    keep = random_keep(groups, rng, share)
    pruned = prune(linear, keep, groups)
    shape = [n or 2 for n in linear.inputs[0].shape]
    x = rng.normal(size=shape).astype(np.float32)
    expected = masked_output(linear, x, dropped_by_layer(groups, keep))
    received = pruned.model(x, training=False)
    return {
        "model": pruned.model,
        "masked": relative_error(received, expected),
        "silenced": relative_error(silenced(linear, keep, groups)(x, training=False), expected),
        "change": relative_error(linear(x, training=False), expected),
        "groups": len(groups.groups),
        "pruned_groups": len(keep),
        "parameters": pruned.model.count_params() / linear.count_params(),
        "macs": groups.macs(keep) / groups.macs({}),
    }
