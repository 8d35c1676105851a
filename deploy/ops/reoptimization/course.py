"""The course of a request: look, job, bundle, publication, trial, verdict.

Each step first looks whether it is done, so that who comes second, or again after a kill at any
moment, joins where things stand.
"""

import json
import tempfile
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from fog_server.rollout.text import as_dict
from headtail.bundle.manifest import Manifest
from headtail.errors import BundleError
from headtail.v1 import control_pb2 as pb
from optimizer.serve.job import Job, State
from reoptimization.essence import essence, read_manifest
from reoptimization.fog import Fog, NotNow
from reoptimization.jobs import Jobs
from reoptimization.narrator import Narrator
from reoptimization.outcome import Code, Outcome, Stopped, stopped_outcome
from reoptimization.patience import Patience
from reoptimization.request import Request
from reoptimization.standing import (
    Standing,
    active_of,
    canary_event,
    marked,
    marks,
    record_of,
    stand,
    trial_since,
)
from reoptimization.why import Why, offer_of

POLL_S = 1.0
_TRIES = 20
"""Changes of others that are stepped around before one gives up."""


class Course:
    """One request from its beginning to its outcome."""

    def __init__(
        self, request: Request, narrator: Narrator, patience: Patience | None = None
    ) -> None:
        """Connect when the first call is made.

        Raises:
            ConfigError: If a file of TLS is not usable.
        """
        self._request = request
        self._narrator = narrator
        self._patience = patience or Patience(request.timeout_s, narrator.say)
        self._fog = Fog(request, self._patience)
        self._jobs = Jobs(request, self._patience)
        self._facts: dict[str, Any] = {"model": request.model}

    def run(self) -> Outcome:
        """Do everything; return what became of it."""
        with closing(self._fog), closing(self._jobs), tempfile.TemporaryDirectory() as folder:
            try:
                return self._run(Path(folder))
            except Stopped as stopped:
                return stopped_outcome(stopped, self._facts)

    def _run(self, folder: Path) -> Outcome:
        rollout = self._fog.model()
        begun = trial_since(rollout, self._request)
        if begun is not None:
            self._say(f"{self._request.model} {begun.version} was put on trial by this request")
            return self._verdict(begun.digest, None)
        standing = stand(rollout, self._request)
        self._say(
            f"{self._request.model} {standing.version} ({standing.digest[:12]}) is active,"
            f" {standing.agents} agents; the next is {standing.next_version}"
        )
        self._facts |= {
            "active": {"version": standing.version, "digest": standing.digest},
            "version": standing.next_version,
        }
        if self._request.is_dry:
            return self._dry_run(standing)
        job = self._job(standing)
        return self._try(_Made(standing, job, folder), folder)

    def _dry_run(self, standing: Standing) -> Outcome:
        self._jobs.check()
        ends, rules = self._request.ends, self._request.rules
        self._say(f"would send the recipe to optimizer {ends.optimizer}")
        self._say(
            f"would publish {standing.next_version} and put it on trial: {_rules_text(rules)}"
        )
        return Outcome(Code.DONE, "would_run", "nothing was changed", self._facts)

    def _job(self, standing: Standing) -> Job:
        job, is_known = self._jobs.submit(standing.digest, standing.next_version)
        self._say(f"job {job.id}: {'joined, it is ' if is_known else ''}{job.state.value}")
        with self._narrator.following() as show:
            for found, _ in self._jobs.follow(job.id):
                job = found
                show(job)
        self._facts["job"] = {"id": job.id, "state": job.state.value, "error": job.error}
        if job.state is not State.SUCCEEDED or job.result is None:
            raise Stopped(Code.JOB_FAILED, f"job {job.id}: {job.state.value}: {job.error}")
        self._say(f"job {job.id}: {job.result.bundle} ({job.result.digest[:12]})")
        return job

    def _try(self, made: "_Made", folder: Path) -> Outcome:
        path = self._jobs.fetch(made.job.id, "bundle", folder)
        report = _read_report(self._jobs.fetch(made.job.id, "report.json", folder))
        try:
            manifest, digest = read_manifest(path)
        except BundleError as error:
            raise Stopped(Code.INVALID, str(error)) from None
        mark = essence(manifest)
        self._facts["bundle"] = {
            "version": manifest.version, "digest": digest, "essence": mark,
        }  # fmt: skip
        rollout = self._fog.model()
        old = self._active_manifest(rollout, made.standing, folder)
        why = Why(offer_of(manifest), None if old is None else offer_of(old), _field_lines(report))
        if old is not None and essence(old) == mark and made.standing.digest != digest:
            self._tell(why)
            text = (
                f"nothing better found: {manifest.version} would be {made.standing.version} again"
            )
            return Outcome(Code.DONE, "nothing_better", text, self._facts)
        if not self._request.retries and record_of(rollout, digest) is None:
            self._check_not_rolled_back(rollout, mark)
        reason = marked(self._request.reason, made.standing.tag, mark)
        self._publish(path, digest, made.standing, reason)
        self._start(digest, made.standing, reason)
        return self._verdict(digest, why)

    def _active_manifest(
        self, rollout: pb.Rollout, standing: Standing, folder: Path
    ) -> Manifest | None:
        """Return what the bundle that the request began from says of itself; None without right."""
        try:
            path = folder / "active.bundle"
            self._fog.fetch(standing.digest, path)
            return read_manifest(path)[0]
        except Stopped as stopped:
            if stopped.code is Code.AWAY:
                raise
            self._say(f"what is active cannot be compared: {stopped}")
        except BundleError as error:
            self._say(f"what is active cannot be compared: {error}")
        return None

    def _check_not_rolled_back(self, rollout: pb.Rollout, mark: str) -> None:
        tried = {e.digest for e in rollout.events if marks(e.reason).essence == mark}
        for event in rollout.events:
            if event.action == "roll_back" and event.digest in tried:
                raise Stopped(
                    Code.ROLLED_BACK_BEFORE,
                    f"the same was tried as {event.version} and rolled back by {event.by}:"
                    f" {event.reason}; --retry tries it again",
                )

    def _publish(self, path: Path, digest: str, standing: Standing, reason: str) -> None:
        self._check_unchanged(self._fog.model(), digest, standing)
        try:
            answer = self._fog.publish(path, reason)
        except NotNow as refused:
            self._check_unchanged(self._fog.model(), digest, standing)
            version = standing.next_version
            raise Stopped(Code.SUPERSEDED, f"{version} cannot be published: {refused}") from None
        self._say(
            f"{answer.bundle.version} ({digest[:12]}) "
            + ("is published" if answer.is_new else "was published already")
        )

    def _start(self, digest: str, standing: Standing, reason: str) -> None:
        """Put the bundle on trial, unless it is or was."""
        refused: Stopped | None = None
        for _ in range(_TRIES):
            rollout = self._fog.model()
            self._check_unchanged(rollout, digest, standing)
            record = record_of(rollout, digest)
            if record is None or not record.is_stored:
                raise Stopped(Code.SUPERSEDED, "somebody has removed the bundle meanwhile")
            state = record.bundle.state
            if state in (pb.BUNDLE_STATE_CANARY, pb.BUNDLE_STATE_ACTIVE):
                how = "on trial" if state == pb.BUNDLE_STATE_CANARY else "active"
                self._say(f"{record.bundle.version} is {how} already")
                return
            if state == pb.BUNDLE_STATE_RETIRED and canary_event(rollout, digest) is not None:
                return  # tried meanwhile: its verdict stands
            if isinstance(refused, NotNow) and refused.code is Code.REFUSED:
                raise refused
            try:
                begun = self._fog.start_canary(digest, rollout.generation, self._rules(), reason)
            except NotNow as error:
                refused = error
                continue
            if begun is not None:
                self._say(f"{record.bundle.version} is on trial: {_rules_text(self._rules())}")
                return
            self._patience.wait(POLL_S)
        raise Stopped(Code.SUPERSEDED, "others keep changing the model")

    def _rules(self) -> dict[str, Any]:
        return dict(self._request.rules)

    def _check_unchanged(self, rollout: pb.Rollout, digest: str, standing: Standing) -> None:
        """Raise where somebody else made another bundle active, or put one on trial."""
        active = active_of(rollout)
        now = active.bundle.digest if active else ""
        if now not in (standing.digest, digest):
            version = active.bundle.version if active else "nothing"
            raise Stopped(Code.SUPERSEDED, f"another change came first: {version} is active now")
        on_trial = rollout.canary.bundle if rollout.HasField("canary") else None
        if on_trial is not None and on_trial.digest != digest:
            raise Stopped(
                Code.SUPERSEDED, f"another change came first: {on_trial.version} is on trial"
            )

    def _verdict(self, digest: str, why: Why | None) -> Outcome:
        """Wait until the trial of a bundle is over."""
        with self._narrator.waiting() as show:
            while True:
                left_s = self._patience.left_s
                rollout = self._fog.look()
                if rollout is not None:
                    ended = _ended(rollout, digest)
                    if rollout.HasField("canary") and rollout.canary.bundle.digest == digest:
                        why = why and replace(why, canary=rollout.canary)
                        show(_trial_text(rollout.canary))
                    if ended is not None:
                        break
                if not left_s:
                    if rollout is None:
                        raise Stopped(Code.AWAY, f"fog {self._request.ends.fog} is away")
                    text = "no verdict in time; the trial goes on, and so may you"
                    raise Stopped(Code.LATE, text)
                if rollout is None:
                    show(f"fog {self._request.ends.fog} is away; the trial goes on")
                self._patience.wait(POLL_S)
        assert rollout is not None
        return self._outcome(rollout, ended, digest, why)

    def _outcome(
        self, rollout: pb.Rollout, ended: pb.Event, digest: str, why: Why | None
    ) -> Outcome:
        if why is not None:
            self._tell(why)
        self._facts["rollout"] = as_dict(rollout)
        record = record_of(rollout, digest)
        version = record.bundle.version if record else digest[:12]
        by = f"by {ended.by}" + (f": {ended.reason}" if ended.reason else "")
        if ended.action == "promote":
            return Outcome(
                Code.DONE, "promoted", f"{version} is active, promoted {by}", self._facts
            )
        text = f"{version} was rolled back {by}"
        return Outcome(Code.ROLLED_BACK, "rolled_back", text, self._facts)

    def _tell(self, why: Why) -> None:
        self._facts["why"] = why.facts()
        for line in why.lines():
            self._say(line)

    def _say(self, text: str) -> None:
        self._narrator.say(text)


