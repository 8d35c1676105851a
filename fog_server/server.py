"""The running server: its services, thread pools, options, and how it starts and drains."""

import logging
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import SERVICE_NAME as HEALTH_SERVICE
from grpc_reflection.v1alpha import reflection

from fog_server.activity import Activity
from fog_server.admission import Admission
from fog_server.capture.service import CAPTURE_SERVICE, add_capture, open_capture
from fog_server.config import Config
from fog_server.control import CONTROL_SERVICES, Control
from fog_server.front.front import Bounds, Front
from fog_server.front.open_files import allow_files, files_of
from fog_server.inference import Inference
from fog_server.inference_servicer import InferenceServicer
from fog_server.liveness import SelfCall
from fog_server.memory import HeapTrim
from fog_server.metrics import Metrics
from fog_server.model_handlers import model_handlers
from fog_server.model_servicer import ModelServicer
from fog_server.pools import InPool, StreamInPool
from fog_server.probe_port import ProbePort
from fog_server.providers import choose_providers
from fog_server.quota import Quotas
from fog_server.repository_servicer import RepositoryServicer
from fog_server.rights import RULES
from headtail.config import parse_address
from headtail.http2.service import PROTOCOLS, Limits, StreamService
from headtail.inference import grpc_service_pb2 as oip
from headtail.liveness import STALL_S, Check, Progress, first_of
from headtail.metrics import LIVE, READY, MetricsPage
from headtail.segment import SessionOptions
from headtail.server.authorization import Authorization, guard
from headtail.server.config import Tls
from headtail.server.credentials import (
    server_contexts,
    server_credentials,
    tls_files,
    watch_allow_list,
)
from headtail.server.handlers import Wrapper, behavior_of, reader
from headtail.server.health import Health
from headtail.server.port import bind, server_options
from headtail.tls import TlsFiles, check_plaintext
from headtail.tracing import Tracing, open_tracer

log = logging.getLogger(__name__)

INFERENCE_SERVICE = oip.DESCRIPTOR.services_by_name["GRPCInferenceService"].full_name
STREAM = f"/{INFERENCE_SERVICE}/ModelStreamInfer"
# gRPC's own port: the front relays to it whatever is no stream of one of our agents.
_PRIVATE = "127.0.0.1:0"
# Calls that carry no tensor; a bundle being fetched holds one of these threads.
_CONTROL_THREADS = 8
# Unary calls of inference that wait for their turn, each on a thread.
_UNARY_THREADS = 64


