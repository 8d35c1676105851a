"""One run of the agent: everything opened and checked, then the loop, then everything closed."""

import logging
import os
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from edge_agent.agent import Agent, Settings
from edge_agent.config import Config, check, default_state
from edge_agent.guard import Begin
from edge_agent.link import FogLink
from edge_agent.loaded import Loaded, load_bundle
from edge_agent.meter import EnergyMeter, open_meter
from edge_agent.partition.path import PATH
from edge_agent.plan import Plan, choose_plan
from edge_agent.running import (
    Running,
    client_tls,
    find_partition,
    open_link,
    open_partition,
)
from edge_agent.service import Service
from edge_agent.sinks import is_stdout
from edge_agent.sources.kinds import open_source
from edge_agent.spool_bundles import Bundles
from edge_agent.spool_run import Storage, open_storage
from edge_agent.stop import Stop
from edge_agent.tally import Tally, describe
from edge_agent.trust import open_trust
from edge_agent.writer import Taker, Writer
from headtail.bundle import Bundle, Manifest, read_bundle
from headtail.errors import ConfigError
from headtail.heap import settle
from headtail.mapped import let_go_of_files
from headtail.systemd import Notifier
from headtail.tls import check_plaintext
from headtail.tracing import Tracing, open_tracer

if TYPE_CHECKING:
    from edge_agent.metrics import Metrics
    from edge_agent.spool_commit import Committer
    from edge_agent.traces import Traces
    from edge_agent.update.session import Updates

log = logging.getLogger(__name__)

SWITCH_INTERVAL_S = 5e-4
"""A thread that wants the interpreter waits no longer; Python's 5 ms would be seen in the p99."""


def run(config: Config, manager: Notifier | None = None) -> None:
    """Run until the source ends or a signal comes; every result is then written.

    Args:
        config: What to run.
        manager: Told when the agent is ready, lives and ends; None: nobody is.

    Raises:
        HeadtailError: If something asked for is wrong, or the run became impossible.
    """
    check(config)
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    with closing(Stop()) as stop, stop.on_signals(), ExitStack() as stack:
        updates = _open_updates(config, stack)
        loaded = _load(config, updates)
        service = Service(manager or Notifier(), config.deadline_s)
        stack.enter_context(service.starting())
        _run(config, loaded, _Frame(stop, service, stack, updates))


@dataclass(frozen=True, slots=True)
class _Frame:
    """What a run happens in."""

    stop: Stop
    service: Service
    stack: ExitStack
    """Closes what is opened, last opened first."""
    updates: "Updates | None"


def _load(config: Config, updates: "Updates | None") -> Loaded:
    """Return what runs, checked and tested; the bundle's own bytes are let go of."""
    tls = client_tls(config)
    for fog in config.fogs:
        check_plaintext(fog, is_allowed=config.insecure or tls is not None, where="--fog")

    def read() -> tuple[Bundle, Path]:
        bundle = _open_bundle(config)
        return bundle, _bundle_path(config, bundle.manifest)

    def prepare(bundle: Bundle) -> Loaded:
        let_go_of_files()  # of what imports and the signature ran, before graphs are loaded
        plan = choose_plan(bundle.manifest, config.point, config.encoding)
        if not config.fogs and not plan.is_local:
            raise ConfigError("--fog", f"needed at partition point {plan.point.index}")
        # Without a fog there is nothing to choose.
        is_live = config.partition == "live" and bool(config.fogs)
        return load_bundle(bundle, (config.point, config.encoding), config.threads, is_live=is_live)

    return prepare(_open_bundle(config)) if updates is None else updates.load(read, prepare)


