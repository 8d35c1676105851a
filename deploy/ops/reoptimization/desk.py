"""Which runs go on: one of a recipe at a time, kept on the disk over restarts."""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from headtail.errors import ConfigError, HeadtailError
from headtail.files import write_file
from reoptimization.alerts import Alert
from reoptimization.outcome import Code, Outcome
from reoptimization.request import read_recipe
from reoptimization.webhook_config import Config, Run

log = logging.getLogger(__name__)

PATIENCE_S = 1.0
"""How soon a worker notices that the program stops."""


class RunState(msgspec.Struct, frozen=True):
    """How a run stands."""

    reason: str = ""
    """Of what goes on, or went on last."""
    began_at_s: float | None = None
    """Unix time; None while nothing goes on."""
    ended_at_s: float | None = None
    """Unix time of the last end; None where there was none."""
    outcome: str = ""
    text: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of the alerts of one call: how many did what."""

    begun: int = 0
    joined: int = 0
    """To a run that goes on."""
    resting: int = 0
    """So soon after a run that none is begun."""
    ignored: int = 0
    """No run is for them, or they ask for none."""


Work = Callable[[Run, str, float | None], Outcome]
"""Does a run for a reason; the last is when it began, for one that goes on after a restart."""


class Desk:
    """Takes alerts and lets runs begin; each has a thread."""

    def __init__(
        self,
        config: Config,
        work: Work,
        ended: Callable[[Run, Outcome], None] = lambda run, outcome: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Read what went on; nothing runs before `start`.

        Args:
            config: With the runs and the file of the state.
            work: Does a run.
            ended: Told of each end.
            clock: Unix time, in seconds.

        Raises:
            ConfigError: If the state cannot be read or written.
        """
        self._config = config
        self._work = work
        self._tell = ended
        self._clock = clock
        self._path = Path(config.state)
        self._changed = threading.Condition()
        self._states = {run.name: RunState() for run in config.runs} | _read(self._path)
        self._going_on = {name for name, s in self._states.items() if s.began_at_s is not None}
        self._is_stopping = False
        self._save()

    @property
    def states(self) -> Mapping[str, RunState]:
        """How each run stands."""
        with self._changed:
            return dict(self._states)

    def start(self) -> None:
        """Begin with what went on."""
        for run in self._config.runs:
            name = f"run {run.name}"
            threading.Thread(target=self._serve, args=(run,), name=name, daemon=True).start()

    def stop(self) -> None:
        """Begin nothing more; what goes on is gone on with at the next start."""
        with self._changed:
            self._is_stopping = True
            self._changed.notify_all()

    def take(self, alerts: tuple[Alert, ...], wishes: tuple[Alert, ...]) -> Answer:
        """Let the runs begin that alerts ask for; it is on the disk when this returns.

        Raises:
            ConfigError: If the state cannot be written; nothing has begun then.
        """
        begun = joined = resting = 0
        with self._changed:
            before = dict(self._states)
            for alert in wishes:
                for run in self._asked(alert):
                    state, now = self._states[run.name], self._clock()
                    if state.began_at_s is not None:
                        joined += 1
                    elif state.ended_at_s is not None and now < state.ended_at_s + run.rest_s:
                        resting += 1
                    else:
                        begun += 1
                        log.info("%s: begins for %s", run.name, alert.reason)
                        self._states[run.name] = RunState(alert.reason, now)
            if self._states != before:
                try:
                    self._save()
                except ConfigError:
                    self._states = before
                    raise
                self._changed.notify_all()
        return Answer(begun, joined, resting, max(0, len(alerts) - begun - joined - resting))

    def _asked(self, alert: Alert) -> list[Run]:
        return [
            run
            for run in self._config.runs
            if run.takes(alert.labels, read_recipe(Path(run.recipe))[1])
        ]

    def _serve(self, run: Run) -> None:
        """Do what is asked for, one after the other."""
        while True:
            with self._changed:
                while self._states[run.name].began_at_s is None and not self._is_stopping:
                    self._changed.wait(PATIENCE_S)
                if self._is_stopping:
                    return
                state = self._states[run.name]
                goes_on = run.name in self._going_on
                self._going_on.discard(run.name)
            self._end(run, state, self._do(run, state, goes_on=goes_on))

    def _do(self, run: Run, state: RunState, *, goes_on: bool) -> Outcome:
        try:
            return self._work(run, state.reason, state.began_at_s if goes_on else None)
        except HeadtailError as error:
            return Outcome(Code.FAILED, "failed", str(error))

    def _end(self, run: Run, state: RunState, outcome: Outcome) -> None:
        self._tell(run, outcome)
        with self._changed:
            self._states[run.name] = RunState(
                state.reason, None, self._clock(), outcome.word, outcome.text
            )
            try:
                self._save()
            except ConfigError as error:  # it goes on after a restart, and finds its own end
                log.error("%s", error)
        level = logging.INFO if outcome.code is Code.DONE else logging.ERROR
        log.log(level, "%s: %s: %s", run.name, outcome.word, outcome.text)

    def _save(self) -> None:
        write_file(self._path, msgspec.json.encode(self._states), 0o600)


def _read(path: Path) -> dict[str, RunState]:
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, RunState])
    except FileNotFoundError:
        return {}
    except (OSError, msgspec.DecodeError) as error:
        raise ConfigError(str(path), f"cannot be read: {error}") from error
