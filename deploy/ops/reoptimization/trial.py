"""A bundle's way at the fog: published, put on trial, judged.

Each step first looks whether it is done, so that who comes second, or again after a kill at any
moment, joins where things stand.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headtail.v1 import control_pb2 as pb
from reoptimization.fog import Fog, NotNow
from reoptimization.narrator import Teller
from reoptimization.outcome import Code, Stopped
from reoptimization.patience import Patience
from reoptimization.standing import active_of, canary_event, record_of

POLL_S = 1.0
MOST_CHANGES = 20
"""Changes of others that are stepped around before one gives up."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a bundle."""

    rollout: pb.Rollout
    end: pb.Event
    """Its promotion, or how it was taken back."""
    canary: pb.Canary | None
    """As last seen; None where it was over before anybody looked."""


class Trial:
    """The trial of one bundle against the one that was active when it was asked for."""

    def __init__(
        self, fog: Fog, narrator: Teller, patience: Patience, digest: str, active: str
    ) -> None:
        """Take the bundle's digest, and that of the active one."""
        self._fog = fog
        self._narrator = narrator
        self._patience = patience
        self._digest = digest
        self._active = active

    def publish(self, path: Path, reason: str) -> None:
        """Make it a candidate.

        Raises:
            Stopped: If another change came first, or the fog refuses it.
        """
        self._check_unchanged(self._fog.model())
        try:
            answer = self._fog.publish(path, reason)
        except NotNow as refused:
            self._check_unchanged(self._fog.model())
            raise Stopped(Code.SUPERSEDED, f"another change came first: {refused}") from None
        bundle, how = answer.bundle, "is published" if answer.is_new else "was published already"
        self._narrator.say(f"{bundle.version} ({self._digest[:12]}) {how}")

    def start(self, rules: Mapping[str, Any], reason: str) -> None:
        """Put it on trial, unless it is or was.

        Raises:
            Stopped: If another change came first, or the fog refuses it.
        """
        refused: NotNow | None = None
        for _ in range(MOST_CHANGES):
            rollout = self._fog.model()
            if self._is_begun(rollout):
                return
            if refused is not None and refused.code is Code.REFUSED:
                raise refused
            try:
                begun = self._fog.start_canary(self._digest, rollout.generation, rules, reason)
            except NotNow as error:
                refused = error
                continue
            if begun is not None:
                self._narrator.say(f"on trial, {rules_text(rules)}")
                return
            self._patience.wait(POLL_S)  # the fog went away and may have done it
        raise Stopped(Code.SUPERSEDED, "others keep changing the model")

    def verdict(self) -> Verdict:
        """Wait until it is promoted or taken back; the fog may go away meanwhile.

        Raises:
            Stopped: If that is not in time.
        """
        canary: pb.Canary | None = None
        with self._narrator.waiting() as show:
            while True:
                is_last = not self._patience.left_s
                rollout = self._fog.look()
                if rollout is None:
                    show("the fog is away; the trial goes on with it")
                elif (end := _ended(rollout, self._digest)) is not None:
                    return Verdict(rollout, end, canary)
                elif rollout.HasField("canary"):
                    canary = rollout.canary
                    show(_trial_text(canary))
                if is_last and rollout is None:
                    raise Stopped(Code.AWAY, "the fog is away")
                if is_last:
                    text = "no verdict in time; the trial goes on, and the same command joins it"
                    raise Stopped(Code.LATE, text)
                self._patience.wait(POLL_S)

    def _is_begun(self, rollout: pb.Rollout) -> bool:
        self._check_unchanged(rollout)
        record = record_of(rollout, self._digest)
        if record is None or not record.is_stored:
            raise Stopped(Code.SUPERSEDED, "somebody has removed the bundle meanwhile")
        state, version = record.bundle.state, record.bundle.version
        if state in (pb.BUNDLE_STATE_CANARY, pb.BUNDLE_STATE_ACTIVE):
            how = "on trial" if state == pb.BUNDLE_STATE_CANARY else "active"
            self._narrator.say(f"{version} is {how} already")
            return True
        # Tried meanwhile: its verdict stands.
        return state == pb.BUNDLE_STATE_RETIRED and canary_event(rollout, self._digest) is not None

    def _check_unchanged(self, rollout: pb.Rollout) -> None:
        active = active_of(rollout)
        if active is None or active.bundle.digest not in (self._active, self._digest):
            version = active.bundle.version if active else "nothing"
            raise Stopped(Code.SUPERSEDED, f"another change came first: {version} is active now")
        if rollout.HasField("canary") and rollout.canary.bundle.digest != self._digest:
            version = rollout.canary.bundle.version
            raise Stopped(Code.SUPERSEDED, f"another change came first: {version} is on trial")


def rules_text(rules: Mapping[str, Any]) -> str:
    """Return the rules of a trial in words."""
    told = [
        f"{key} {str(value).lower() if isinstance(value, bool) else format(value, 'g')}"
        for key, value in sorted(rules.items())
    ]
    return ", ".join(told) or "by the fog's own rules"


def _ended(rollout: pb.Rollout, digest: str) -> pb.Event | None:
    """Return what ended the last trial of a bundle; None while it goes on."""
    for event in rollout.events:
        if event.digest != digest:
            continue
        if event.action in ("promote", "roll_back"):
            return event
        if event.action == "canary":
            return None
    return None


def _trial_text(canary: pb.Canary) -> str:
    over = [c.what for c in canary.comparisons if c.verdict == pb.VERDICT_FAILED]
    text = f"{canary.bundle.version} on trial: {canary.reason}"
    return f"{text}; over its limit: {', '.join(over)}" if over else text