def _run(config: Config, loaded: Loaded, frame: _Frame) -> None:
    """Run a plan."""
    plan, digest = loaded.plan, loaded.digest
    stop, service, stack, updates = frame.stop, frame.service, frame.stack, frame.updates
    meter = open_meter(plan.manifest, config.device_profile, config.link_profile)
    source = open_source(config.source, plan.manifest, stop, config.pace)
    stack.callback(source.close)
    metrics = _open_metrics(config.metrics, loaded, meter, service, stack)
    storage = open_storage(config, digest, source)
    stack.callback(storage.close)
    source.resume(storage.start)
    path = updates.path(digest) if updates else _bundle_path(config, plan.manifest)
    keep = _open_committer(config, loaded, path, storage, stack)
    if metrics:
        metrics.watch_storage(source, storage.spool, keep)
    tally = Tally(plan.manifest.labels, time.monotonic)
    others = keep, tally, metrics, updates.tallies if updates else None
    writer = _open_writer(storage, [t for t in others if t is not None], config, plan)
    stack.callback(writer.close)
    if keep:
        keep.start(writer, storage.start.sequence)
    settings = Settings(
        config.agent_name,
        config.batch,
        config.deadline_s,
        bundle=digest,
        ends_refused=updates is None,
        traces=_open_traces(config, stack),
    )
    agent = Agent(loaded.chain, plan, meter, writer, stop, settings)
    link = _set_out(config, loaded, meter, agent, stack)
    first = Running(loaded, meter, agent, link, keep)
    now: Callable[[], Running] = partial(_only, first)
    begin: Begin = first.begin
    if updates:
        stack.push(updates)
        rotation = updates.start(first, writer, storage.spool, Bundles(storage.bundles), metrics)
        now, begin = rotation.find_active, rotation.begin
    _watch(config, metrics, now, has_link=link is not None)
    begin = _with_capture(config, begin, now, metrics, stack)
    settle()
    log.info("ready: %s", _describe(plan, digest))
    if link:
        link.wait_first_attempt(config.connect_s)
    if _has_view(config):
        from edge_agent.view import View

        stack.enter_context(View(now, tally))
    try:
        with service.running(writer, lambda: _status(now().link, tally)):
            if storage.first != storage.start.sequence:
                from edge_agent.spool_answer import Answerers, answer_kept

                find = Answerers(config, loaded, agent, link, Bundles(storage.bundles))
                answer_kept(storage, writer, config.batch, find, stop)
            agent.run_with(source, begin, keep)
        storage.is_over = not stop.is_set
    finally:
        log.info("done: %s", describe(tally.figures()))


def _open_writer(storage: Storage, others: Sequence[Taker], config: Config, plan: Plan) -> Writer:
    """Return what hands results to the sink, and then to the others, who never wait."""
    room = plan.batch(config.batch) * config.in_flight
    sink = storage.sink
    return Writer([sink, *others], room, storage.first, sink.is_prompt)


def _set_out(
    config: Config, loaded: Loaded, meter: EnergyMeter, agent: Agent, stack: ExitStack
) -> FogLink | None:
    """Give an agent its pilot and its link, where it needs them."""
    agent.pilot = open_partition(config, loaded, meter)
    if not loaded.needs_fog:
        return None
    link = open_link(config, loaded, agent)
    stack.callback(link.close)
    return link


def _open_traces(config: Config, stack: ExitStack) -> "Traces | None":
    """Return what makes spans of windows, where something is to be traced."""
    settings = Tracing(config.trace_endpoint, config.trace_protocol, config.trace_ratio)
    instance = config.agent_name or os.uname().nodename
    tracer = open_tracer(settings, "edge-agent", instance, os.environ)
    if tracer is None:
        return None
    from edge_agent.traces import Traces

    stack.callback(tracer.close)
    return Traces(tracer, config.agent_name)


def _with_capture(
    config: Config,
    begin: Begin,
    now: Callable[[], Running],
    metrics: "Metrics | None",
    stack: ExitStack,
) -> Begin:
    """Return what begins windows and draws from them for the fog's sample, where it is to."""
    if not config.capture_ratio:
        return begin
    from edge_agent.capture import open_capture

    return open_capture(config, now, metrics, stack).watching(begin)


