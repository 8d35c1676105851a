"""What a rollout exports to Prometheus."""

from collections.abc import Mapping, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge

from fog_server.rollout.judge import Judgement
from fog_server.rollout.rollouts import Published
from fog_server.rollout.state import Action, Event, Model, State

PUBLICATIONS = ("accepted", "known", "refused")
ROLES = ("active", "canary")
MAKERS = ("fog", "operator")


class RolloutMetrics:
    """The rollout's metrics; the label `model` is the name of a bundle that was published."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Register every metric."""
        self._bundles = Gauge(
            "fog_rollout_bundles", "Bundles here, by state", ["model", "state"], registry=registry
        )
        self._generation = Gauge(
            "fog_rollout_generation", "Changes made so far", ["model"], registry=registry
        )
        self._canary_ratio = Gauge(
            "fog_rollout_canary_ratio",
            "Share of the agents that is to run the canary; 0 without one",
            ["model"],
            registry=registry,
        )
        self._agents = Gauge(
            "fog_rollout_agents",
            "Agents heard of lately, by the role of the bundle they run",
            ["model", "role"],
            registry=registry,
        )
        self._changes = Counter(
            "fog_rollout_changes",
            "Changes seen by this server, by what was done and who did it",
            ["model", "action", "by"],
            registry=registry,
        )
        self._publications = Counter(
            "fog_rollout_publications",
            "Bundles sent to this server, by what became of them",
            ["outcome"],
            registry=registry,
        )
        self._compared = Gauge(
            "fog_rollout_canary_windows",
            "Windows of the trial that runs, by the role of the bundle",
            ["model", "role"],
            registry=registry,
        )
        self._shadows = Counter(
            "fog_rollout_shadow_requests_dropped",
            "Requests that were to be run through the canary too and found no room",
            registry=registry,
        )
        for outcome in PUBLICATIONS:
            self._publications.labels(outcome)
        self._generations: dict[str, int] = {}

    def published(self, published: Published | None) -> None:
        """Count a publication; None is one that was refused."""
        outcome = "refused"
        if published is not None:
            outcome = "accepted" if published.is_new else "known"
        self._publications.labels(outcome).inc()

    def dropped(self) -> None:
        """Count a request that was not shadowed."""
        self._shadows.inc()

    def judged(self, name: str, judgement: Judgement) -> None:
        """Show how far a trial has come."""
        self._compared.labels(name, "canary").set(judgement.windows)
        self._compared.labels(name, "active").set(judgement.active_windows)

    def show(self, models: Mapping[str, Model], running: Mapping[str, Sequence[str]]) -> None:
        """Show the states; `running` has the digests that agents of each model run."""
        for name, model in models.items():
            stored = [e.state for e in model.bundles if e.is_stored]
            for state in State:
                self._bundles.labels(name, state.value).set(stored.count(state))
            self._generation.labels(name).set(model.generation)
            canary = model.canary
            self._canary_ratio.labels(name).set(canary.rules.share_ratio if canary else 0)
            digests = running.get(name, ())
            on_canary = digests.count(canary.digest) if canary else 0
            on_active = digests.count(model.active.digest) if model.active else 0
            for role, count in zip(ROLES, (on_active, on_canary), strict=True):
                self._agents.labels(name, role).set(count)
            if canary is None:
                for role in ROLES:
                    self._compared.labels(name, role).set(0)
            self._count(model)

    def _count(self, model: Model) -> None:
        if model.name not in self._generations:  # from 0: rates do not see a series' first value
            for action in Action:
                for by in MAKERS:
                    self._changes.labels(model.name, action.value, by)
        seen = self._generations.setdefault(model.name, model.generation)
        for event in model.events:
            if event.generation > seen:
                self._changes.labels(model.name, event.action.value, _by(event)).inc()
        self._generations[model.name] = model.generation


def _by(event: Event) -> str:
    """Return who made a change, as one of two."""
    return "fog" if event.by in ("rule", "grace", "folder") else "operator"
