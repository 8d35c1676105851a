"""Rollouts as messages, and messages as reports, rules and orders."""

from collections.abc import Sequence

import msgspec

from fog_server.rollout.agents import Directive
from fog_server.rollout.assignment import runs_canary
from fog_server.rollout.judge import Comparison, Judgement, Verdict
from fog_server.rollout.measurements import MOST, Agent, Counts, Report, UpdateState
from fog_server.rollout.rules import Rules
from fog_server.rollout.state import Canary, Entry, Event, Model, State
from headtail.errors import RequestInvalid
from headtail.fault import Fault
from headtail.v1 import control_pb2 as pb

MAX_TEXT = 300
MAX_TALLIES = 64
_STATES = {
    State.CANDIDATE: pb.BUNDLE_STATE_CANDIDATE,
    State.CANARY: pb.BUNDLE_STATE_CANARY,
    State.ACTIVE: pb.BUNDLE_STATE_ACTIVE,
    State.RETIRED: pb.BUNDLE_STATE_RETIRED,
}
_VERDICTS = {
    Verdict.BAKING: pb.VERDICT_BAKING,
    Verdict.PASSED: pb.VERDICT_PASSED,
    Verdict.FAILED: pb.VERDICT_FAILED,
}
# Enum members in the order of their numbers on the wire.
_UPDATE_STATES = tuple(UpdateState)
_FAULTS = tuple(Fault)


def info(model: Model, entry: Entry) -> pb.BundleInfo:
    """Return what a bundle is and where it stands."""
    return pb.BundleInfo(
        name=model.name,
        version=entry.version,
        digest=entry.digest,
        size_bytes=entry.size_bytes,
        state=_STATES[entry.state],
        is_rollback=entry.state is State.ACTIVE and model.is_rollback(entry),
    )


def directive_message(directive: Directive, report_s: float) -> pb.Directive:
    """Return a directive; `report_s` is how often the agent is to report."""
    entry = directive.entry
    return pb.Directive(
        name=directive.name,
        version=entry.version,
        digest=entry.digest,
        size_bytes=entry.size_bytes,
        role=pb.ROLE_CANARY if directive.is_canary else pb.ROLE_ACTIVE,
        reason=directive.reason,
        generation=directive.generation,
        attempt=entry.attempt,
        is_rollback=directive.is_rollback,
        shadow_digest=directive.shadow_digest,
        shadow_ratio=directive.shadow_ratio,
        report_interval_s=report_s,
    )


def read_report(status: pb.AgentStatus, agent: str) -> Report:
    """Return what an agent, of that name, says.

    Raises:
        RequestInvalid: If it says too much, or what cannot be.
    """
    if len(status.tallies) > MAX_TALLIES:
        raise RequestInvalid("status", f"expected at most {MAX_TALLIES} tallies")
    texts = (status.name, status.digest, status.previous_digest, status.target_digest,
             status.run_id, status.device_profile)  # fmt: skip
    if max(map(len, texts)) > MAX_TEXT:
        raise RequestInvalid("status", f"expected texts of at most {MAX_TEXT} characters")
    state, fault = int(status.state), int(status.fault)
    if not (0 <= state < len(_UPDATE_STATES) and 0 <= fault < len(_FAULTS)):
        raise RequestInvalid("status", f"unknown state {state} or fault {fault}")
    return Report(
        agent=agent,
        name=status.name,
        digest=status.digest,
        previous_digest=status.previous_digest,
        state=_UPDATE_STATES[state],
        target_digest=status.target_digest,
        fault=_FAULTS[fault],
        reason=" ".join(status.reason.split())[:MAX_TEXT],
        generation=status.generation,
        run_id=status.run_id,
        device_profile=status.device_profile,
        tallies={tally.digest[:64]: _counts(tally) for tally in status.tallies},
    )


def read_rules(message: pb.CanaryRules, defaults: Rules) -> Rules:
    """Return the rules of a request, with the fog's own where it says nothing.

    Raises:
        RequestInvalid: If one is out of its range.
    """
    given = {field.name: value for field, value in message.ListFields()}
    values = msgspec.structs.asdict(defaults) | given
    try:
        return msgspec.convert(values, Rules)
    except msgspec.ValidationError as error:
        raise RequestInvalid("rules", str(error)) from error