class _Made:
    """A job's result, and what it was made against."""

    def __init__(self, standing: Standing, job: Job, folder: Path) -> None:
        self.standing = standing
        self.job = job
        self.folder = folder


def _ended(rollout: pb.Rollout, digest: str) -> pb.Event | None:
    """Return what ended the last trial of a bundle; None while it goes on."""
    begun = canary_event(rollout, digest)
    for event in rollout.events:
        is_end = event.action in ("promote", "roll_back") and event.digest == digest
        if is_end and (begun is None or event.generation > begun.generation):
            return event
    return None


def _trial_text(canary: pb.Canary) -> str:
    limits = ", ".join(c.what for c in canary.comparisons if c.verdict == pb.VERDICT_FAILED)
    text = f"{canary.bundle.version} on trial: {canary.reason}; {canary.windows} windows"
    return f"{text}; over its limit: {limits}" if limits else text


def _rules_text(rules: Any) -> str:
    return ", ".join(f"{key} {value:g}" for key, value in rules.items()) or "as the fog is set"


def _read_report(path: Path) -> dict[str, Any]:
    try:
        report = json.loads(path.read_bytes())
    except ValueError:
        return {}
    return report if isinstance(report, dict) else {}


def _field_lines(report: dict[str, Any]) -> tuple[str, ...]:
    lines = report.get("field", {}).get("why", []) if isinstance(report.get("field"), dict) else []
    return tuple(str(line) for line in lines)
