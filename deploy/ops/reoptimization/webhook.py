"""The program `reoptimize-webhook`: alerts in, requests for better models out."""

import argparse
import faulthandler
import logging
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from http import HTTPStatus
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge

from headtail import log as logs
from headtail.config import read_toml
from headtail.errors import HeadtailError
from headtail.liveness import Check
from headtail.server.command import serve
from reoptimization.alerts import Notification
from reoptimization.course import Course
from reoptimization.desk import Answer, Desk
from reoptimization.narrator import Teller
from reoptimization.outcome import WORDS, Outcome
from reoptimization.receiver import Receiver
from reoptimization.webhook_config import Config, Run, check

log = logging.getLogger(__name__)

_EPILOG = """\
example:
  deploy/ops/reoptimize-webhook --config /etc/headtail/reoptimize-webhook.toml

Alertmanager posts to /alerts with the secret as its credentials; /metrics, /livez and /readyz are
for everybody who reaches the port. What runs goes on after a restart.
"""


class Webhook:
    """A running webhook."""

    def __init__(self, config: Config, is_well: Check) -> None:
        """Go on with what ran, then listen.

        Raises:
            ConfigError: If a file or the address cannot be used.
        """
        check(config)
        self.check_live = is_well
        registry = CollectorRegistry()
        self._alerts = Counter(
            "reoptimize_alerts", "Alerts received, by what became of them.", ["outcome"],
            registry=registry,
        )  # fmt: skip
        self._refused = Counter(
            "reoptimize_refused_calls", "HTTP calls that were not taken, by status.", ["status"],
            registry=registry,
        )  # fmt: skip
        self._runs = Counter(
            "reoptimize_runs", "Runs that ended, by how.", ["run", "outcome"], registry=registry
        )
        self._going_on = Gauge(
            "reoptimize_running", "1 while a run goes on.", ["run"], registry=registry
        )
        self._config = config
        with ExitStack() as resources:
            self._desk = Desk(config, self._work, self._ended)
            for run in config.runs:
                for word in WORDS:
                    self._runs.labels(run.name, word)
                self._going_on.labels(run.name).set_function(partial(self._is_going_on, run.name))
            resources.callback(self._desk.stop)
            self._receiver = Receiver(config, registry, is_well, self._take, self._refuse)
            resources.callback(self._receiver.close)
            self._desk.start()
            self._resources = resources.pop_all()
        self.address = self._receiver.address
        log.info("alerts on http://%s/alerts", self.address)

    def status(self) -> str:
        """Return how things stand, in a few words."""
        names = [name for name, s in self._desk.states.items() if s.began_at_s is not None]
        return f"listening on {self.address}; running: {', '.join(names) or 'nothing'}"

    def close(self) -> None:
        """Stop; what runs goes on at the next start."""
        log.info("stopping: %s", self.status())
        self._resources.close()

    def _take(self, notification: Notification) -> Answer:
        answer = self._desk.take(notification.alerts, tuple(notification.wishes()))
        for outcome in ("begun", "joined", "resting", "ignored"):
            self._alerts.labels(outcome).inc(getattr(answer, outcome))
        return answer

    def _is_going_on(self, run: str) -> float:
        return float(self._desk.states[run].began_at_s is not None)

    def _refuse(self, status: HTTPStatus) -> None:
        self._refused.labels(str(int(status))).inc()

    def _work(self, run: Run, reason: str, began_at_s: float | None) -> Outcome:
        teller = Teller(lambda text: log.info("%s: %s", run.name, text))
        return Course(self._config.request(run, reason, began_at_s), teller).run()

    def _ended(self, run: Run, outcome: Outcome) -> None:
        self._runs.labels(run.name, outcome.word).inc()


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="reoptimize-webhook",
        description="Take alerts from Alertmanager and ask for better models.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--config", type=Path, metavar="FILE.toml", required=True)
    form: logs.Format = "text"
    try:
        config = read_toml(parser.parse_args(argv).config, Config)
        form = config.log_format
        logs.configure(config.log_level, form)
        if not faulthandler.is_enabled():
            faulthandler.enable()
        serve(lambda _, is_well: Webhook(config, is_well), lambda webhook: webhook.close())
    except HeadtailError as error:
        logs.report(error, form)
        return 1
    return 0
