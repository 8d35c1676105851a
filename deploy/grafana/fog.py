"""The fogs."""

from panels import OF, Dashboard, Panel, p95_by, rate_by, stat

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
            {"{{instance}}": "sum by (instance) (rate(process_cpu_seconds_total"
             f"{OF}[$__rate_interval])) and on (instance) fog_streams"},
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
