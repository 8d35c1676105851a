"""What stands on each dashboard: titles, queries, units; `generate.py` makes JSON of it."""

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

FLEET = Dashboard(
    "headtail-fleet",
    "headtail: fleet",
    (
        stat("Agents up", 'sum(up{job="edge"})', "none"),
        stat("Agents away", 'count(up{job="edge"} == 0) or vector(0)', "none", limit=1),
        stat("Agents without a fog", "count(edge_fog_up == 0) or vector(0)", "none", limit=1),
        stat(
            "Windows lost in a day", "sum(increase(edge_spool_dropped_windows_total[1d]))", "none",
            "Given up because a spool was full or they were too old.", 1,
        ),
        Panel(
            "Windows a second, by where their tail ran",
            {"{{where}}": "sum by (where) (rate(edge_windows_total[$__rate_interval]))"},
            "ops", is_stacked=True,
        ),
        Panel(
            "Latency of 95 of 100 windows, slowest ten agents",
            {"{{instance}} {{model}}": "topk(10, instance_model:edge_latency_seconds:p95)",
             "limit": "limit:edge_latency_seconds:p95"},
            "s", "From a window's arrival to its outputs.",
        ),
        Panel(
            "Energy of a window, thirstiest ten agents",
            {"{{instance}}": "topk(10, instance:edge_energy_joules:per_window)",
             "limit": "limit:edge_energy_joules:per_window"},
            "joule", "Modelled: computing and sending, from the profiles' constants.",
        ),
        Panel(
            "Share of windows that fall back, highest ten agents",
            {"{{instance}}": "topk(10, instance:edge_fallback:ratio)",
             "limit": "limit:edge_fallback:ratio"},
            "percentunit", "Finished on the edge because of the fog.",
        ),
        Panel(
            "Mean confidence of half an hour",
            {"{{model}} on {{instance}}":
             "bottomk(10, instance_model:edge_confidence_ratio:mean30m)"},
            "percentunit", "The ten least sure. A move asks for a look at the inputs.",
        ),
        Panel(
            "Agents by bundle",
            {"{{name}} {{version}}": "count by (name, version) (edge_bundle_info)"},
            "none", is_stacked=True,
        ),
        Panel(
            "Windows kept on disk", {"{{instance}}": "topk(10, edge_spool_windows)"}, "none",
            "They wait for a fog, or for the sink.",
        ),
        Panel(
            "Uplink", {"{{instance}}": "topk(10, instance:edge_tx_bytes:rate5m)"}, "Bps",
        ),
    ),
)  # fmt: skip

AGENT = Dashboard(
    "headtail-agent",
    "headtail: one agent",
    (
        stat("Fog", f"max(edge_fog_up{OF})", "bool_yes_no", "Whether a stream is open."),
        stat("Windows a second", f"sum(rate(edge_windows_total{OF}[$__rate_interval]))", "ops"),
        stat("Kept on disk", f"sum(edge_spool_windows{OF})", "none"),
        stat("Memory", f"sum(process_resident_memory_bytes{OF})", "bytes"),
        Panel(
            "Latency by part, 95 of 100 windows",
            p95_by("part", "edge_latency_seconds"),
            "s", "Parts overlap where windows share a message, so they do not add up to the total.",
        ),
        Panel(
            "Head, mean",
            {"point {{partition_point}}, {{encoding}}": "sum by (partition_point, encoding) "
             f"(rate(edge_latency_seconds_sum{HEAD}[$__rate_interval])) / "
             "sum by (partition_point, encoding) "
             f"(rate(edge_latency_seconds_count{HEAD}[$__rate_interval]))"},
            "s", "Above the bundle's own figure the device is slower than its profile.",
        ),
        Panel(
            "Windows a second, by where their tail ran",
            rate_by("where", "edge_windows_total"),
            "ops", is_stacked=True,
        ),
        Panel(
            "Fallback by reason",
            rate_by("reason", "edge_fallback_total"),
            "ops", is_stacked=True,
        ),
        Panel(
            "Modelled power by component",
            rate_by("component", "edge_energy_joules_total"),
            "watt", is_stacked=True,
        ),
        Panel(
            "Confidence: share of windows below 0.6, 0.8 and 0.95",
            {f"below {bound}": "sum(rate(edge_confidence_ratio_bucket"
             f'{{instance=~"$instance", le="{bound}"}}[$__rate_interval])) / '
             f"sum(rate(edge_confidence_ratio_count{OF}[$__rate_interval]))"
             for bound in ("0.6", "0.8", "0.95")},
            "percentunit",
        ),
        Panel(
            "Streams given up, by reason",
            rate_by("reason", "edge_link_losses_total", "increase"),
            "none",
        ),
        Panel("Uplink", {"bytes": f"sum(rate(edge_tx_bytes_total{OF}[$__rate_interval]))"}, "Bps"),
        Panel("Spool", {"bytes": f"sum(edge_spool_bytes{OF})"}, "bytes"),
        Panel(
            "Lines logged",
            rate_by("level", "edge_log_lines_total", "increase"),
            "none",
        ),
    ),
    {"instance": "label_values(edge_fog_up, instance)"},
)  # fmt: skip

FOG = Dashboard(
    "headtail-fog",
    "headtail: fog",
    (
        stat("Streams", f"sum(fog_streams{OF})", "none", "Each agent keeps one."),
        stat("Running", f"sum(fog_requests_running{OF})", "none", "Requests."),
        stat("Waiting", f"sum(fog_requests_queued{OF})", "none", "Requests.", 32),
        stat("Memory", f"sum(process_resident_memory_bytes{OF})", "bytes"),
        Panel(
            "Windows a second, by outcome",
            rate_by("outcome", "fog_windows_total"),
            "ops", is_stacked=True,
        ),
        Panel(
            "Windows refused a second, by reason",
            rate_by("reason", "fog_refused_windows_total"),
            "ops", "docs/metrics.md says what each reason means.", is_stacked=True,
        ),
        Panel(
            "Time of a request by stage, 95 of 100",
            p95_by("stage", "fog_request_duration_seconds"),
            "s", "queue: waiting for a slot; compute: running the tail.",
        ),
        Panel(
            "Compute by model, 95 of 100",
            p95_by("model", "fog_request_duration_seconds", ', stage="compute"'),
            "s",
        ),
        Panel(
            "Bytes a second",
            rate_by("direction", "fog_wire_bytes_total"),
            "Bps",
        ),
        Panel(
            "Cores in use",
            {"{{instance}}": f"rate(process_cpu_seconds_total{OF}[$__rate_interval]) "
             "and on (instance) fog_streams"},
            "none",
        ),
        Panel(
            "Calls denied, by reason",
            rate_by("reason", "fog_denied_calls_total", "increase"),
            "none",
        ),
        Panel(
            "Lines logged",
            rate_by("level", "fog_log_lines_total", "increase"),
            "none",
        ),
    ),
    {"instance": "label_values(fog_streams, instance)"},
)  # fmt: skip

DASHBOARDS = (FLEET, AGENT, FOG)
