"""What a profile kit's ONNX files may hold, checked before onnxruntime sees them.

Source: field numbers of https://github.com/onnx/onnx/blob/main/onnx/onnx.proto.
"""

from collections import Counter

from headtail.errors import DataError
from headtail.protobuf import LENGTH_DELIMITED, Field, Malformed, fields

OPERATORS = {
    "conv": ("Conv", "Relu"),
    "conv_transpose": ("ConvTranspose", "Relu"),
    "depthwise": ("Conv", "Relu"),
    "dense": ("Gemm",),
}
_GRAPH, _FUNCTIONS = 7, 25  # ModelProto
_NODE, _INITIALIZER, _SPARSE = 1, 5, 15  # GraphProto
_OPERATOR, _ATTRIBUTE, _DOMAIN = 4, 5, 7  # NodeProto
_SUBGRAPHS = {6, 11}  # AttributeProto.g and .graphs
_EXTERNAL = {13, 14}  # TensorProto.external_data and .data_location: files of the device


def check_graph(content: bytes, kind: str, copies: int, where: str) -> None:
    """Check that a model holds `copies` of one layer of `kind` and nothing else.

    Raises:
        DataError: If it is no ONNX model or holds other operators, subgraphs, functions or
            references to files.
    """
    try:
        found = _operators(content)
    except (Malformed, UnicodeDecodeError) as error:
        raise DataError(where, f"no ONNX model: {error}") from error
    expected = Counter(dict.fromkeys(OPERATORS[kind], copies))
    if found != expected:
        raise DataError(
            where, f"expected operators {_text(expected)}, received {_text(found) or 'none'}"
        )


def _operators(content: bytes) -> Counter[str]:
    found: Counter[str] = Counter()
    for part in fields(content, 0, len(content)):
        if part.number == _FUNCTIONS:
            raise Malformed("functions are not allowed")
        if part.number != _GRAPH:
            continue
        for item in _inside(content, part):
            if item.number == _SPARSE:
                raise Malformed("sparse weights are not allowed")
            if item.number == _NODE:
                found[_operator(content, item)] += 1
            elif item.number == _INITIALIZER:
                _check_fields(content, item, _EXTERNAL, "a weight refers to a file")
    return found


def _operator(content: bytes, node: Field) -> str:
    name, domain = "", ""
    for item in _inside(content, node):
        if item.number == _OPERATOR:
            name = content[item.content : item.stop].decode("utf-8")
        elif item.number == _DOMAIN:
            domain = content[item.content : item.stop].decode("utf-8")
        elif item.number == _ATTRIBUTE:
            _check_fields(content, item, _SUBGRAPHS, "a node holds a subgraph")
            _check_tensor(content, item)
    return f"{domain}.{name}" if domain else name


def _check_tensor(content: bytes, attribute: Field) -> None:
    for item in _inside(content, attribute):
        if item.number in (5, 10):  # AttributeProto.t and .tensors
            _check_fields(content, item, _EXTERNAL, "a tensor refers to a file")


def _check_fields(content: bytes, message: Field, refused: set[int], reason: str) -> None:
    if any(item.number in refused for item in _inside(content, message)):
        raise Malformed(reason)


def _inside(content: bytes, message: Field) -> list[Field]:
    if message.wire_type != LENGTH_DELIMITED:
        raise Malformed(f"field {message.number} is no message")
    return list(fields(content, message.content, message.stop))


def _text(operators: Counter[str]) -> str:
    return ", ".join(f"{n} x {name[:40]!r}" for name, n in sorted(operators.items())[:4])
