"""Rollouts as people and scripts read them."""

from collections.abc import Iterator
from typing import Any

from google.protobuf.message import Message

from headtail.v1 import control_pb2 as pb

MAX_EVENTS = 5
_SHORT = 12


def as_dict(message: Message) -> dict[str, Any]:
    """Return a message as plain values: every field, enums as their lower-case words.

    Protobuf's own JSON writes 64-bit numbers as strings.
    """
    return {field.name: _field(message, field) for field in message.DESCRIPTOR.fields}


def rollout_text(rollout: pb.Rollout) -> str:
    """Return how a model stands, a line for each thing."""
    return "\n".join(_lines(rollout))


def published_text(answer: pb.PublishBundleResponse) -> str:
    """Return what became of a publication."""
    bundle = answer.bundle
    what = f"{bundle.name} {bundle.version} ({bundle.digest[:_SHORT]})"
    state = _word(bundle, "state")
    if not answer.is_new:
        return f"{what} was here already: {state}"
    return f"{what} is a {state}, self-test error {answer.self_test_error:.1e}"


def _lines(rollout: pb.Rollout) -> Iterator[str]:
    yield f"{rollout.name}, generation {rollout.generation}"
    for record in rollout.bundles:
        bundle = record.bundle
        notes = [f"{record.agents} agents"] if record.agents else []
        notes += ["previous"] if record.is_previous else []
        notes += [] if record.is_stored else ["removed"]
        state = _word(bundle, "state")
        line = f"  {bundle.version:<10} {state:<10} {bundle.digest[:_SHORT]}  {', '.join(notes)}"
        yield line.rstrip()
    if rollout.HasField("canary"):
        yield from _canary(rollout.canary)
    for agent in rollout.agents:
        status = agent.status
        role, update = _word(agent, "role"), _word(status, "state")
        update += f": {status.reason}" if status.reason else ""
        compared = "".join(
            f", agreed on {shadow.agreed} of {shadow.windows} shadowed windows"
            for tally in status.tallies
            for shadow in tally.shadows
            if tally.digest == status.digest
        )
        runs = f"{status.digest[:_SHORT]} ({role})"
        yield f"  agent {status.agent} runs {runs}, update {update}{compared}"
    for event in rollout.events[:MAX_EVENTS]:
        reason = f": {event.reason}" if event.reason else ""
        yield f"  {event.generation}. {event.action} {event.version} by {event.by}{reason}"


def _canary(canary: pb.Canary) -> Iterator[str]:
    share = canary.rules.share_ratio
    yield (
        f"  canary {canary.bundle.version}: {_word(canary, 'verdict')}, {canary.reason};"
        f" {share:.4g} of the agents: {', '.join(canary.agents) or 'none yet'}"
    )
    for comparison in canary.comparisons:
        active = f"{comparison.active:.4g}" if comparison.HasField("active") else "-"
        found = f"{comparison.canary:.4g}" if comparison.HasField("canary") else "-"
        verdict = _word(comparison, "verdict")
        yield (
            f"    {comparison.what:<12} active {active:<10} canary {found:<10}"
            f" limit {comparison.limit:<10.4g} {verdict}"
        )


def _field(message: Message, field: Any) -> Any:
    value = getattr(message, field.name)
    if field.is_repeated:
        return [_value(field, item) for item in value]
    if field.has_presence and not message.HasField(field.name):
        return None
    return _value(field, value)


def _value(field: Any, value: Any) -> Any:
    if field.message_type is not None:
        return as_dict(value)
    if field.enum_type is not None:
        return _enum_word(field, value)
    return value


def _word(message: Message, name: str) -> str:
    return _enum_word(message.DESCRIPTOR.fields_by_name[name], getattr(message, name))


def _enum_word(field: Any, number: int) -> str:
    """Return `rolled_back` for UPDATE_STATE_ROLLED_BACK, and `none` for what is unspecified."""
    enum = field.enum_type
    assert enum is not None
    prefix = enum.values_by_number[0].name.removesuffix("UNSPECIFIED")
    found = enum.values_by_number.get(number)
    word = str(number) if found is None else found.name.removeprefix(prefix).lower()
    return "none" if word == "unspecified" else word
