"""Field numbers are forever: none of ours is reused, none of the published ones differs."""

import pytest
from google.protobuf.descriptor import Descriptor, FileDescriptor

from headtail.inference import grpc_service_pb2
from headtail.v1 import control_pb2

# Every number ever given out, by message; a removed field stays here with its old name.
CONTROL = {
    "BundleInfo": {1: "name", 2: "version", 3: "digest", 4: "size_bytes"},
    "ListBundlesRequest": {},
    "ListBundlesResponse": {1: "bundles"},
    "FetchBundleRequest": {1: "name", 2: "version"},
    "FetchBundleResponse": {1: "bundle", 2: "chunk"},
}
# Open Inference Protocol v2, as KServe and Triton publish it.
INFERENCE = {
    "ServerLiveRequest": {},
    "ServerLiveResponse": {1: "live"},
    "ServerReadyRequest": {},
    "ServerReadyResponse": {1: "ready"},
    "ModelReadyRequest": {1: "name", 2: "version"},
    "ModelReadyResponse": {1: "ready"},
    "ServerMetadataRequest": {},
    "ServerMetadataResponse": {1: "name", 2: "version", 3: "extensions"},
    "ModelMetadataRequest": {1: "name", 2: "version"},
    "ModelMetadataResponse": {1: "name", 2: "versions", 3: "platform", 4: "inputs", 5: "outputs"},
    "ModelMetadataResponse.TensorMetadata": {1: "name", 2: "datatype", 3: "shape"},
    "InferParameter": {
        1: "bool_param",
        2: "int64_param",
        3: "string_param",
        4: "double_param",
        5: "uint64_param",
    },
    "InferTensorContents": {
        1: "bool_contents",
        2: "int_contents",
        3: "int64_contents",
        4: "uint_contents",
        5: "uint64_contents",
        6: "fp32_contents",
        7: "fp64_contents",
        8: "bytes_contents",
    },
    "ModelInferRequest": {
        1: "model_name",
        2: "model_version",
        3: "id",
        4: "parameters",
        5: "inputs",
        6: "outputs",
        7: "raw_input_contents",
    },
    "ModelInferRequest.InferInputTensor": {
        1: "name",
        2: "datatype",
        3: "shape",
        4: "parameters",
        5: "contents",
    },
    "ModelInferRequest.InferRequestedOutputTensor": {1: "name", 2: "parameters"},
    "ModelInferResponse": {
        1: "model_name",
        2: "model_version",
        3: "id",
        4: "parameters",
        5: "outputs",
        6: "raw_output_contents",
    },
    "ModelInferResponse.InferOutputTensor": {
        1: "name",
        2: "datatype",
        3: "shape",
        4: "parameters",
        5: "contents",
    },
    "ModelStreamInferResponse": {1: "error_message", 2: "infer_response"},
}


def numbers(file: FileDescriptor) -> dict[str, dict[int, str]]:
    """Return field names by number, by message; entries of maps left out."""
    found: dict[str, dict[int, str]] = {}

    def walk(message: Descriptor, prefix: str) -> None:
        if not message.GetOptions().map_entry:
            found[prefix + message.name] = {f.number: f.name for f in message.fields}
        for nested in message.nested_types:
            walk(nested, f"{prefix}{message.name}.")

    for message in file.message_types_by_name.values():
        walk(message, "")
    return found


@pytest.mark.parametrize(
    ("expected", "file"),
    [(CONTROL, control_pb2.DESCRIPTOR), (INFERENCE, grpc_service_pb2.DESCRIPTOR)],
    ids=["control", "inference"],
)
def test_field_numbers_are_those_on_record(
    expected: dict[str, dict[int, str]], file: FileDescriptor
) -> None:
    assert expected == numbers(file)


def test_service_paths_are_those_on_the_wire() -> None:
    """Any Open Inference client finds us under the published name."""
    services = [*grpc_service_pb2.DESCRIPTOR.services_by_name.values()]
    services += control_pb2.DESCRIPTOR.services_by_name.values()
    assert {"inference.GRPCInferenceService", "headtail.v1.Control"} == {
        s.full_name for s in services
    }