def rollout_message(
    model: Model,
    agents: Sequence[Agent],
    judgement: Judgement | None,
    *,
    with_agents: bool,
) -> pb.Rollout:
    """Return everything about one model; `agents` are those heard of lately."""
    running = [agent.report.digest for agent in agents]
    return pb.Rollout(
        name=model.name,
        generation=model.generation,
        bundles=[
            pb.BundleRecord(
                bundle=info(model, entry),
                changed_at_s=entry.changed_at_s,
                reason=entry.reason,
                changed_by=entry.changed_by,
                agents=running.count(entry.digest),
                is_stored=entry.is_stored,
                is_previous=entry.digest == model.previous,
            )
            for entry in model.bundles
        ],
        canary=None if model.canary is None else _canary(model, model.canary, judgement, agents),
        events=[_event(event) for event in model.events],
        agents=[_agent(model, agent) for agent in agents] if with_agents else [],
    )


def _canary(
    model: Model, canary: Canary, judgement: Judgement | None, agents: Sequence[Agent]
) -> pb.Canary:
    entry = model.entry(canary.digest)
    assert entry is not None
    names = [agent.report.agent for agent in agents if runs_canary(canary, agent.report.agent)]
    message = pb.Canary(
        bundle=info(model, entry),
        started_at_s=canary.started_at_s,
        rules=pb.CanaryRules(**msgspec.structs.asdict(canary.rules)),
        agents=names,
    )
    if judgement is not None:
        message.verdict = _VERDICTS[judgement.verdict]
        message.reason = judgement.reason
        message.windows = judgement.windows
        message.active_windows = judgement.active_windows
        message.comparisons.extend(map(_comparison, judgement.comparisons))
    return message


def _comparison(comparison: Comparison) -> pb.Comparison:
    return pb.Comparison(
        what=comparison.what,
        active=comparison.active,
        canary=comparison.canary,
        limit=comparison.limit,
        verdict=_VERDICTS[comparison.verdict],
    )


def _event(event: Event) -> pb.Event:
    return pb.Event(
        generation=event.generation,
        at_s=event.at_s,
        action=event.action,
        version=event.version,
        digest=event.digest,
        before=_STATES[event.before] if event.before else pb.BUNDLE_STATE_UNSPECIFIED,
        after=_STATES[event.after] if event.after else pb.BUNDLE_STATE_UNSPECIFIED,
        by=event.by,
        reason=event.reason,
    )


def _agent(model: Model, agent: Agent) -> pb.AgentRecord:
    report = agent.report
    is_canary = model.canary is not None and runs_canary(model.canary, report.agent)
    return pb.AgentRecord(
        status=pb.AgentStatus(
            agent=report.agent,
            name=report.name,
            digest=report.digest,
            previous_digest=report.previous_digest,
            state=pb.UpdateState.ValueType(_UPDATE_STATES.index(report.state)),
            target_digest=report.target_digest,
            fault=pb.UpdateFault.ValueType(_FAULTS.index(report.fault)),
            reason=report.reason,
            generation=report.generation,
            run_id=report.run_id,
            device_profile=report.device_profile,
            tallies=[_tally(digest, counts) for digest, counts in report.tallies.items()],
        ),
        role=pb.ROLE_CANARY if is_canary else pb.ROLE_ACTIVE,
        heard_at_s=agent.heard_at_s,
    )


def _tally(digest: str, counts: Counts) -> pb.Tally:
    """Return what is kept of an agent's counts: of other bundles only their sum."""
    shadow = pb.Shadow(windows=counts.shadowed, agreed=counts.agreed)
    return pb.Tally(
        digest=digest,
        windows=counts.windows,
        failed=counts.failed,
        fallback=counts.fallback,
        energy_j=counts.energy_j,
        latency_s=counts.latency_s,
        shadows=[shadow] if counts.shadowed else [],
    )


def _counts(tally: pb.Tally) -> Counts:
    counts = Counts(
        windows=tally.windows,
        failed=tally.failed,
        fallback=tally.fallback,
        energy_j=tally.energy_j,
        latency_s=tally.latency_s,
        shadowed=sum(shadow.windows for shadow in tally.shadows),
        agreed=sum(shadow.agreed for shadow in tally.shadows),
    )
    if not all(0 <= amount <= MOST for amount in msgspec.structs.astuple(counts)):
        raise RequestInvalid("tally", f"expected numbers from 0 to {MOST}")
    return counts
