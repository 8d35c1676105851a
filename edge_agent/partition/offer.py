"""The plans among which a run may choose, and what each costs on this device at its quickest."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edge_agent.plan import AUTO, Plan, choose_plan
from edge_agent.sources.frame import Frame
from edge_agent.tail_codec import TailCodec
from headtail.bundle import Bundle, Manifest
from headtail.bundle.offers import offered
from headtail.compression import DEFLATE
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
    options = []
    rows: dict[int, list[Tensors]] = {}
    for plan in plans:
        point = times[plan.point.index]
        if plan.is_local:
            options.append(Option(plan, point.head_s, 0.0, 0, point.tail_s))
            continue
        index = plan.point.index
        if index not in rows:
            rows[index] = _activations(chain, bundle, index)
        plain_s, plain_bytes = _encoded(plan, rows[index], clock)
        options.append(Option(plan, point.head_s, plain_s, plain_bytes, point.tail_s))
        if may_compress:
            small = Plan(plan.manifest, plan.point, plan.encoding, DEFLATE)
            small_s, small_bytes = _encoded(small, rows[index], clock)
            if small_bytes <= WORTH_RATIO * plain_bytes:
                options.append(Option(small, point.head_s, small_s, small_bytes, point.tail_s))
    return tuple(options)


def _window(bundle: Bundle, index: int) -> Tensors:
    rows = slice(index, index + 1) if bundle.manifest.is_batchable else slice(None)
    return {name: array[rows] for name, array in bundle.samples.inputs.items()}


def _activations(chain: Chain, bundle: Bundle, point: int) -> list[Tensors]:
    """Return the activations of a few samples at a point."""
    count = 1
    if bundle.manifest.is_batchable:
        count = min(SAMPLES, len(next(iter(bundle.samples.inputs.values()))))
    return [chain.head(_window(bundle, i), point) for i in range(count)]


def _encoded(
    plan: Plan, activations: Sequence[Tensors], clock: Callable[[], float]
) -> tuple[float, int]:
    """Return the least time and the mean size of the samples' messages."""
    codec = TailCodec(plan, NAME)
    frame = Frame(10**6, 0, {})
    times_s, sizes = [], []
    for activation in [activations[0], *activations]:
        start_s = clock()
        request = codec.request([frame], activation, start_s, start_s + 1.0)
        times_s.append(clock() - start_s)
        sizes.append(request.size)
    return min(times_s), round(sum(sizes[1:]) / len(activations))
