"""Field numbers are forever: none of ours is reused, none of the published ones differs."""

import pytest
from google.protobuf.descriptor import Descriptor, FileDescriptor

from headtail.inference import grpc_service_pb2, model_config_pb2
from headtail.v1 import capture_pb2, control_pb2, jobs_pb2

# Every number ever given out, by message; a removed field stays here with its old name.
CAPTURE = {
    "CaptureWindowsRequest": {1: "agent", 2: "bundle_digest", 3: "windows"},
    "CapturedWindow": {1: "sequence", 2: "inputs"},
    "CapturedTensor": {1: "shape", 2: "content"},
    "CaptureWindowsResponse": {1: "received"},
}
CONTROL = {
    "BundleInfo": {
        1: "name",
        2: "version",
        3: "digest",
        4: "size_bytes",
        5: "state",
        6: "is_rollback",
    },
    "ListBundlesRequest": {},
    "ListBundlesResponse": {1: "bundles"},
    "FetchBundleRequest": {1: "name", 2: "version", 3: "digest", 4: "offset_bytes"},
    "FetchBundleResponse": {1: "bundle", 2: "chunk"},
    "AgentStatus": {
        1: "agent",
        2: "name",
        3: "digest",
        4: "previous_digest",
        5: "state",
        6: "target_digest",
        7: "fault",
        8: "reason",
        9: "generation",
        10: "run_id",
        11: "tallies",
        12: "device_profile",
    },
    "Tally": {
        1: "digest",
        2: "windows",
        3: "failed",
        4: "fallback",
        5: "energy_j",
        6: "latency_s",
        7: "latency_bounds_s",
        8: "latency_counts",
        9: "shadows",
    },
    "Shadow": {1: "digest", 2: "windows", 3: "agreed"},
    "Directive": {
        1: "name",
        2: "version",
        3: "digest",
        4: "size_bytes",
        5: "role",
        6: "reason",
        7: "generation",
        8: "attempt",
        9: "is_rollback",
        10: "shadow_digest",
        11: "shadow_ratio",
        12: "report_interval_s",
    },
    "PublishBundleRequest": {1: "header", 2: "chunk"},
    "PublishHeader": {1: "size_bytes", 2: "digest", 3: "reason", 4: "allow_older"},
    "PublishBundleResponse": {1: "bundle", 2: "is_new", 3: "generation", 4: "self_test_error"},
    "ListRolloutsRequest": {1: "name", 2: "with_agents"},
    "ListRolloutsResponse": {1: "rollouts"},
    "BundleRef": {1: "name", 2: "version", 3: "digest"},
    "StartCanaryRequest": {1: "bundle", 2: "generation", 3: "rules", 4: "reason"},
    "SetCanaryShareRequest": {1: "name", 2: "generation", 3: "share_ratio", 4: "reason"},
    "PromoteRequest": {1: "bundle", 2: "generation", 3: "reason"},
    "RollBackRequest": {1: "name", 2: "generation", 3: "reason"},
    "RetireRequest": {1: "bundle", 2: "generation", 3: "reason"},
    "CanaryRules": {
        1: "share_ratio",
        2: "bake_s",
        3: "timeout_s",
        4: "min_windows",
        5: "max_failed_increase",
        6: "max_latency_increase_ratio",
        7: "max_energy_increase_ratio",
        8: "min_agreement_ratio",
        9: "min_shadows",
        10: "needs_agreement",
        11: "shadow_ratio",
        12: "promotes",
    },
    "Rollout": {1: "name", 2: "generation", 3: "bundles", 4: "canary", 5: "events", 6: "agents"},
    "BundleRecord": {
        1: "bundle",
        2: "changed_at_s",
        3: "reason",
        4: "changed_by",
        5: "agents",
        6: "is_stored",
        7: "is_previous",
    },
    "Canary": {
        1: "bundle",
        2: "started_at_s",
        3: "rules",
        4: "verdict",
        5: "reason",
        6: "comparisons",
        7: "agents",
        8: "windows",
        9: "active_windows",
    },
    "Comparison": {1: "what", 2: "active", 3: "canary", 4: "limit", 5: "verdict"},
    "Event": {
        1: "generation",
        2: "at_s",
        3: "action",
        4: "version",
        5: "digest",
        6: "before",
        7: "after",
        8: "by",
        9: "reason",
    },
    "AgentRecord": {1: "status", 2: "role", 3: "heard_at_s"},
}
JOBS = {
    "JobResources": {1: "cpus", 2: "gpus", 3: "memory_bytes"},
    "JobProgress": {1: "stage", 2: "done", 3: "total", 4: "note"},
    "JobResult": {1: "bundle", 2: "digest"},
    "Job": {
        1: "id",
        2: "name",
        3: "reason",
        4: "submitter",
        5: "state",
        6: "seed",
        7: "resources",
        8: "recipe_sha256",
        9: "created_s",
        10: "started_s",
        11: "finished_s",
        12: "attempts",
        13: "is_cancel_requested",
        14: "progress",
        15: "result",
        16: "error",
        17: "lines",
        18: "version",
    },
    "SubmitJobRequest": {
        1: "recipe",
        2: "name",
        3: "seed",
        4: "resources",
        5: "reason",
        6: "idempotency_key",
        7: "version",
    },
    "SubmitJobResponse": {1: "job", 2: "is_known"},
    "ListJobsRequest": {1: "states", 2: "limit"},
    "ListJobsResponse": {1: "jobs"},
    "GetJobRequest": {1: "id"},
    "JobLine": {1: "number", 2: "time_s", 3: "text"},
    "WatchJobRequest": {1: "id", 2: "after_line"},
    "WatchJobResponse": {1: "job", 2: "lines"},
    "CancelJobRequest": {1: "id"},
    "ReadJobLogRequest": {1: "id", 2: "after_line", 3: "last"},
    "ReadJobLogResponse": {1: "lines"},
    "FetchJobFileRequest": {1: "id", 2: "file"},
    "JobFileInfo": {1: "name", 2: "size_bytes", 3: "sha256"},
    "FetchJobFileResponse": {1: "info", 2: "chunk"},
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
    "ModelConfigRequest": {1: "name", 2: "version"},
    "ModelConfigResponse": {1: "config"},
    "ModelStatisticsRequest": {1: "name", 2: "version"},
    "StatisticDuration": {1: "count", 2: "ns"},
    "InferStatistics": {
        1: "success",
        2: "fail",
        3: "queue",
        4: "compute_input",
        5: "compute_infer",
        6: "compute_output",
        7: "cache_hit",
        8: "cache_miss",
    },
    "InferBatchStatistics": {
        1: "batch_size",
        2: "compute_input",
        3: "compute_infer",
        4: "compute_output",
    },
    "ModelStatistics": {
        1: "name",
        2: "version",
        3: "last_inference",
        4: "inference_count",
        5: "execution_count",
        6: "inference_stats",
        7: "batch_stats",
    },
    "ModelStatisticsResponse": {1: "model_stats"},
    "ModelRepositoryParameter": {
        1: "bool_param",
        2: "int64_param",
        3: "string_param",
        4: "bytes_param",
    },
    "RepositoryIndexRequest": {1: "repository_name", 2: "ready"},
    "RepositoryIndexResponse": {1: "models"},
    "RepositoryIndexResponse.ModelIndex": {1: "name", 2: "version", 3: "state", 4: "reason"},
    "RepositoryModelLoadRequest": {1: "repository_name", 2: "model_name", 3: "parameters"},
    "RepositoryModelLoadResponse": {},
    "RepositoryModelUnloadRequest": {1: "repository_name", 2: "model_name", 3: "parameters"},
    "RepositoryModelUnloadResponse": {},
}
# Triton's model configuration; the fields between are ones that we do not use.
MODEL_CONFIG = {
    "ModelInstanceGroup": {1: "name", 2: "count", 4: "kind"},
    "ModelInput": {1: "name", 2: "data_type", 4: "dims"},
    "ModelOutput": {1: "name", 2: "data_type", 3: "dims"},
    "ModelVersionPolicy": {1: "latest", 2: "all", 3: "specific"},
    "ModelVersionPolicy.Latest": {1: "num_versions"},
    "ModelVersionPolicy.All": {},
    "ModelVersionPolicy.Specific": {1: "versions"},
    "ModelQueuePolicy": {
        1: "timeout_action",
        2: "default_timeout_microseconds",
        3: "allow_timeout_override",
        4: "max_queue_size",
    },
    "ModelDynamicBatching": {
        1: "preferred_batch_size",
        2: "max_queue_delay_microseconds",
        3: "preserve_ordering",
        4: "priority_levels",
        5: "default_priority_level",
        6: "default_queue_policy",
        7: "priority_queue_policy",
    },
    "ModelParameter": {1: "string_value"},
    "ModelWarmup": {1: "name", 2: "batch_size", 3: "inputs", 4: "count"},
    "ModelWarmup.Input": {
        1: "data_type",
        2: "dims",
        3: "zero_data",
        4: "random_data",
        5: "input_data_file",
    },
    "ModelConfig": {
        1: "name",
        2: "platform",
        3: "version_policy",
        4: "max_batch_size",
        5: "input",
        6: "output",
        7: "instance_group",
        8: "default_model_filename",
        11: "dynamic_batching",
        14: "parameters",
        16: "model_warmup",
        17: "backend",
    },
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
    [
        (CAPTURE, capture_pb2.DESCRIPTOR),
        (CONTROL, control_pb2.DESCRIPTOR),
        (JOBS, jobs_pb2.DESCRIPTOR),
        (INFERENCE, grpc_service_pb2.DESCRIPTOR),
        (MODEL_CONFIG, model_config_pb2.DESCRIPTOR),
    ],
    ids=["capture", "control", "jobs", "inference", "model_config"],
)
def test_field_numbers_are_those_on_record(
    expected: dict[str, dict[int, str]], file: FileDescriptor
) -> None:
    assert expected == numbers(file)


def test_service_paths_are_those_on_the_wire() -> None:
    """Any Open Inference client finds us under the published name."""
    services = [*grpc_service_pb2.DESCRIPTOR.services_by_name.values()]
    services += capture_pb2.DESCRIPTOR.services_by_name.values()
    services += control_pb2.DESCRIPTOR.services_by_name.values()
    services += jobs_pb2.DESCRIPTOR.services_by_name.values()
    assert {
        "inference.GRPCInferenceService",
        "headtail.v1.Capture",
        "headtail.v1.Control",
        "headtail.v1.Rollouts",
        "headtail.v1.Jobs",
    } == {s.full_name for s in services}
