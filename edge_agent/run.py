"""One run of the agent: everything opened and checked, then the loop, then everything closed."""

import logging
import random
import sys
import time
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING

from edge_agent.agent import Agent, Settings
from edge_agent.config import Config, check
from edge_agent.fog_check import Tail
from edge_agent.fog_client import FogClient
from edge_agent.lanes import Policy
from edge_agent.link import FogLink
from edge_agent.meter import EnergyMeter, open_meter
from edge_agent.plan import Plan, choose_plan
from edge_agent.service import Service
from edge_agent.sinks import is_stdout
from edge_agent.sources.kinds import open_source
from edge_agent.spool_answer import Answerers, answer_kept
from edge_agent.spool_bundles import Bundles
from edge_agent.spool_commit import Committer, Limits
from edge_agent.spool_entry import Packer
from edge_agent.spool_run import Storage, open_storage
from edge_agent.stop import Stop
from edge_agent.tally import Tally, describe
from edge_agent.trust import open_trust
from edge_agent.writer import Taker, Writer
from headtail.bundle import Bundle, read_bundle
from headtail.errors import ConfigError
from headtail.segment import Chain, SessionOptions
from headtail.systemd import Notifier
from headtail.tls import ClientTls, check_plaintext, choose_files

if TYPE_CHECKING:
    from edge_agent.metrics import Metrics

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
        loaded = _load(config)
        service = Service(manager or Notifier(), config.deadline_s)
        stack.enter_context(service.starting())
        _run(config, loaded, stop, service, stack)


def _load(config: Config) -> tuple[Plan, Chain, str]:
    """Return what runs, checked and tested; the bundle's own bytes are let go of."""
    tls = client_tls(config)
    for fog in config.fogs:
        check_plaintext(fog, is_allowed=config.insecure or tls is not None, where="--fog")
    bundle = _open_bundle(config)
    plan = choose_plan(bundle.manifest, config.point, config.encoding)
    if not config.fogs and not plan.is_local:
        raise ConfigError("--fog", f"needed at partition point {plan.point.index}")
    chain = Chain(bundle, SessionOptions(threads=config.threads))
    chain.self_test(bundle)
    chain.merge(bundle, [(0, plan.point.index), (plan.point.index, len(bundle.segments))])
    return plan, chain, bundle.digest


def _run(
    config: Config,
    loaded: tuple[Plan, Chain, str],
    stop: Stop,
    service: Service,
    stack: ExitStack,
) -> None:
    """Run a plan; what it opens is closed by `stack`, last opened first."""
    plan, chain, digest = loaded
    meter = open_meter(plan.manifest, config.device_profile, config.link_profile)
    source = open_source(config.source, plan.manifest, stop, config.pace)
    stack.callback(source.close)
    metrics = _open_metrics(config.metrics, plan, digest, meter, service, stack)
    storage = open_storage(config, digest, source)
    stack.callback(storage.close)
    source.resume(storage.start)
    keep = _open_committer(config, loaded, storage, stack)
    if metrics:
        metrics.watch_storage(source, storage.spool, keep)
    tally = Tally(plan.manifest.labels, time.monotonic)
    takers: list[Taker] = [storage.sink, *([keep] if keep else []), tally]
    takers += [metrics] if metrics else []
    writer = Writer(takers, plan.batch(config.batch) * config.in_flight, storage.first)
    stack.callback(writer.close)
    if keep:
        keep.start(writer, storage.start.sequence)
    settings = Settings(config.agent_name, config.batch, config.deadline_s)
    agent = Agent(chain, plan, meter, writer, stop, settings)
    link = None if plan.is_local else _open_link(config, plan, digest, agent, stack)
    if metrics and link:
        metrics.watch(link)
    log.info("ready: %s", _describe(plan, digest))
    if link:
        link.wait_first_attempt(config.connect_s)
    if _has_view(config):
        from edge_agent.view import View

        stack.enter_context(View(plan, digest, tally, link))
    try:
        with service.running(writer, lambda: _status(link, tally)):
            if storage.first != storage.start.sequence:
                find = Answerers(config, loaded, agent, link, Bundles(storage.bundles))
                answer_kept(storage, writer, config.batch, find, stop)
            if stop.is_set:
                writer.drain()
                agent.raise_refusal()
            else:
                agent.run(source, link, keep)
        storage.is_over = not stop.is_set
    finally:
        log.info("done: %s", describe(tally.figures()))


def _open_bundle(config: Config) -> Bundle:
    """Read the bundle of `--bundle`, or fetch that of `--model`."""
    trust = open_trust(config.trust, config.key)
    if config.bundle:
        return read_bundle(Path(config.bundle), trust)
    from edge_agent.bundle_fetch import default_state, fetch_bundle

    folder = Path(config.state) if config.state else default_state()
    wanted = config.model, config.model_version
    return fetch_bundle(config.fogs, wanted, folder, trust, client_tls(config))


def _open_committer(
    config: Config, loaded: tuple[Plan, Chain, str], storage: Storage, stack: ExitStack
) -> Committer | None:
    """Return what commits windows to the spool, where there is one."""
    spool = storage.spool
    if spool is None:
        return None
    plan, _, digest = loaded
    Bundles(storage.bundles).keep(_bundle_path(config, plan), digest, spool.bundles())
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


def _bundle_path(config: Config, plan: Plan) -> Path:
    """Return the file of the bundle that runs."""
    if config.bundle:
        return Path(config.bundle)
    from edge_agent.bundle_fetch import default_state

    folder = Path(config.state) if config.state else default_state()
    return folder / f"{plan.manifest.name}-{plan.manifest.version}.bundle"


def _open_metrics(
    address: str, plan: Plan, digest: str, meter: EnergyMeter, service: Service, stack: ExitStack
) -> "Metrics | None":
    """Serve the Prometheus page, where one is asked for; its library costs 4 MB."""
    if not address:
        return None
    from edge_agent.metrics import Metrics
    from headtail.metrics import MetricsPage

    metrics = Metrics(plan, digest, meter)
    page = MetricsPage(address, metrics.registry, service.probes)
    stack.callback(page.close)
    stack.callback(metrics.log_lines.close)
    log.info("metrics on http://%s/metrics", page.address)
    return metrics


def _open_link(config: Config, plan: Plan, digest: str, agent: Agent, stack: ExitStack) -> FogLink:
    """Begin to connect to the fog."""
    manifest = plan.manifest
    tail = Tail(plan.tail_name, manifest.version, plan.wire_specs, manifest.name, digest)
    tls = client_tls(config)
    clients = [
        FogClient(fog, tail, config.connect_s, tls, config.keepalive_s) for fog in config.fogs
    ]
    policy = Policy(
        config.reconnect_first_s, config.reconnect_cap_s, config.max_misses, config.dwell_s
    )
    rng = random.Random()  # noqa: S311 - spreads agents out; no secret
    link = FogLink(clients, agent, policy, rng, time.monotonic)
    link.start()
    stack.callback(link.close)
    return link


def _status(link: FogLink | None, tally: Tally) -> str:
    """Return what `systemctl status` shows."""
    fog = "no fog" if link is None else "fog up" if link.is_up else "fog away"
    return f"{fog}; {describe(tally.figures())}"


def client_tls(config: Config) -> ClientTls | None:
    """Return the agent's TLS files, where they are named."""
    return choose_files(config.tls_ca, config.tls_cert, config.tls_key)


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
