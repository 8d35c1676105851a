"""One model's folder in a repository: `config.pbtxt`, what warms it up, and a folder per version.

The configuration is of all versions, so a second version of a model has to take and give the same
tensors. The digest of each version's bundle is one of its parameters: agents compare it.
"""

import shutil
import tempfile
from collections.abc import Mapping
from importlib import resources
from pathlib import Path

from google.protobuf import text_format

from headtail.errors import ExportError
from headtail.files import write_file
from headtail.inference import model_config_pb2 as pb
from headtail.model_config import model_config, parameters
from headtail.model_version import DIGEST_PARAMETER
from headtail.tensor import Array, TensorSpec, to_bytes
from optimizer.export_triton.settings import Backend, Settings

CONFIG, GRAPH = "config.pbtxt", "model.onnx"
_WARM_UP = "warmup"


def make_config(
    name: str,
    inputs: tuple[TensorSpec, ...],
    outputs: tuple[TensorSpec, ...],
    window: Mapping[str, Array],
    settings: Settings,
    is_batchable: bool,
) -> pb.ModelConfig:
    """Return a model's configuration.

    Args:
        name: Under which it is served.
        inputs: As they travel.
        outputs: The model's.
        window: One window as it travels, by tensor name; it warms the model up.
        settings: How Triton is to run it.
        is_batchable: Whether the first axis of every tensor counts windows.
    """
    config = model_config(name, inputs, outputs, settings.max_batch if is_batchable else 0)
    config.backend = settings.backend.value
    config.version_policy.all.SetInParent()  # each agent asks for its bundle's
    if settings.backend is Backend.PYTHON:
        config.default_model_filename = "model.py"
        kind = pb.ModelInstanceGroup.KIND_CPU
    else:
        config.default_model_filename = GRAPH
        kind = pb.ModelInstanceGroup.KIND_AUTO
    config.instance_group.add(count=settings.instances, kind=kind)
    _set(config, {"intra_op_thread_count": str(settings.threads)})
    if is_batchable:
        config.dynamic_batching.CopyFrom(
            pb.ModelDynamicBatching(
                preferred_batch_size=settings.preferred,
                max_queue_delay_microseconds=round(1e6 * settings.max_queue_delay_s),
                # A request may say how long it is worth waiting for.
                default_queue_policy=pb.ModelQueuePolicy(allow_timeout_override=True),
            )
        )
    for size in settings.warm_up_sizes if is_batchable else (1,):
        config.model_warmup.append(_warm_up(config, window, size))
    return config


def write_model(
    repository: Path,
    config: pb.ModelConfig,
    version: int,
    digest: str,
    graph: bytes,
    window: Mapping[str, Array],
) -> Path:
    """Write one version of a model; it is whole in the repository, or it is not there.

    Args:
        repository: The folder of models.
        config: The model's.
        version: Its number there.
        digest: Of the bundle it comes from.
        graph: The ONNX model.
        window: One window as it travels, by tensor name.

    Returns:
        The model's folder.

    Raises:
        ExportError: If the repository holds that version of another bundle, or another version
            whose tensors differ.
    """
    folder = repository / config.name
    whole = pb.ModelConfig()
    whole.CopyFrom(config)
    if (folder / CONFIG).exists():
        _adopt(whole, read_config(folder / CONFIG), version, digest, folder)
    _set(whole, {DIGEST_PARAMETER.format(version=version): digest})
    folder.mkdir(parents=True, exist_ok=True)
    warm_up = folder / _WARM_UP
    warm_up.mkdir(exist_ok=True)
    for name, array in window.items():
        write_file(warm_up / _file_name(config, name), to_bytes(array), 0o644)
    files = {GRAPH: graph}
    if config.backend == Backend.PYTHON:
        source = resources.files("optimizer.export_triton").joinpath("python_model.py")
        files["model.py"] = source.read_bytes()
    _replace(folder / str(version), files)
    # Last: Triton looks at a model once its configuration is there.
    write_file(folder / CONFIG, text_format.MessageToString(whole).encode(), 0o644)
    return folder


def read_config(path: Path) -> pb.ModelConfig:
    """Return a configuration of a repository.

    Raises:
        ExportError: If it is not one of ours.
    """
    try:
        return text_format.Parse(path.read_text(encoding="utf-8"), pb.ModelConfig())
    except (OSError, UnicodeDecodeError, text_format.ParseError) as error:
        raise ExportError(str(path), f"cannot be read: {error}") from error


def _adopt(
    config: pb.ModelConfig, there: pb.ModelConfig, version: int, digest: str, folder: Path
) -> None:
    """Take the digests of other versions over from the configuration that is there."""
    key = DIGEST_PARAMETER.format(version=version)
    known = {n: p.string_value for n, p in there.parameters.items()}
    if known.get(key, digest) != digest:
        reason = f"version {version} is of bundle {known[key][:12]}, this is {digest[:12]}"
        raise ExportError(str(folder), f"{reason}: give one another version, or remove the folder")
    prefix = DIGEST_PARAMETER.format(version="")
    others = {n: d for n, d in known.items() if n.startswith(prefix) and n != key}
    if others and _tensors(config) != _tensors(there):
        raise ExportError(
            str(folder), "other versions there take or give other tensors: use another repository"
        )
    _set(config, others)


def _tensors(config: pb.ModelConfig) -> list[bytes]:
    return [
        tensor.SerializeToString(deterministic=True) for tensor in (*config.input, *config.output)
    ]


def _set(config: pb.ModelConfig, values: Mapping[str, str]) -> None:
    for name, parameter in parameters(values).items():
        config.parameters[name].CopyFrom(parameter)


def _warm_up(config: pb.ModelConfig, window: Mapping[str, Array], size: int) -> pb.ModelWarmup:
    entry = pb.ModelWarmup(name=f"batch-{size}", batch_size=size)
    for tensor in config.input:
        shape = window[tensor.name].shape
        entry.inputs[tensor.name].CopyFrom(
            pb.ModelWarmup.Input(
                data_type=tensor.data_type,
                dims=shape[config.max_batch_size > 0 :],
                input_data_file=_file_name(config, tensor.name),
            )
        )
    return entry


def _file_name(config: pb.ModelConfig, tensor: str) -> str:
    """Return the name of a tensor's file; a tensor's own name may be no file's."""
    return f"input{[t.name for t in config.input].index(tensor)}.bin"


def _replace(folder: Path, files: Mapping[str, bytes]) -> None:
    """Put a folder with these files where another one may be."""
    fresh = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    try:
        fresh.chmod(0o755)
        for name, content in files.items():
            write_file(fresh / name, content, 0o644)
        if folder.exists():
            shutil.rmtree(folder)
        fresh.replace(folder)
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise
