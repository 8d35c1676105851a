"""Reading an ONNX file: bounded, with external data from its own folder only."""

from pathlib import Path

import onnx
import onnx.checker
import onnx.inliner
from google.protobuf.message import DecodeError
from onnx.external_data_helper import (
    ExternalDataInfo,
    load_external_data_for_tensor,
    uses_external_data,
)

from headtail.errors import ExportError

# A protobuf message cannot be larger, so neither can a segment.
MAX_MODEL_BYTES = (2 << 30) - 1


def read_model(source: Path | bytes) -> tuple[onnx.ModelProto, str]:
    """Read and flatten a model.

    External data is taken in, model-local functions are inlined, so that what is returned stands
    for itself. Whether its nodes make sense is for onnxruntime to say, which runs more than
    onnx's own checker lets pass (outputs without a shape, newer opsets).

    Args:
        source: A file, or the content of one.

    Returns:
        The model, and the name to use for it in errors.

    Raises:
        ExportError: If it cannot be read, is too large, is no ONNX model, or names external
            data outside its folder.
    """
    where = "model" if isinstance(source, bytes) else str(source)
    data = source if isinstance(source, bytes) else _read_bounded(source)
    if len(data) > MAX_MODEL_BYTES:
        raise ExportError(where, f"expected at most {MAX_MODEL_BYTES} bytes")
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except DecodeError as error:
        raise ExportError(where, "no ONNX model, or a truncated one") from error
    if not model.HasField("graph") or not model.graph.node or not model.opset_import:
        raise ExportError(where, "no ONNX model: it has no graph, no nodes or no opset")
    _load_external_data(model, None if isinstance(source, bytes) else source.parent, where)
    if model.functions:
        try:
            model = onnx.inliner.inline_local_functions(model)
        except (ValueError, RuntimeError) as error:
            raise ExportError(where, f"its functions: {first_line(error)}") from error
    return model, where


def first_line(error: Exception) -> str:
    """Return what an error of a foreign library says, on one line of at most 300 characters."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:300] if lines else type(error).__name__


def _read_bounded(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_MODEL_BYTES + 1)
    except OSError as error:
        raise ExportError(str(path), f"cannot be read: {error.strerror or error}") from error


def _load_external_data(model: onnx.ModelProto, folder: Path | None, where: str) -> None:
    outside = [t for t in _all_tensors(model) if uses_external_data(t)]
    total = model.ByteSize()
    for tensor in outside:
        location = ExternalDataInfo(tensor).location
        if folder is None:
            raise ExportError(where, f"tensor '{tensor.name}' lies in the file '{location}'")
        root = folder.resolve()
        path = (root / location).resolve()
        if not path.is_relative_to(root) or Path(location).is_absolute():
            raise ExportError(
                where, f"external data '{location}' of '{tensor.name}' lies outside its folder"
            )
        if not path.is_file():
            raise ExportError(where, f"external data '{location}' of '{tensor.name}' is missing")
        total += ExternalDataInfo(tensor).length or path.stat().st_size
        if total > MAX_MODEL_BYTES:
            raise ExportError(where, f"with external data over {MAX_MODEL_BYTES} bytes")
        try:
            load_external_data_for_tensor(tensor, str(root))
        except (onnx.checker.ValidationError, OSError, ValueError) as error:
            raise ExportError(where, f"external data '{location}': {first_line(error)}") from error
        tensor.data_location = onnx.TensorProto.DEFAULT
        del tensor.external_data[:]


def _all_tensors(model: onnx.ModelProto) -> list[onnx.TensorProto]:
    found: list[onnx.TensorProto] = []
    graphs = [model.graph]
    while graphs:
        graph = graphs.pop()
        found.extend(graph.initializer)
        for node in graph.node:
            for attribute in node.attribute:
                found.extend([attribute.t, *attribute.tensors])
                graphs.extend(subgraphs(attribute))
    return found


def subgraphs(attribute: onnx.AttributeProto) -> list[onnx.GraphProto]:
    """Return the graphs an attribute holds: the bodies of If, Loop and Scan."""
    single = [attribute.g] if attribute.type == onnx.AttributeProto.GRAPH else []
    return [*single, *attribute.graphs]
