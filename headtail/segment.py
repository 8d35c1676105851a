"""Segments of a bundle run by onnxruntime, one after another or from any point on."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import onnxruntime as ort

from headtail.bundle import Bundle
from headtail.bundle.manifest import Segment
from headtail.cut_cost import Halves, measure
from headtail.errors import BundleUnreadable, ConfigError, SelfTestFailed
from headtail.onnx_call import Run, direct_run
from headtail.onnx_merge import MAX_BYTES, NotMergeable, merge_graphs
from headtail.tensor import Array

log = logging.getLogger(__name__)

CPU = "CPUExecutionProvider"
# Largest error of the self-test relative to the largest output. Float32 on CPUs agrees better than
# this; accelerators add in another order.
SELF_TEST_TOLERANCE = 1e-5
ACCELERATOR_TOLERANCE = 1e-4
# What a session takes beside its weights, so that many small ones are bounded too; an estimate.
_SESSION_BYTES = 512 << 10
Tensors = dict[str, Array]
Range = tuple[int, int]


@dataclass(frozen=True, slots=True)
class SessionOptions:
    """How onnxruntime runs segments on this machine."""

    providers: tuple[str, ...] = (CPU,)
    """Execution providers in order of preference; all of them must load."""
    threads: int = 1
    """Threads of one operator; small graphs run fastest on one."""
    warm_batches: tuple[int, ...] = (1,)
    """Batch sizes that a server runs once, before the first request brings them."""


@dataclass(frozen=True, slots=True)
class _Step:
    """One call of onnxruntime."""

    session: ort.InferenceSession
    inputs: list[str]
    outputs: list[str]
    takes: frozenset[str]
    """The inputs again."""
    run: Run


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
        self._options = options or SessionOptions()
        self.manifest = bundle.manifest
        self._where = f"{bundle.manifest.name} {bundle.manifest.version}"
        self._steps = [
            self._load(content, segment, f"{self._where} segment {i}")
            for i, (content, segment) in enumerate(
                zip(bundle.segments, self.manifest.segments, strict=True)
            )
        ]
        # Ranges that run in one call.
        self._merged: dict[Range, list[_Step]] = {}
        self._merged_bytes = 0
        self._crossing = [[s.name for s in p.activation] for p in self.manifest.points]
        self._outputs = [s.name for s in self.manifest.outputs]
        self.providers = tuple(self._steps[0].session.get_providers())

    def merge(self, bundle: Bundle, ranges: Sequence[Range]) -> None:
        """Let each of `ranges` run as one graph, in one call, where that can be done.

        A merged graph has to give what the segments and the bundle's samples give; where it does
        not, is too large, or cannot be made, its segments go on running one after another.

        Args:
            bundle: The one this chain was made of.
            ranges: (start, stop), segments [start, stop) each; the first are worth most.
        """
        part = self._parts(bundle)[0]
        known = _run(self._steps, {n: a[part] for n, a in bundle.samples.inputs.items()})
        known |= {n: a[part] for n, a in bundle.samples.outputs.items()}
        for start, stop in dict.fromkeys(ranges):
            size = self._merged_size(start, stop)
            is_done = stop - start < 2 or (start, stop) in self._merged
            if is_done or self._merged_bytes + size > MAX_BYTES:
                continue
            try:
                step = self._merge(bundle, start, stop)
                self._check_merged(step, known)
            except (NotMergeable, BundleUnreadable, SelfTestFailed) as error:
                log.info(
                    "%s: segments %d to %d stay apart: %s", self._where, start, stop - 1, error
                )
                continue
            self._merged[start, stop] = [step]
            self._merged_bytes += size

    def release(self, ranges: Sequence[Range]) -> None:
        """Let each of `ranges` run segment by segment again, and its memory go."""
        for start, stop in ranges:
            if self._merged.pop((start, stop), None) is not None:
                self._merged_bytes -= self._merged_size(start, stop)

    def is_merged(self, start: int, stop: int) -> bool:
        """Return whether segments [start, stop) run in one call."""
        return stop - start == 1 or (start, stop) in self._merged

    def run(self, tensors: Mapping[str, Array], start: int, stop: int) -> Tensors:
        """Run segments [start, stop) and return every tensor known afterwards, by name.

        Of tensors made in [start, stop) those that nobody needs after `stop` may be missing.

        Args:
            tensors: At least what crosses partition point `start`.
            start: First segment.
            stop: One past the last segment.
        """
        return _run(self._range(start, stop), tensors)

    def _merged_size(self, start: int, stop: int) -> int:
        """Return about how much memory segments [start, stop) take as one graph, in bytes."""
        segments = self.manifest.segments[start:stop]
        return sum(s.member.bytes for s in segments) + _SESSION_BYTES

    def _range(self, start: int, stop: int) -> Sequence[_Step]:
        """Return the calls that run segments [start, stop)."""
        return self._merged.get((start, stop)) or self._steps[start:stop]

    def head(self, inputs: Mapping[str, Array], point: int) -> Tensors:
        """Return the activation at `point`, tensors in the manifest's order."""
        return _give(self._range(0, point), inputs, self._crossing[point])

    def tail(self, activation: Mapping[str, Array], point: int) -> Tensors:
        """Return the model's outputs from the activation at `point`."""
        return _give(self._range(point, len(self._steps)), activation, self._outputs)

    def measure(
        self,
        bundle: Bundle,
        points: Sequence[int],
        rounds: int = 5,
        clock: Callable[[], float] = time.perf_counter,
    ) -> dict[int, Halves]:
        """Return how long head and tail of one window take here at each point, in seconds.

        They run as they would in service: ranges that were merged in one call. At the last point
        the head is the whole model, at the first the tail is.

        Args:
            bundle: The one this chain was made of; its first sample is timed.
            points: Partition points.
            rounds: Timed runs of each half, of which the least counts.
            clock: In seconds.
        """
        return measure(self, first_window(bundle), points, rounds, clock)

    def self_test(self, bundle: Bundle) -> float:
        """Run the bundle's samples through the whole chain.

        The segments are the same whatever the partition point, so one run covers them all; `merge`
        tests what it makes itself.

        Returns:
            The largest error found, relative to the largest output.

        Raises:
            SelfTestFailed: If an output differs from the recorded one.
        """
        parts = [
            self.tail({n: a[part] for n, a in bundle.samples.inputs.items()}, 0)
            for part in self._parts(bundle)
        ]
        outputs = parts[0]
        if len(parts) > 1:
            outputs = {n: np.concatenate([part[n] for part in parts]) for n in outputs}
        return self._worst_error(bundle.samples.outputs, outputs)

    def _parts(self, bundle: Bundle) -> list[slice]:
        """Return which samples run together: two at most, since memory that is taken stays so."""
        if not self.manifest.is_batchable:
            return [slice(None)]
        count = len(next(iter(bundle.samples.inputs.values())))
        return [slice(start, start + 2) for start in range(0, count, 2)]

    def _worst_error(self, expected: Mapping[str, Array], actual: Mapping[str, Array]) -> float:
        tolerance = SELF_TEST_TOLERANCE if self.providers[0] == CPU else ACCELERATOR_TOLERANCE
        worst = 0.0
        for name, array in expected.items():
            error = relative_error(array, actual[name])
            if not error <= tolerance:
                raise SelfTestFailed(self._where, name, error, tolerance)
            worst = max(worst, error)
        return worst

    def _load(self, content: bytes, segment: Segment, where: str) -> _Step:
        session = load_session(content, self._options, where)
        _check_names(session, segment, where)
        inputs, outputs = [s.name for s in segment.inputs], [s.name for s in segment.outputs]
        return _step(session, inputs, outputs)

    def _merge(self, bundle: Bundle, start: int, stop: int) -> _Step:
        """Return segments [start, stop) as one graph: from what crosses `start` to `stop`."""
        made = {n for step in self._steps[start:stop] for n in step.outputs}
        taken = {n for step in self._steps[start:stop] for n in step.inputs}
        inputs = [n for n in self._crossing[start] if n in taken]
        outputs = [n for n in self._crossing[stop] if n in made]
        content = merge_graphs(bundle.segments[start:stop], inputs, outputs)
        where = f"{self._where} segments {start} to {stop - 1} as one"
        session = load_session(content, self._options, where)
        return _step(session, inputs, outputs)

    def _check_merged(self, step: _Step, known: Mapping[str, Array]) -> None:
        """Run two samples, then one of them, since other batches take other kernels."""
        batches = [known]
        if self.manifest.is_batchable:
            batches.append({name: array[:1] for name, array in known.items()})
        for batch in batches:
            actual = _run([step], {n: batch[n] for n in step.inputs})
            self._worst_error({n: batch[n] for n in step.outputs}, actual)


