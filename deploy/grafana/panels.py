"""What a dashboard is made of, and the queries that many panels share."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel."""

    title: str
    queries: dict[str, str]
    """PromQL by legend, in which `{{label}}` stands for a label's value."""
    unit: str
    """Grafana's name of the unit."""
    text: str = ""
    """What a reader should know to read it."""
    kind: str = "timeseries"
    width: int = 12
    """Columns of 24."""
    limit: float | None = None
    """Value from which it is drawn red."""
    is_stacked: bool = False


@dataclass(frozen=True, slots=True)
class Dashboard:
    """One dashboard."""

    uid: str
    title: str
    panels: tuple[Panel, ...]
    variables: dict[str, str] = field(default_factory=dict)
    """Query of each variable's values, by name."""


def stat(title: str, query: str, unit: str, text: str = "", limit: float | None = None) -> Panel:
    """Return a panel of one figure."""
    return Panel(title, {title: query}, unit, text, "stat", 6, limit)


def rate_by(label: str, counter: str, function: str = "rate") -> dict[str, str]:
    """Return the query of a counter's rate on the chosen instances, a line per label value."""
    return {f"{{{{{label}}}}}": f"sum by ({label}) ({function}({counter}{OF}[$__rate_interval]))"}


def p95_by(label: str, histogram: str, matchers: str = "") -> dict[str, str]:
    """Return the query of what 95 of 100 observations stay below, a line per label value."""
    which = f'{{instance=~"$instance"{matchers}}}'
    buckets = f"sum by ({label}, le) (rate({histogram}_bucket{which}[$__rate_interval]))"
    return {f"{{{{{label}}}}}": f"histogram_quantile(0.95, {buckets})"}


OF = '{instance=~"$instance"}'
HEAD = '{instance=~"$instance", part="head"}'
