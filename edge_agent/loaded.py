"""A bundle that is ready to run: checked, tested, its plan chosen."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from edge_agent.plan import Plan, choose_plan
from headtail.bundle import Bundle
from headtail.segment import Chain, SessionOptions

if TYPE_CHECKING:  # imported only where plans are chosen
    from edge_agent.partition.offer import Option

WARM_RUNS = 5
LEAST_SHARE = 0.1
"""Of another head's time, below which one says nothing of it."""


class Loaded(NamedTuple):
    """What runs; the bundle's own bytes are let go of."""

    plan: Plan
    """In use first, or for ever."""
    chain: Chain
    digest: str
    options: "tuple[Option, ...]" = ()
    """What may be chosen from while it runs, the plan among them; none where that is fixed."""

    def first_head_s(self, point: int, head_s: float) -> float:
        """Return what the head of the plan in use first would have taken, from another one's time.

        Where that other head is too short to tell, it is what it took at load.

        Args:
            point: Partition point of the head that ran.
            head_s: What it took, in seconds.
        """
        if point == self.plan.point.index or not self.options:
            return head_s
        heads_s = {o.plan.point.index: o.head_s for o in self.options}
        first_s, ran_s = heads_s.get(self.plan.point.index, head_s), heads_s.get(point, 0.0)
        return first_s if ran_s < LEAST_SHARE * first_s else head_s * first_s / ran_s

    @property
    def needs_fog(self) -> bool:
        """Whether any of its plans sends something."""
        plans = [o.plan for o in self.options] or [self.plan]
        return not all(plan.is_local for plan in plans)


def load_bundle(
    bundle: Bundle, plan: tuple[str, str], threads: int, *, is_live: bool = False
) -> Loaded:
    """Choose the plan, load the segments, test them, and merge them where that is faster.

    Args:
        bundle: Read.
        plan: Partition point and encoding, as in the configuration.
        threads: Of one onnxruntime operator.
        is_live: Whether to make ready and measure every plan that these two leave open.

    Raises:
        ConfigError: If the bundle does not offer that point or encoding.
        BundleError: If it cannot be loaded, or fails its self-test.
    """
    chosen = choose_plan(bundle.manifest, *plan)
    chain = Chain(bundle, SessionOptions(threads=threads))
    chain.self_test(bundle)
    middle, last = chosen.point.index, len(bundle.segments)
    chain.merge(bundle, [(0, middle), (middle, last)])
    if not is_live:
        return Loaded(chosen, chain, bundle.digest)
    from edge_agent.partition.offer import measure_options, offered_plans

    plans = offered_plans(bundle.manifest, *plan)
    points = sorted({p.point.index for p in plans})
    # Heads run for every window, the whole for those that are finished here; tails rarely.
    chain.merge(bundle, [(0, last), *((0, point) for point in points)])
    return Loaded(chosen, chain, bundle.digest, measure_options(chain, bundle, plans))


def warm_up(
    loaded: Loaded, bundle: Bundle, clock: Callable[[], float] = time.perf_counter
) -> float:
    """Run one window through head and tail a few times; return the least time of the head.

    The first run of a shape costs more than those after it, and windows mostly come one by one.
    """
    plan, chain = loaded.plan, loaded.chain
    first = slice(1) if plan.manifest.is_batchable else slice(None)
    one = {name: array[first] for name, array in bundle.samples.inputs.items()}
    heads_s = []
    for _ in range(WARM_RUNS):
        start_s = clock()
        activation = chain.head(one, plan.point.index)
        heads_s.append(clock() - start_s)
        chain.tail(activation, plan.point.index)
    return min(heads_s)
