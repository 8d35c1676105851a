"""Bundles made anew with some graphs changed, signed and consistent; needs the onnx package."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import msgspec

from headtail.bundle import Bundle, write_bundle
from headtail.bundle.archive import Samples, describe_member, encode_samples
from headtail.bundle.keys import Signer
from headtail.segment import Chain
from headtail.tensor import Array

with contextlib.suppress(ModuleNotFoundError):  # the runtimes' own environment has none
    import onnx

Change = Callable[["onnx.ModelProto"], None]


def remake(
    bundle: Bundle,
    path: Path,
    signer: Signer,
    version: str,
    changes: Mapping[int, Change],
    outputs: Mapping[str, Array] | None = None,
    **fields: object,
) -> Path:
    """Write a bundle again as another version with some segments changed; return `path`.

    Each changed segment is made by a function of its graph. The samples' outputs are what the
    changed model gives, or what is given for them; other fields are the manifest's.
    """
    contents = list(bundle.segments)
    for index, change in changes.items():
        model = onnx.load_from_string(contents[index])
        change(model)
        contents[index] = model.SerializeToString()
    inputs = bundle.samples.inputs
    if outputs is None:
        outputs = Chain(replace(bundle, segments=tuple(contents))).tail(inputs, 0)
    members = {f"segments/{i}.onnx": content for i, content in enumerate(contents)}
    members["samples.npz"] = encode_samples(Samples(inputs, outputs))
    members["report.json"] = bundle.report
    manifest = msgspec.structs.replace(
        bundle.manifest,
        version=version,
        segments=tuple(
            msgspec.structs.replace(s, member=describe_member(s.member.path, contents[i]))
            for i, s in enumerate(bundle.manifest.segments)
        ),
        samples=describe_member("samples.npz", members["samples.npz"]),
        **fields,
    )
    write_bundle(path, manifest, members, signer)
    return path


def negate_output(model: onnx.ModelProto) -> None:
    """Turn the model's answer into its opposite."""
    before, output = _rename_output(model)
    model.graph.node.append(onnx.helper.make_node("Neg", [before], [output]))


def shift_output(model: onnx.ModelProto) -> None:
    """Add one to every output: other numbers, the same answer."""
    before, output = _rename_output(model)
    one = onnx.helper.make_tensor("one", onnx.TensorProto.FLOAT, [], [1.0])
    model.graph.initializer.append(one)
    model.graph.node.append(onnx.helper.make_node("Add", [before, "one"], [output]))


def slow_down(model: onnx.ModelProto) -> None:
    """Let a segment multiply two large matrices, made of its result, before it gives it."""
    before, output = _rename_output(model)
    tensors = (
        ("zero", onnx.TensorProto.FLOAT, [], [0.0]),
        ("side", onnx.TensorProto.INT64, [2], [1000, 1000]),
    )
    model.graph.initializer.extend(onnx.helper.make_tensor(*t) for t in tensors)
    make = onnx.helper.make_node
    model.graph.node.extend(
        [
            make("ReduceMax", [before], ["largest"], keepdims=0),
            make("Mul", ["largest", "zero"], ["nothing"]),
            make("Expand", ["nothing", "side"], ["matrix"]),
            make("MatMul", ["matrix", "matrix"], ["product"]),
            make("ReduceMax", ["product"], ["end"], keepdims=0),
            make("Add", [before, "end"], [output]),
        ]
    )


def want_memory(model: onnx.ModelProto) -> None:
    """Let the graph fill 8 TB with zeros before it answers."""
    before, output = _rename_output(model)
    shape = onnx.helper.make_tensor("shape", onnx.TensorProto.INT64, [1], [1 << 41])
    model.graph.initializer.append(shape)
    model.graph.node.extend(
        [
            onnx.helper.make_node("ConstantOfShape", ["shape"], ["zeros"]),
            onnx.helper.make_node("ReduceMax", ["zeros"], ["zero"], keepdims=0),
            onnx.helper.make_node("Add", [before, "zero"], [output]),
        ]
    )


def _rename_output(model: onnx.ModelProto) -> tuple[str, str]:
    """Give the only output's maker another name for it; return that and the output's own."""
    (output,) = (value.name for value in model.graph.output)
    before = f"{output}_before"
    for node in model.graph.node:
        node.output[:] = [before if name == output else name for name in node.output]
        node.input[:] = [before if name == output else name for name in node.input]
    return before, output
