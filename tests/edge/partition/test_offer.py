"""What is on offer to a run, and what its messages cost."""

import itertools
import time

import pytest

from edge_agent.partition.offer import SAMPLES, WORTH_RATIO, measure_options, offered_plans
from edge_agent.plan import AUTO
from edge_agent.sources.frame import Frame
from edge_agent.tail_codec import TailCodec
from headtail.bundle import Bundle
from headtail.compression import DEFLATE
from headtail.segment import Chain

TICK_S = 0.25
"""Between two looks at the clock."""


@pytest.fixture(scope="module")
def chain(bundle: Bundle) -> Chain:
    """Return the bundle's segments, loaded."""
    return Chain(bundle)


def test_every_plan_that_travels_is_measured(bundle: Bundle, chain: Chain) -> None:
    """Between two looks lies one message made, or one inflated where it is compressed."""
    plans = offered_plans(bundle.manifest, AUTO, AUTO)
    clock = itertools.count(0.0, TICK_S).__next__
    options = measure_options(chain, bundle, plans, clock=clock)
    assert [p.key for p in plans] == [o.plan.key for o in options if not o.plan.compression]
    for option in options:
        is_sent, is_small = not option.plan.is_local, option.plan.compression == DEFLATE
        assert (TICK_S * is_sent, TICK_S * is_small) == (option.encode_s, option.inflate_s)
        assert (option.message_bytes > 0) == is_sent


def test_sizes_are_those_of_messages(bundle: Bundle, chain: Chain) -> None:
    """Means of the samples' own, and compression is on offer where it leaves little."""
    options = measure_options(chain, bundle, offered_plans(bundle.manifest, AUTO, AUTO))
    plain = {o.plan.key[:2]: o.message_bytes for o in options if not o.plan.compression}
    inputs, now_s = bundle.samples.inputs, time.perf_counter()
    for option in options:
        if option.plan.is_local:
            continue
        codec = TailCodec(option.plan, "a" * 8)
        sizes = []
        for i in range(SAMPLES):
            row = {name: array[i : i + 1] for name, array in inputs.items()}
            activation = chain.head(row, option.plan.point.index)
            sizes.append(codec.request([Frame(10**6, 0, {})], activation, now_s, now_s + 1.0).size)
        assert option.message_bytes == pytest.approx(sum(sizes) / SAMPLES, abs=2)
        if option.plan.compression:
            assert option.message_bytes <= WORTH_RATIO * plain[option.plan.key[:2]]


def test_no_compression_for_a_fog_that_is_not_ours(bundle: Bundle, chain: Chain) -> None:
    plans = offered_plans(bundle.manifest, AUTO, AUTO)
    options = measure_options(chain, bundle, plans, may_compress=False)
    assert [p.key for p in plans] == [o.plan.key for o in options]
