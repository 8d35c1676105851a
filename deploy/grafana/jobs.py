"""The job service, and what becomes of the bundles that it makes."""

from panels import OF, Dashboard, Panel, rate_by, stat

JOBS = Dashboard(
    "headtail-jobs",
    "headtail: optimisation jobs and rollouts",
    (
        stat("Running", 'sum(optimizer_jobs{instance=~"$instance", state="running"})', "none"),
        stat("Waiting", 'sum(optimizer_jobs{instance=~"$instance", state="queued"})', "none"),
        stat("Oldest waits", f"max(optimizer_queue_age_seconds{OF})", "s"),
        stat(
            "Failed, of those kept",
            'sum(optimizer_jobs{instance=~"$instance", state="failed"})', "none", limit=1,
        ),
        Panel(
            "Jobs kept, by state", {"{{state}}": f"sum by (state) (optimizer_jobs{OF})"}, "none",
            "A job that was interrupted goes on when the service is back: it is queued again.",
            is_stacked=True,
        ),
        Panel(
            "Cores and GPUs",
            {"cores in use": f"sum(optimizer_cpus_used{OF})", "cores": f"sum(optimizer_cpus{OF})",
             "GPUs in use": f"sum(optimizer_gpus_used{OF})", "GPUs": f"sum(optimizer_gpus{OF})"},
            "none",
        ),
        Panel(
            "Memory that jobs asked for",
            {"asked for": f"sum(optimizer_memory_used_bytes{OF})",
             "there is": f"sum(optimizer_memory_bytes{OF})"},
            "bytes",
        ),
        Panel(
            "Bundles at the fog, by state",
            {"{{model}} {{state}}": "max by (model, state) (fog_rollout_bundles)"}, "none",
            "candidate: published; canary: on trial; active: what agents run; retired: was active.",
        ),
        Panel(
            "Agents, by the role of the bundle they run",
            {"{{model}} {{role}}": "max by (model, role) (fog_rollout_agents)"}, "none",
            is_stacked=True,
        ),
        Panel(
            "Share of agents that is to run the canary",
            {"{{model}}": "max by (model) (fog_rollout_canary_ratio)"}, "percentunit",
        ),
        Panel(
            "Windows of the trial",
            {"{{model}} {{role}}": "sum by (model, role) (fog_rollout_canary_windows)"}, "none",
        ),
        Panel(
            "Changes, by what was done and who did it",
            {"{{action}} by {{by}}": "sum by (action, by) "
             "(increase(fog_rollout_changes_total[$__rate_interval]))"},
            "none", "Every fog that shares the store sees each change.",
        ),
        Panel(
            "Lines logged", rate_by("level", "optimizer_log_lines_total", "increase"), "none",
        ),
        Panel(
            "Calls denied, by reason",
            rate_by("reason", "optimizer_denied_calls_total", "increase"), "none",
        ),
    ),
    {"instance": "label_values(optimizer_jobs, instance)"},
)  # fmt: skip
