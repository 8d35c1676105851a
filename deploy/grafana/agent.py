"""One agent, or a few side by side."""

from panels import HEAD, OF, Dashboard, Panel, p95_by, rate_by, stat

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
