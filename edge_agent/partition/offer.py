"""The plans among which a run may choose, and what each costs on this device."""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edge_agent.plan import AUTO, Plan, choose_plan
from edge_agent.sources.frame import Frame
from edge_agent.tail_codec import TailCodec
from headtail.bundle import Bundle, Manifest
from headtail.bundle.offers import offered
from headtail.compression import DEFLATE, decompress
from headtail.cut_cost import Halves
from headtail.oip import read_request
from headtail.segment import Chain, Tensors
from headtail.wire import Encoding

ROUNDS = 3
"""Timed runs of each head and tail, of which the quickest counts."""
SAMPLES = 4
"""Of the bundle's, on which messages are measured."""
WORTH_RATIO = 0.9
"""Compression is offered where it leaves no more of a message than this."""
NAME = "x" * 8
"""In the place of an agent's name, for the size of a message."""


@dataclass(frozen=True, slots=True)
class Option:
    """A plan, and what it costs here before anything is known of link and fog."""

    plan: Plan
    head_s: float
    """Time of the head on one window."""
    encode_s: float
    """Time of making the message, without the head."""
    message_bytes: int
    """Of one window; 0 where nothing is sent."""
    tail_s: float
    """Time of the tail, were it run here."""
    inflate_s: float = 0.0
    """Time of inflating the message, were it done here; 0 where it is not compressed."""


def offered_plans(manifest: Manifest, point: str, encoding: str) -> tuple[Plan, ...]:
    """Return every plan that the manifest and two flags allow, uncompressed.

    Args:
        manifest: The bundle's.
        point: `auto`, or the only partition point.
        encoding: `auto`, or the only encoding of what travels.

    Raises:
        ConfigError: If the bundle offers no such point or encoding.
    """
    default = choose_plan(manifest, point, encoding)
    last = len(manifest.segments)
    plans = []
    for index, offer in offered(manifest):
        if point != AUTO and index != default.point.index:
            continue
        # Nothing travels from the last point.
        wanted = {Encoding.FLOAT32.value} if index == last else {AUTO, offer.value}
        if (offer.value if index == last else encoding) in wanted:
            plans.append(Plan(manifest, manifest.points[index], offer))
    return tuple(plans) or (default,)


def measure_options(
    chain: Chain,
    bundle: Bundle,
    plans: Sequence[Plan],
    *,
    may_compress: bool = True,
    clock: Callable[[], float] = time.perf_counter,
) -> tuple[Option, ...]:
    """Measure plans on the bundle's samples, and offer compression where it makes them smaller.

    Args:
        chain: Loaded, its heads merged.
        bundle: With the samples.
        plans: Uncompressed.
        may_compress: Whether the fog may be one of ours.
        clock: Seconds.
    """
    times = chain.measure(bundle, sorted({p.point.index for p in plans}), ROUNDS, clock)
    wanted = []
    for plan in plans:
        wanted.append(_Trial(plan))
        if may_compress and not plan.is_local:
            wanted.append(_Trial(Plan(plan.manifest, plan.point, plan.encoding, DEFLATE)))
    _run_trials([t for t in wanted if not t.plan.is_local], chain, bundle, clock)
    options = []
    plain_bytes = 0
    for trial in wanted:
        option = trial.option(times[trial.plan.point.index])
        if not option.plan.compression:
            plain_bytes = option.message_bytes
        elif option.message_bytes > WORTH_RATIO * plain_bytes:
            continue
        options.append(option)
    return tuple(options)


class _Trial:
    """Messages of a plan, made of samples."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._codec = None if plan.is_local else TailCodec(plan, NAME)
        self._encode_s: list[float] = []
        self._inflate_s: list[float] = []
        self._sizes: list[int] = []

    def run(self, activation: Tensors, clock: Callable[[], float]) -> None:
        """Make the message of an activation, and inflate what travels in it."""
        assert self._codec is not None, "nothing travels"
        start_s = clock()
        request = self._codec.request([Frame(10**6, 0, {})], activation, start_s, start_s + 1.0)
        self._encode_s.append(clock() - start_s)
        self._sizes.append(request.size)
        if not self.plan.compression:
            return
        tensors = read_request(request.content + bytes(request.body)).inputs
        sizes = [array.nbytes for array in self.plan.encode(activation)]
        start_s = clock()
        for tensor, size in zip(tensors, sizes, strict=True):
            decompress(tensor.content, size)
        self._inflate_s.append(clock() - start_s)

    def option(self, halves: Halves) -> Option:
        """Return what its messages have cost; what is run for the first time is not counted."""
        return Option(
            self.plan,
            halves.head_s,
            statistics.median(self._encode_s[1:] or [0.0]),
            round(statistics.fmean(self._sizes[1:] or [0])),
            halves.tail_s,
            statistics.median(self._inflate_s[1:] or [0.0]),
        )


def _run_trials(
    trials: Sequence[_Trial], chain: Chain, bundle: Bundle, clock: Callable[[], float]
) -> None:
    """Run all plans on each sample before the next.

    The same message twice in a row takes less time than any in use, where other work is between.
    """
    points = {t.plan.point.index for t in trials}
    rows = {k: _activations(chain, bundle, k) for k in points}
    samples = min((len(r) for r in rows.values()), default=0)
    for sample in [0, *range(samples)]:
        for trial in trials:
            trial.run(rows[trial.plan.point.index][sample], clock)


def _window(bundle: Bundle, index: int) -> Tensors:
    rows = slice(index, index + 1) if bundle.manifest.is_batchable else slice(None)
    return {name: array[rows] for name, array in bundle.samples.inputs.items()}


def _activations(chain: Chain, bundle: Bundle, point: int) -> list[Tensors]:
    """Return the activations of a few samples at a point."""
    count = 1
    if bundle.manifest.is_batchable:
        count = min(SAMPLES, len(next(iter(bundle.samples.inputs.values()))))
    return [chain.head(_window(bundle, i), point) for i in range(count)]
