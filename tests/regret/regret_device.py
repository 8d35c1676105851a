"""The slow device of the regret grid: real segments, made to last as long as a profile predicts."""

import time
from collections.abc import Mapping
from pathlib import Path

from headtail.bundle import Bundle
from headtail.energy import predict_compute
from headtail.operations import Operations
from headtail.profile import DeviceProfile, read_device_profile
from headtail.segment import Chain, SessionOptions, Tensors
from headtail.tensor import Array

DEVICE, LINK = str(Path(__file__).with_name("slow-board.toml")), "wifi-esp32"


class SlowChain(Chain):
    """Runs what a chain runs, then sleeps until the device of `slow-board.toml` would be done.

    Only the segments are slowed: encoding, messages and threads cost what they cost here.
    """

    def __init__(self, bundle: Bundle, options: SessionOptions | None = None) -> None:
        super().__init__(bundle, options)
        self._device: DeviceProfile = read_device_profile(DEVICE)

    def head(self, inputs: Mapping[str, Array], point: int) -> Tensors:
        """Return the activation at `point`, no sooner than the device would."""
        began_s = time.perf_counter()
        activation = super().head(inputs, point)
        self._sleep_until(began_s + self.predict_s(0, point))
        return activation

    def tail(self, activation: Mapping[str, Array], point: int) -> Tensors:
        """Return the model's outputs, no sooner than the device would."""
        began_s = time.perf_counter()
        outputs = super().tail(activation, point)
        self._sleep_until(began_s + self.predict_s(point, len(self.manifest.segments)))
        return outputs

    def predict_s(self, start: int, stop: int) -> float:
        """Return what segments [start, stop) take on the device, in seconds."""
        operations = (s.operations for s in self.manifest.segments[start:stop])
        return predict_compute(self._device, sum(operations, Operations())).seconds or 0.0

    def _sleep_until(self, due_s: float) -> None:
        time.sleep(max(0.0, due_s - time.perf_counter()))