class FogServer:
    """A fog server that serves from construction to `drain`."""

    def __init__(
        self,
        config: Config,
        watchdog_s: float | None = None,
        checks: Sequence[Check] = (),
        *,
        is_shared: bool = False,
    ) -> None:
        """Load every bundle, then listen.

        Args:
            config: The rest.
            watchdog_s: Interval of the service manager's watchdog, if there is one.
            checks: What else must be well for the server to call itself live.
            is_shared: Whether other workers listen on its ports too.

        Raises:
            HeadtailError: If a bundle, a key, the provider or an address is not usable.
        """
        providers = choose_providers(config.inference.providers)
        with ExitStack() as resources:
            self.metrics = Metrics()
            resources.callback(self.metrics.log_lines.close)
            options = SessionOptions(
                providers=providers,
                threads=config.inference.threads,
                warm_batches=config.inference.batch_sizes,
            )
            self._control = Control(config, options, self.metrics.registry)
            resources.callback(self._control.close)
            self._store = self._control.store
            self._capture = open_capture(config, self._store, self.metrics.registry)
            if self._capture is not None:
                resources.callback(self._capture.close)
            resources.callback(HeapTrim().close)
            self._inference = _traced(config.tracing, resources)
            self._wire = config.wire
            self._activity = Activity(config.wire.max_agents, config.quota.streams)
            self.admission = Admission(
                config.inference.running,
                config.inference.max_queued,
                max_queued_bytes=config.inference.max_queued_bytes,
            )
            resources.callback(self.admission.close)
            self.metrics.watch(self.admission, self._activity, config.inference.levels)
            self.metrics.describe(self._store, providers[0])
            self._alive = first_of([*checks, self._progress(watchdog_s or STALL_S).check])
            self._health = Health(self._alive)
            files = tls_files(config.tls)
            if files is None:
                check_plaintext(config.listen, is_allowed=config.insecure, where="--listen")
            self._server = self._make_server(config, providers[0], files)
            self.address = self._open_port(config, files, resources, is_shared=is_shared)
            self.check_live = self._self_checks(
                resources, is_used=bool(config.metrics or watchdog_s)
            )
            self.metrics_address = ""
            if config.metrics:
                probes = {LIVE: self.check_live, READY: self.check_ready}
                page = MetricsPage(config.metrics, self.metrics.registry, probes)
                resources.callback(page.close)
                self.metrics_address = page.address
            self._start(providers[0])
            self.health_address = ""
            if config.health:
                port = ProbePort(config.health, self._health, config.wire, is_shared=is_shared)
                resources.callback(port.close)
                self.health_address = port.address
                log.info("health checks on %s", port.address)
            self._resources = resources.pop_all()

    def check_ready(self) -> str | None:
        """Return why no request is taken, or None."""
        return "draining" if self._activity.is_draining else None

    def status(self) -> str:
        """Return how things stand, in a few words."""
        state = "draining" if self._activity.is_draining else f"serving on {self.address}"
        running, queued = self.admission.running, self.admission.queued
        return f"{state}; {self._activity.streams} streams, {running} running, {queued} queued"

    def drain(self) -> bool:
        """Stop serving: refuse what is new, answer what is in flight; return whether all was.

        Health says NOT_SERVING first. It takes at most the configured `drain_s`.
        """
        log.info("draining: %d streams open", self._activity.streams)
        give_up_at = time.monotonic() + self._wire.drain_s
        self._activity.is_draining = True
        self._front.stop_listening()
        self._control.watchers.close()
        self._health.enter_graceful_shutdown()
        stopped = self._server.stop(self._wire.drain_s + self._wire.settle_s)
        is_clean = self._activity.drain(self._wire.drain_s, self._wire.settle_s)
        self._control.watchers.wait(max(0.0, give_up_at - time.monotonic()))
        # The last answers may still be on their way out of gRPC.
        stopped.wait(self._wire.settle_s)
        # What is left now are watchers of our health, and streams that outlived the drain.
        self._streams.close()
        self._server.stop(None).wait()
        self._resources.close()
        log.info("stopped" if is_clean else "stopped with windows unanswered")
        return is_clean

    def _progress(self, stall_s: float) -> Progress:
        def running() -> int:
            return self.admission.running

        return Progress("requests", running, self.metrics.ended, stall_s, time.monotonic)

    def _open_port(
        self, config: Config, files: TlsFiles | None, resources: ExitStack, *, is_shared: bool
    ) -> str:
        """Listen, without answering yet; return the address."""
        credentials = None if files is None else server_credentials(files)
        private = bind(self._server, _PRIVATE, credentials)
        bounds = Bounds(config.wire.handshake_s, 4 * config.wire.max_agents + 64)
        allow_files(files_of(bounds.max_connections, config.wire.max_agents + 1))
        self._front = Front(
            config.listen,
            parse_address(private, "--listen"),
            self._streams.take,
            bounds,
            is_tls=files is not None,
            is_shared=is_shared,
        )
        resources.callback(self._front.close)
        return self._front.address

    def _self_checks(self, resources: ExitStack, *, is_used: bool) -> Check:
        """Return what says whether this server lives, by calls to itself where that is asked."""
        if not is_used:
            return self._alive
        self_call = SelfCall(self._server, self._activity)
        resources.callback(self_call.close)
        return first_of([self._alive, self_call.check, self._front.check])

    def _start(self, provider: str) -> None:
        self._server.start()
        self._front.start()
        for service in ("", INFERENCE_SERVICE, *CONTROL_SERVICES, CAPTURE_SERVICE):
            self._health.set(service, health_pb2.HealthCheckResponse.SERVING)
        log.info("execution provider %s", provider)
        if self.metrics_address:
            log.info("metrics on http://%s/metrics", self.metrics_address)
        log.info("serving on %s", self.address)

    def _guards(self, tls: Tls) -> list[Wrapper]:
        """Return what asks every call for its certificate; nothing without TLS."""
        if not tls.allow:
            return []
        allowed = watch_allow_list(Path(tls.allow))
        count = self.metrics.denied
        return [guard(Authorization(RULES, allowed.get, lambda denial: count(denial).inc()))]

    def _make_server(self, config: Config, provider: str, files: TlsFiles | None) -> grpc.Server:
        inference = self._inference(
            self._store,
            self.admission,
            Quotas(config.quota),
            self.metrics,
            config.inference,
        )
        inference.capture = self._capture
        waiting = config.inference.running + min(config.inference.max_queued, _UNARY_THREADS)
        wrappers = [*self._guards(config.tls), reader()]
        server = grpc.server(
            ThreadPoolExecutor(_CONTROL_THREADS, "control"),
            interceptors=[*wrappers],
            options=server_options(config.wire),
            # One too many of each kind is let in to be told so; an agent streams and watches.
            maximum_concurrent_rpcs=2 * config.wire.max_agents + waiting + 2 + 8 * _CONTROL_THREADS,
        )
        servicer = InferenceServicer(
            inference, self.metrics, self._activity, config.wire.max_message_bytes
        )
        models = ModelServicer(
            self._store,
            self._activity,
            inference.statistics,
            provider,
            config.inference,
            self._alive,
        )
        calls = model_handlers(models, RepositoryServicer(self._control.repository))
        calls["ModelInfer"] = grpc.stream_unary_rpc_method_handler(
            InPool(servicer.infer, ThreadPoolExecutor(waiting + 1, "infer"))
        )
        calls["ModelStreamInfer"] = grpc.stream_stream_rpc_method_handler(
            StreamInPool(
                servicer.stream_infer, ThreadPoolExecutor(config.wire.max_agents + 1, "stream")
            )
        )
        inference_calls = grpc.method_handlers_generic_handler(INFERENCE_SERVICE, calls)
        server.add_generic_rpc_handlers((inference_calls,))
        self._streams = StreamService(
            {STREAM: behavior_of(calls["ModelStreamInfer"], STREAM, wrappers)},
            Limits(
                config.wire.max_agents + 1,
                config.wire.max_message_bytes,
                config.wire.handshake_s,
                config.wire.keepalive_s,
            ),
            None if files is None else server_contexts(files, PROTOCOLS),
        )
        self._control.add_to(server, self._activity)
        add_capture(server, self._capture, self._store, self._activity)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        ours = (INFERENCE_SERVICE, *CONTROL_SERVICES, CAPTURE_SERVICE)
        names = (*ours, HEALTH_SERVICE, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, server)
        return server


def _traced(settings: Tracing, resources: ExitStack) -> Callable[..., Inference]:
    """Return what makes an inference: one that makes spans, where something is to be traced."""
    tracer = open_tracer(settings, "fog-server", f"{os.uname().nodename}:{os.getpid()}", os.environ)
    if tracer is None:
        return Inference
    from fog_server.traces import TracedInference

    resources.callback(tracer.close)
    return partial(TracedInference, tracer)
