"""How a model stands at the fog, and what follows from it for the next bundle."""

from collections.abc import Iterator
from dataclasses import dataclass

from headtail.bundle.manifest import version_key
from headtail.v1 import control_pb2 as pb
from reoptimization.outcome import Code, Stopped
from reoptimization.request import Request

MAX_REASON = 200
"""Characters of a reason that go into a fog's events, so that the marks after it fit."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What a request begins from."""

    version: str
    digest: str
    """Of the active bundle."""
    agents: int
    """That run it."""
    next_version: str
    """Of the bundle to be made."""
    tag: str


def stand(rollout: pb.Rollout, request: Request) -> Standing:
    """Return what a request begins from.

    Raises:
        Stopped: If no bundle is active, or another one is on trial.
    """
    active = active_of(rollout)
    if active is None:
        raise Stopped(
            Code.REFUSED, f"model '{rollout.name}': no bundle is active; promote a first one"
        )
    tag = request.tag(active.bundle.digest)
    newer = [
        record.bundle.version
        for record in rollout.bundles
        if record.bundle.state in (pb.BUNDLE_STATE_CANDIDATE, pb.BUNDLE_STATE_CANARY)
        and version_key(record.bundle.version) > version_key(active.bundle.version)
        and record.is_stored
        and marks(record.reason).tag == tag
    ]
    if rollout.HasField("canary") and rollout.canary.bundle.version not in newer:
        raise Stopped(
            Code.SUPERSEDED,
            f"model '{rollout.name}': {rollout.canary.bundle.version} is on trial already",
        )
    return Standing(
        active.bundle.version,
        active.bundle.digest,
        active.agents,
        newer[-1] if newer else _after(r.bundle.version for r in rollout.bundles),
        tag,
    )


def active_of(rollout: pb.Rollout) -> pb.BundleRecord | None:
    """Return the active bundle."""
    records = (r for r in rollout.bundles if r.bundle.state == pb.BUNDLE_STATE_ACTIVE)
    return next(records, None)


def record_of(rollout: pb.Rollout, digest: str) -> pb.BundleRecord | None:
    """Return what the fog knows of a bundle."""
    return next((r for r in rollout.bundles if r.bundle.digest == digest), None)


def canary_event(rollout: pb.Rollout, digest: str) -> pb.Event | None:
    """Return the beginning of a bundle's last trial."""
    events = (e for e in rollout.events if e.digest == digest and e.action == "canary")
    return next(events, None)


def trial_since(rollout: pb.Rollout, request: Request) -> pb.Event | None:
    """Return the beginning of a trial of this very wish, not longer ago than was asked for."""
    if request.since_s is None:
        return None
    tags = {request.tag(record.bundle.digest) for record in rollout.bundles}
    for event in rollout.events:
        is_ours = event.action == "canary" and marks(event.reason).tag in tags
        if is_ours and event.at_s >= request.since_s:
            return event
    return None


@dataclass(frozen=True, slots=True)
class Marks:
    """What a request leaves in the reasons that a fog keeps."""

    tag: str = ""
    """Of the request."""
    essence: str = ""
    """Of the bundle: what it does, whatever it is called."""


def marked(reason: str, tag: str, essence: str) -> str:
    """Return a reason with marks."""
    short = " ".join(reason.split())[:MAX_REASON]
    return f"{short} [reoptimize {tag} {essence}]".lstrip()


def marks(reason: str) -> Marks:
    """Return the marks of a reason; empty ones where it has none."""
    words = reason.rpartition("[reoptimize ")[2].removesuffix("]").split()
    is_marked = "[reoptimize " in reason and reason.endswith("]") and len(words) == 2
    return Marks(*words) if is_marked else Marks()


def _after(versions: Iterator[str]) -> str:
    """Return the version after the largest: its last number plus one."""
    *first, last = max(versions, key=version_key).split(".")
    return ".".join([*first, str(int(last) + 1)])
