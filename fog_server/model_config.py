"""What Triton's ModelConfig says of a tail: how it is fed, run and batched here."""

import msgspec
from google.protobuf import json_format

from fog_server.batcher_policy import DynamicBatching
from fog_server.config import Inference
from fog_server.tail import Tail
from headtail.inference import model_config_pb2 as pb
from headtail.model_config import model_config, parameters

PLATFORM, BACKEND = "onnxruntime_onnx", "onnxruntime"
_ON_CPU = "CPUExecutionProvider"


def tail_config(tail: Tail, settings: Inference, provider: str) -> pb.ModelConfig:
    """Return the configuration of a tail.

    Args:
        tail: What is served.
        settings: How requests are run here.
        provider: The execution provider that runs them.
    """
    max_batch = settings.max_batch if tail.is_batchable else 0
    config = model_config(tail.name, tail.inputs, tail.outputs, max_batch)
    config.platform, config.backend = PLATFORM, BACKEND
    config.version_policy.all.SetInParent()  # every version in the folder is served
    kind = "KIND_CPU" if provider == _ON_CPU else "KIND_GPU"
    config.instance_group.add(
        name=f"{tail.name}_0", kind=pb.ModelInstanceGroup.Kind.Value(kind), count=settings.running
    )
    bundle = tail.chain.manifest.name
    rules = settings.batching(tail.name, bundle)
    if tail.is_batchable:
        config.dynamic_batching.CopyFrom(_dynamic_batching(rules))
    for size in settings.batch_sizes if tail.is_batchable else (1,):
        config.model_warmup.add(name=f"batch-{size}", batch_size=size, count=1)
    known = {
        "bundle": bundle,
        "largest_dynamic_batch": str(rules.max_batch_size),
        "version": tail.version,
        "partition_point": str(tail.point),
        "provider": provider,
    }
    for name, parameter in parameters(known).items():
        config.parameters[name].CopyFrom(parameter)
    return config


def _dynamic_batching(rules: DynamicBatching) -> pb.ModelDynamicBatching:
    """Return our rules in Triton's message: its names are ours."""
    values = msgspec.to_builtins(rules)
    del values["max_batch_size"]  # of batches that are put together; Triton's holds for requests
    return json_format.ParseDict(values, pb.ModelDynamicBatching())
