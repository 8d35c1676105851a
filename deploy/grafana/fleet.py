"""All agents at once."""

from panels import Dashboard, Panel, stat

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
