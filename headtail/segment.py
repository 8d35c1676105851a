"""Segments of a bundle run by onnxruntime, one after another or from any point on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnxruntime as ort

from headtail.bundle import Bundle
from headtail.bundle.manifest import Segment
from headtail.errors import BundleUnreadable, ConfigError, SelfTestFailed
from headtail.tensor import Array

CPU = "CPUExecutionProvider"
# Largest error of the self-test relative to the largest output. Float32 on CPUs agrees better than
# this; accelerators add in another order.
SELF_TEST_TOLERANCE = 1e-5
ACCELERATOR_TOLERANCE = 1e-4
Tensors = dict[str, Array]


@dataclass(frozen=True, slots=True)
class SessionOptions:
    """How onnxruntime runs segments on this machine."""

    providers: tuple[str, ...] = (CPU,)
    """Execution providers in order of preference; all of them must load."""
    threads: int = 1
    """Threads of one operator; small graphs run fastest on one."""


class Chain:
    """The segments of a bundle, loaded; any range of them can run.

    `run` may be called from several threads at once: onnxruntime releases the GIL and sessions
    hold no state between calls.
    """

    def __init__(self, bundle: Bundle, options: SessionOptions | None = None) -> None:
        """Load every segment.

        Raises:
            BundleUnreadable: If onnxruntime cannot load a segment, or its tensors are not those
                of the manifest.
            ConfigError: If a provider asked for was not loaded.
        """
        options = options or SessionOptions()
        self.manifest = bundle.manifest
        where = f"{bundle.manifest.name} {bundle.manifest.version}"
        self._sessions = [
            load_session(content, options, f"{where} segment {i}")
            for i, content in enumerate(bundle.segments)
        ]
        for i, (session, segment) in enumerate(
            zip(self._sessions, self.manifest.segments, strict=True)
        ):
            _check_names(session, segment, f"{where} segment {i}")
        self._inputs = [[s.name for s in g.inputs] for g in self.manifest.segments]
        self._outputs = [[s.name for s in g.outputs] for g in self.manifest.segments]
        self.providers = tuple(self._sessions[0].get_providers())

    def run(self, tensors: Mapping[str, Array], start: int, stop: int) -> Tensors:
        """Run segments [start, stop) and return every tensor known afterwards, by name.

        Args:
            tensors: At least what crosses partition point `start`.
            start: First segment.
            stop: One past the last segment.
        """
        known = dict(tensors)
        for i in range(start, stop):
            names = self._outputs[i]
            values = self._sessions[i].run(names, {n: known[n] for n in self._inputs[i]})
            known.update(zip(names, values, strict=True))
        return known

    def head(self, inputs: Mapping[str, Array], point: int) -> Tensors:
        """Return the activation at `point`, tensors in the manifest's order."""
        known = self.run(inputs, 0, point)
        return {s.name: known[s.name] for s in self.manifest.points[point].activation}

    def tail(self, activation: Mapping[str, Array], point: int) -> Tensors:
        """Return the model's outputs from the activation at `point`."""
        known = self.run(activation, point, len(self._sessions))
        return {s.name: known[s.name] for s in self.manifest.outputs}

    def self_test(self, bundle: Bundle) -> float:
        """Run the bundle's samples through the whole chain.

        The segments are the same whatever the partition point, so one run covers them all.

        Returns:
            The largest error found, relative to the largest output.

        Raises:
            SelfTestFailed: If an output differs from the recorded one.
        """
        tolerance = SELF_TEST_TOLERANCE if self.providers[0] == CPU else ACCELERATOR_TOLERANCE
        outputs = self.tail(bundle.samples.inputs, 0)
        worst = 0.0
        for name, expected in bundle.samples.outputs.items():
            error = relative_error(expected, outputs[name])
            if not error <= tolerance:
                where = f"{self.manifest.name} {self.manifest.version}"
                raise SelfTestFailed(where, name, error, tolerance)
            worst = max(worst, error)
        return worst


def relative_error(expected: Array, actual: Array) -> float:
    """Return max |actual - expected| / max |expected|; infinity where shapes differ or NaN came."""
    if expected.shape != actual.shape:
        return float("inf")
    if expected.size == 0:
        return 0.0
    reference = expected.astype(np.float64)
    error = float(np.abs(actual.astype(np.float64) - reference).max())
    scale = float(np.abs(reference).max())
    if not np.isfinite(error):
        return float("inf")
    return error / scale if scale > 0 else error


def load_session(content: bytes, options: SessionOptions, where: str) -> ort.InferenceSession:
    """Load one ONNX graph with exactly the providers asked for.

    Raises:
        BundleUnreadable: If onnxruntime cannot load the graph.
        ConfigError: If a provider asked for was not loaded; onnxruntime itself only warns.
    """
    settings = ort.SessionOptions()
    settings.intra_op_num_threads = options.threads
    settings.inter_op_num_threads = 1
    settings.log_severity_level = 3
    # A spinning pool burns a core per session while nothing arrives.
    settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
    missing = [p for p in options.providers if p not in ort.get_available_providers()]
    if missing:
        raise ConfigError(
            "providers",
            f"{', '.join(missing)} not in this onnxruntime; it has"
            f" {', '.join(ort.get_available_providers())}",
        )
    try:
        session = ort.InferenceSession(content, settings, providers=_with_options(options))
    except Exception as error:
        raise BundleUnreadable(
            where, f"onnxruntime cannot load it: {_first_line(error)}"
        ) from error
    loaded = session.get_providers()
    if options.providers[0] not in loaded:
        raise ConfigError(
            "providers", f"asked for {options.providers[0]}, onnxruntime loaded {', '.join(loaded)}"
        )
    return session


def _with_options(options: SessionOptions) -> Sequence[str | tuple[str, dict[str, str]]]:
    # TF32 rounds inputs to 10 bits; the tail must equal the model that was verified.
    settings = {"CUDAExecutionProvider": {"use_tf32": "0"}}
    return [(p, settings[p]) if p in settings else p for p in options.providers]


def _check_names(session: ort.InferenceSession, segment: Segment, where: str) -> None:
    for kind, received, expected in (
        ("inputs", session.get_inputs(), segment.inputs),
        ("outputs", session.get_outputs(), segment.outputs),
    ):
        names = [t.name for t in received]
        if sorted(names) != sorted(s.name for s in expected):
            raise BundleUnreadable(
                where, f"{kind}: the manifest says {[s.name for s in expected]}, the graph {names}"
            )


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:300] if str(error).strip() else type(error).__name__