def _step(session: ort.InferenceSession, inputs: list[str], outputs: list[str]) -> _Step:
    return _Step(session, inputs, outputs, frozenset(inputs), direct_run(session))


def first_window(bundle: Bundle) -> Tensors:
    """Return the first of a bundle's samples."""
    first = slice(1) if bundle.manifest.is_batchable else slice(None)
    return {name: array[first] for name, array in bundle.samples.inputs.items()}


def _run(steps: Sequence[_Step], tensors: Mapping[str, Array]) -> Tensors:
    known = dict(tensors)
    for step in steps:
        values = step.run(step.outputs, {n: known[n] for n in step.inputs})
        known.update(zip(step.outputs, values, strict=True))
    return known


def _give(steps: Sequence[_Step], tensors: Mapping[str, Array], names: list[str]) -> Tensors:
    """Return what `names` are after `steps`; without a detour where one gives just that."""
    if len(steps) == 1:
        step = steps[0]
        if names == step.outputs and tensors.keys() == step.takes and isinstance(tensors, dict):
            return dict(zip(names, step.run(names, tensors), strict=True))
    known = _run(steps, tensors)
    return {name: known[name] for name in names}


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
    if options.providers == (CPU,):
        _share_memory()
        settings.add_session_config_entry("session.use_env_allocators", "1")
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


@lru_cache(1)
def _share_memory() -> None:
    """Let sessions work in one arena, that grows by what is asked for.

    Each in one of its own, which doubles, would keep what its largest batch once took.
    """
    kind = ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR
    cpu = ort.OrtMemoryInfo("Cpu", kind, 0, ort.OrtMemType.DEFAULT)
    ort.create_and_register_allocator(cpu, ort.OrtArenaCfg(0, 1, -1, -1))


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