def _watch(
    config: Config, metrics: "Metrics | None", now: Callable[[], Running], *, has_link: bool
) -> None:
    """Have the metrics ask what runs, where there are any."""
    if metrics and (has_link or config.updates == "on"):
        metrics.watch(lambda: now().link)
    if metrics and config.partition == "live":
        metrics.watch_partition(lambda: find_partition(now().agent))


def _only(first: Running) -> Running:
    """Return what runs, where nothing ever takes its place."""
    return first


def _open_updates(config: Config, stack: ExitStack) -> "Updates | None":
    """Open the folder of updates, where they are on; their modules are imported only here."""
    if config.updates == "off":
        return None
    from edge_agent.update.session import Updates

    updates = Updates(config, _state_folder(config))
    stack.callback(updates.close)
    return updates


def _open_bundle(config: Config) -> Bundle:
    """Read the bundle of `--bundle`, or fetch that of `--model`."""
    trust = open_trust(config.trust, config.key)
    if config.bundle:
        return read_bundle(Path(config.bundle), trust)
    from edge_agent.bundle_fetch import fetch_bundle

    wanted = config.model, config.model_version
    return fetch_bundle(config.fogs, wanted, _state_folder(config), trust, client_tls(config))


def _open_committer(
    config: Config, loaded: Loaded, path: Path, storage: Storage, stack: ExitStack
) -> "Committer | None":
    """Return what commits windows to the spool, where there is one; `path` is the bundle's."""
    spool = storage.spool
    if spool is None:
        return None
    from edge_agent.spool_commit import Committer, Limits
    from edge_agent.spool_entry import Packer

    plan, digest = loaded.plan, loaded.digest
    Bundles(storage.bundles).keep(path, digest, spool.bundles())
    limits = Limits(
        windows=min(config.spool_windows, plan.batch(config.batch) * config.in_flight // 2 or 1),
        delay_s=config.spool_delay_s,
        max_bytes=config.spool_max_bytes,
        max_age_s=config.spool_max_age_s,
        when_full=config.spool_when_full,
    )
    committer = Committer(spool, Packer(plan, digest), storage.sink, limits)
    stack.callback(committer.close)
    return committer


def _bundle_path(config: Config, manifest: Manifest) -> Path:
    """Return the file of the configured bundle."""
    if config.bundle:
        return Path(config.bundle)
    return _state_folder(config) / f"{manifest.name}-{manifest.version}.bundle"


def _state_folder(config: Config) -> Path:
    """Return where fetched bundles are."""
    return Path(config.state) if config.state else default_state()


def _open_metrics(
    address: str, loaded: Loaded, meter: EnergyMeter, service: Service, stack: ExitStack
) -> "Metrics | None":
    """Serve the Prometheus page, where one is asked for; its library costs 4 MB."""
    if not address:
        return None
    from edge_agent.metrics import Metrics
    from headtail.metrics import MetricsPage

    metrics = Metrics(loaded.plan, loaded.digest, meter)
    documents = {PATH: metrics.partition_document}
    page = MetricsPage(address, metrics.registry, service.probes, documents)
    stack.callback(page.close)
    stack.callback(metrics.log_lines.close)
    log.info("metrics on http://%s/metrics", page.address)
    return metrics


def _status(link: FogLink | None, tally: Tally) -> str:
    """Return what `systemctl status` shows."""
    fog = "no fog" if link is None else "fog up" if link.is_up else "fog away"
    return f"{fog}; {describe(tally.figures())}"


def _has_view(config: Config) -> bool:
    return config.view == "auto" and not is_stdout(config.sink) and sys.stdout.isatty()


def _describe(plan: Plan, digest: str) -> str:
    manifest = plan.manifest
    synthetic = ", made from synthetic data" if manifest.lineage.is_synthetic else ""
    return (
        f"bundle {manifest.name} {manifest.version} ({digest[:12]}{synthetic}),"
        f" partition point {plan.point.index} of {len(manifest.segments)},"
        f" {plan.encoding.value} on the wire"
    )
