"""Directives and how an agent stands, as the wire has them."""

import re
from collections.abc import Mapping

from edge_agent.update.directive import Directive, Report, Stage
from edge_agent.update.shadow_queue import Comparison
from edge_agent.update.tallies import BOUNDS_S, BundleTally
from edge_agent.update.updater import Updater
from headtail.bundle.manifest import VERSION_PATTERN, is_name
from headtail.fault import Fault
from headtail.v1 import control_pb2 as pb

DIGEST_PATTERN = r"[0-9a-f]{64}"
STATES = {
    Stage.FETCHING: pb.UPDATE_STATE_FETCHING,
    Stage.TESTING: pb.UPDATE_STATE_TESTING,
    Stage.TRIAL: pb.UPDATE_STATE_TRIAL,
    Stage.CONFIRMED: pb.UPDATE_STATE_DONE,
    Stage.FAILED: pb.UPDATE_STATE_FAILED,
    Stage.ROLLED_BACK: pb.UPDATE_STATE_ROLLED_BACK,
}
FAULTS = {
    Fault.NONE: pb.UPDATE_FAULT_UNSPECIFIED,
    Fault.LINK: pb.UPDATE_FAULT_LINK,
    Fault.STORAGE: pb.UPDATE_FAULT_STORAGE,
    Fault.BUNDLE: pb.UPDATE_FAULT_BUNDLE,
    Fault.SELF_TEST: pb.UPDATE_FAULT_SELF_TEST,
    Fault.FIRST_WINDOWS: pb.UPDATE_FAULT_FIRST_WINDOWS,
}


def decode_directive(message: pb.Directive) -> Directive | None:
    """Return what a fog asks for; None where no bundle can be called that.

    Digest and version become parts of files' names.
    """
    is_digest = re.fullmatch(DIGEST_PATTERN, message.digest)
    if not (is_digest and is_name(message.name) and re.match(VERSION_PATTERN, message.version)):
        return None
    return Directive(
        digest=message.digest,
        name=message.name,
        version=message.version,
        reason=" ".join(message.reason.split())[:300],
        size_bytes=message.size_bytes,
        attempt=message.attempt,
        is_rollback=message.is_rollback,
    )


def decode_comparison(message: pb.Directive) -> Comparison | None:
    """Return what a fog wants answers to be compared with; None where that is nothing."""
    directive, ratio = decode_directive(message), message.shadow_ratio
    is_digest = re.fullmatch(DIGEST_PATTERN, message.shadow_digest)
    if directive is None or not is_digest or not 0 < ratio <= 1:
        return None
    if message.shadow_digest == directive.digest:
        return None
    return Comparison(directive.digest, directive.name, message.shadow_digest, ratio)


def encode_status(
    status: pb.AgentStatus,
    updater: Updater,
    last: Report | None,
    tallies: Mapping[str, BundleTally],
) -> pb.AgentStatus:
    """Fill in what runs, the last update and the counts; return `status`.

    Args:
        status: With what never changes.
        updater: Knows what runs.
        last: The last report of an update; None: there was none since the run began.
        tallies: By digest.
    """
    state = updater.state
    status.name = state.current.name
    status.digest = updater.rotation.active.loaded.digest
    if state.previous is not None:
        status.previous_digest = state.previous.digest
    if last is not None:
        status.state = STATES[last.stage]
        status.target_digest = last.directive.digest
        status.fault = FAULTS[last.fault]
        status.reason = last.reason[:300]
    for digest, tally in tallies.items():
        status.tallies.append(
            pb.Tally(
                digest=digest,
                windows=tally.windows,
                failed=tally.failed,
                fallback=tally.fallback,
                energy_j=tally.energy_j,
                latency_s=tally.latency_s,
                latency_bounds_s=BOUNDS_S,
                latency_counts=tally.latency_counts,
                shadows=[
                    pb.Shadow(digest=other, windows=windows, agreed=agreed)
                    for other, (windows, agreed) in tally.shadows.items()
                ],
            )
        )
    return status
