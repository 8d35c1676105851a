"""The windows a run before this one left unanswered, given to the right tail in their order."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from edge_agent.agent import Agent
from edge_agent.config import Config
from edge_agent.link import FogLink
from edge_agent.loaded import Loaded
from edge_agent.meter import open_meter
from edge_agent.plan import Plan, choose_plan
from edge_agent.sources.frame import Frame
from edge_agent.spool_bundles import Bundles
from edge_agent.spool_entry import Entry, unpack
from edge_agent.spool_run import Storage
from edge_agent.stop import Stop
from edge_agent.trust import open_trust
from edge_agent.writer import Writer
from headtail.segment import Chain, SessionOptions, Tensors

READ_WINDOWS = 64
Key = tuple[str, int, str]
"""Digest, partition point and encoding of the plan an entry was made under."""


@dataclass(frozen=True, slots=True)
class Answerer:
    """An agent for one key; where it is not the run's own, it finishes everything on the edge."""

    agent: Agent
    plan: Plan
    link: FogLink | None


def answer_kept(
    storage: Storage, writer: Writer, batch: int, answerer: Callable[[Key], Answerer], stop: Stop
) -> None:
    """Begin every window that is kept, before the source's, or as many as there is time for.

    Args:
        storage: Where they are.
        writer: Begins at the first of them.
        batch: Windows of a message at most.
        answerer: Makes, and remembers, who answers the windows of a key.
        stop: Ends it early.

    Raises:
        HeadtailError: If a window or its bundle cannot be read, or the run became impossible.
    """
    expected = storage.first
    while entries := storage.unanswered(READ_WINDOWS, expected - 1):
        for key, group in groupby(entries, _key):
            who = answerer(key[:3])
            for some in _batches(list(group), who.plan.batch(batch)):
                if stop.is_set:
                    return
                if some[0].sequence != expected:  # the policy dropped those between
                    writer.jump(some[0].sequence)
                frames, activation = restore(some, who.plan, storage.where)
                who.agent.answer(frames, activation, who.link, who.plan)
                expected = some[-1].sequence + 1
    if expected != storage.start.sequence:
        writer.jump(storage.start.sequence)


class Answerers:
    """Finds who answers the windows of a key: the run's agent, or one for an older bundle."""

    def __init__(
        self,
        config: Config,
        loaded: Loaded,
        agent: Agent,
        link: FogLink | None,
        bundles: Bundles,
    ) -> None:
        """Begin with what runs; older bundles are loaded when a window needs them."""
        self._config = config
        self._loaded = loaded
        self._agent = agent
        # Where plans change, the fog in use answers those of all of them.
        plans = [o.plan for o in loaded.options if not o.plan.compression] or [loaded.plan]
        self._found = {
            (loaded.digest, p.point.index, p.encoding.value): Answerer(agent, p, link)
            for p in (*plans, loaded.plan)
        }
        self._bundles = bundles

    def __call__(self, key: Key) -> Answerer:
        """Return who answers a key.

        Raises:
            SpoolError: If the bundle is not there.
            HeadtailError: If it is not fit to run.
        """
        if key not in self._found:
            self._found[key] = self._make(*key)
        return self._found[key]

    def _make(self, digest: str, point: int, encoding: str) -> Answerer:
        config = self._config
        chain = self._loaded.chain
        if digest != self._loaded.digest:
            bundle = self._bundles.read(digest, open_trust(config.trust, config.key))
            chain = Chain(bundle, SessionOptions(threads=config.threads))
        plan = choose_plan(chain.manifest, str(point), encoding)
        meter = open_meter(plan.manifest, config.device_profile, config.link_profile)
        return Answerer(self._agent.other(chain, plan, meter, digest), plan, None)


def restore(entries: Sequence[Entry], plan: Plan, where: str) -> tuple[list[Frame], Tensors | None]:
    """Return the windows of entries of one kind, and the activation where that was kept.

    Raises:
        SpoolError: If an entry does not hold the plan's tensors.
    """
    tensors = [unpack(entry, plan, where) for entry in entries]
    is_activation = entries[0].is_activation
    frames = [
        Frame(e.sequence, e.sample, {} if is_activation else t, e.truth)
        for e, t in zip(entries, tensors, strict=True)
    ]
    if not is_activation:
        return frames, None
    if not plan.manifest.is_batchable:
        return frames, tensors[0]
    return frames, {name: np.stack([t[name] for t in tensors]) for name in tensors[0]}


def _key(entry: Entry) -> tuple[str, int, str, bool]:
    return entry.bundle, entry.point, entry.encoding, entry.is_activation


def _batches(entries: Sequence[Entry], limit: int) -> Iterator[Sequence[Entry]]:
    for start in range(0, len(entries), limit):
        yield entries[start : start + limit]
