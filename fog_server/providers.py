"""Execution providers: what onnxruntime has, what was asked for, and what really loads."""

import logging

import onnxruntime as ort

from fog_server.config import ProviderChoice
from headtail.errors import ConfigError
from headtail.segment import CPU, SessionOptions, load_session

log = logging.getLogger(__name__)

CUDA, TENSORRT = "CUDAExecutionProvider", "TensorrtExecutionProvider"
# Each with what it falls back to for operators it lacks.
PROVIDERS: dict[ProviderChoice, tuple[str, ...]] = {
    "tensorrt": (TENSORRT, CUDA, CPU),
    "cuda": (CUDA, CPU),
    "cpu": (CPU,),
}
# y = Identity(x) for one float32: a graph that shows whether a provider loads at all. By hand,
# because the runtimes have no onnx package: ir_version 8; graph; opset 17.
PROBE = (
    b"\x08\x08"
    b"\x3a\x30"
    b"\x0a\x10\x0a\x01x\x12\x01y\x22\x08Identity"
    b"\x12\x02id"
    b"\x5a\x0b\x0a\x01x\x12\x06\x0a\x04\x08\x01\x12\x00"
    b"\x62\x0b\x0a\x01y\x12\x06\x0a\x04\x08\x01\x12\x00"
    b"\x42\x02\x10\x11"
)


def choose_providers(choice: ProviderChoice) -> tuple[str, ...]:
    """Return the execution providers to load tails with, the preferred first.

    Raises:
        ConfigError: If the one asked for by name is missing or does not load.
    """
    if choice != "auto":
        load_session(PROBE, SessionOptions(providers=PROVIDERS[choice]), "probe")
        return PROVIDERS[choice]
    available = ort.get_available_providers()
    for providers in PROVIDERS.values():
        if providers[0] not in available:
            continue
        try:
            load_session(PROBE, SessionOptions(providers=providers), "probe")
        except ConfigError as error:
            log.warning("%s is installed but does not load: %s", providers[0], error)
        else:
            return providers
    raise ConfigError("providers", f"none loads of {', '.join(available)}")
