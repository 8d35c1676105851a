"""The course of a request: look, job, bundle, publication, trial, verdict."""

import json
import tempfile
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from fog_server.rollout.text import as_dict
from headtail.bundle.manifest import Manifest
from headtail.errors import BundleError, ConfigError
from headtail.v1 import control_pb2 as pb
from optimizer.serve.job import Job, State
from reoptimization.essence import essence, read_manifest
from reoptimization.fog import Fog
from reoptimization.jobs import Jobs
from reoptimization.narrator import Teller
from reoptimization.outcome import Code, Outcome, Stopped, stopped_outcome
from reoptimization.patience import Patience
from reoptimization.request import Request
from reoptimization.standing import Standing, marked, marks, record_of, stand, trial_since
from reoptimization.trial import Trial, Verdict, rules_text
from reoptimization.why import Why, learned, offer_of


class Course:
    """One request from its beginning to its outcome."""

    def __init__(
        self, request: Request, narrator: Teller, patience: Patience | None = None
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
        with closing(self._fog), closing(self._jobs):
            try:
                with tempfile.TemporaryDirectory(prefix="reoptimize-") as folder:
                    return self._run(Path(folder))
            except Stopped as stopped:
                return stopped_outcome(stopped, self._facts)
            except (ConfigError, OSError) as error:  # this machine's disk, most likely
                return Outcome(Code.FAILED, "failed", str(error), self._facts)

    def _run(self, folder: Path) -> Outcome:
        request, rollout = self._request, self._fog.model()
        begun = trial_since(rollout, request)
        if begun is not None:
            self._say(f"{begun.version} was put on trial by this request: joined")
            return self._ended(self._trial(begun.digest, "").verdict())
        standing = stand(rollout, request)
        self._say(
            f"{request.model} {standing.version} ({standing.digest[:12]}) is active,"
            f" {standing.agents} agents; the next is {standing.next_version}"
        )
        self._facts |= {
            "active": {"version": standing.version, "digest": standing.digest},
            "next_version": standing.next_version,
        }
        if request.is_dry:
            return self._dry_run(standing)
        return self._try(standing, self._make(standing), folder)

    def _dry_run(self, standing: Standing) -> Outcome:
        self._jobs.check()
        request = self._request
        self._say(f"would send the recipe to optimizer {request.ends.optimizer}")
        self._say(f"would try {standing.next_version}, {rules_text(request.rules)}")
        return Outcome(Code.DONE, "would_run", "nothing was changed", self._facts)

    def _make(self, standing: Standing) -> Job:
        """Return the job that made the bundle."""
        job, is_known = self._jobs.submit(standing.digest, standing.next_version)
        self._say(f"job {job.id}: {'joined, it is ' if is_known else ''}{job.state.value}")
        with self._narrator.following() as show:
            for found, _ in self._jobs.follow(job.id):
                job = found
                show(job)
        self._facts["job"] = {"id": job.id, "state": job.state.value, "error": job.error}
        if job.state is not State.SUCCEEDED or job.result is None:
            told = f": {job.error}" if job.error else ""
            raise Stopped(Code.JOB_FAILED, f"job {job.id}: {job.state.value}{told}")
        self._say(f"job {job.id}: {job.result.bundle} ({job.result.digest[:12]})")
        return job

    def _try(self, standing: Standing, job: Job, folder: Path) -> Outcome:
        request = self._request
        path = self._jobs.fetch(job.id, "bundle", folder)
        report = _read_report(self._jobs.fetch(job.id, "report.json", folder))
        try:
            manifest, digest = read_manifest(path)
        except BundleError as error:
            raise Stopped(Code.INVALID, str(error)) from None
        mark = essence(manifest)
        self._facts["bundle"] = {
            "name": manifest.name, "version": manifest.version, "digest": digest, "essence": mark,
        }  # fmt: skip
        old, rollout = self._active_manifest(standing, folder), self._fog.model()
        why = Why(offer_of(manifest), None if old is None else offer_of(old), learned(report))
        if old is not None and essence(old) == mark:
            self._tell(why)
            text = f"nothing better found: it would be {standing.version} again"
            return Outcome(Code.DONE, "nothing_better", text, self._facts)
        if not request.retries and record_of(rollout, digest) is None:
            _check_not_rolled_back(rollout, mark)
        reason = marked(request.reason, standing.tag, mark)
        trial = self._trial(digest, standing.digest)
        trial.publish(path, reason)
        trial.start(request.rules, reason)
        return self._ended(trial.verdict(), why)

    def _trial(self, digest: str, active: str) -> Trial:
        return Trial(self._fog, self._narrator, self._patience, digest, active)

    def _active_manifest(self, standing: Standing, folder: Path) -> Manifest | None:
        """Return what the active bundle says of itself; None where it is not given to us."""
        path = folder / "active.bundle"
        try:
            self._fog.fetch(standing.digest, path)
            return read_manifest(path)[0]
        except (Stopped, BundleError) as error:
            if isinstance(error, Stopped) and error.code is Code.AWAY:
                raise
            self._say(f"{standing.version} cannot be compared: {error}")
        return None

    def _ended(self, verdict: Verdict, why: Why | None = None) -> Outcome:
        if why is not None:
            self._tell(replace(why, canary=verdict.canary))
        self._facts["rollout"] = as_dict(verdict.rollout)
        end = verdict.end
        by = f"by {end.by}" + (f": {end.reason}" if end.reason else "")
        if end.action == "promote":
            text = f"{end.version} is active, promoted {by}"
            return Outcome(Code.DONE, "promoted", text, self._facts)
        text = f"{end.version} was rolled back {by}"
        return Outcome(Code.ROLLED_BACK, "rolled_back", text, self._facts)

    def _tell(self, why: Why) -> None:
        self._facts["why"] = why.facts()
        for line in why.lines():
            self._say(line)

    def _say(self, text: str) -> None:
        self._narrator.say(text)


def _check_not_rolled_back(rollout: pb.Rollout, mark: str) -> None:
    """Raise where a bundle with the same essence was tried and taken back."""
    tried = {e.digest for e in rollout.events if marks(e.reason).essence == mark}
    for event in rollout.events:
        if event.action == "roll_back" and event.digest in tried:
            raise Stopped(
                Code.ROLLED_BACK_BEFORE,
                f"the same was tried as {event.version} and rolled back by {event.by}:"
                f" {event.reason}; --retry tries it again",
            )


def _read_report(path: Path) -> dict[str, Any]:
    try:
        report = json.loads(path.read_bytes())
    except ValueError:
        return {}
    return report if isinstance(report, dict) else {}
