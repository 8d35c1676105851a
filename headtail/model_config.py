"""What a served model is in Triton's words: tensors and batching as a `ModelConfig` message."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from headtail.inference import model_config_pb2 as pb
from headtail.tensor import OIP_DATATYPES, TensorSpec

DATA_TYPES: Mapping[str, "pb.DataType.ValueType"] = MappingProxyType(
    {dtype: pb.DataType.Value(f"TYPE_{name}") for dtype, name in OIP_DATATYPES.items()}
)
"""Triton's data type by dtype."""


def model_config(
    name: str, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec], max_batch: int
) -> pb.ModelConfig:
    """Return the configuration of one model, as far as its tensors make it.

    Args:
        name: Under which it is served.
        inputs: As they travel.
        outputs: As they travel.
        max_batch: Windows of a request or batch at most; the first axis, which counts them, is then
            not part of Triton's shapes. 0: a request is one window, whatever its axes mean.
    """
    is_batched = max_batch > 0
    return pb.ModelConfig(
        name=name,
        max_batch_size=max_batch,
        input=[
            pb.ModelInput(name=s.name, data_type=DATA_TYPES[s.dtype], dims=s.shape[is_batched:])
            for s in inputs
        ],
        output=[
            pb.ModelOutput(name=s.name, data_type=DATA_TYPES[s.dtype], dims=s.shape[is_batched:])
            for s in outputs
        ],
    )


def parameters(values: Mapping[str, str]) -> dict[str, pb.ModelParameter]:
    """Return free parameters of a configuration."""
    return {name: pb.ModelParameter(string_value=value) for name, value in values.items()}
