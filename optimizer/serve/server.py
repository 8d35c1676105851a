"""The running job service: its store, scheduler and gRPC server, how they start and stop."""

import fcntl
import logging
import os
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import SERVICE_NAME as HEALTH_SERVICE
from grpc_reflection.v1alpha import reflection

from headtail.bundle.keys import read_signer
from headtail.config import parse_address
from headtail.errors import ConfigError
from headtail.liveness import Check, first_of
from headtail.metrics import LIVE, READY, MetricsPage
from headtail.server.authorization import Authorization, guard
from headtail.server.credentials import server_credentials, tls_files, watch_allow_list
from headtail.server.handlers import reader
from headtail.server.health import Health
from headtail.server.port import bind, server_options
from headtail.tls import check_plaintext
from headtail.v1 import jobs_pb2
from optimizer.serve.capacity import find_machine
from optimizer.serve.changes import Changes
from optimizer.serve.config import Config
from optimizer.serve.folder import JobFolder
from optimizer.serve.intake import Intake
from optimizer.serve.job import Job, State
from optimizer.serve.jobs_servicer import Desk, JobsServicer
from optimizer.serve.metrics import Metrics
from optimizer.serve.recipe_check import RecipeRules
from optimizer.serve.rights import RULES
from optimizer.serve.scheduler import FAULTS, Command, Scheduler, Terms
from optimizer.serve.status import BORDER
from optimizer.serve.store import JobStore

log = logging.getLogger(__name__)

JOBS_SERVICE = jobs_pb2.DESCRIPTOR.services_by_name["Jobs"].full_name
# Calls that neither watch nor read a file.
_UNARY_THREADS = 8
_SETTLE_S = 1.0


class JobService:
    """A job service that serves from construction to `close`."""

    def __init__(
        self, config: Config, checks: Sequence[Check] = (), command: Command | None = None
    ) -> None:
        """Go on with the jobs there are, then listen.

        Args:
            config: The rest.
            checks: What else must be well for the service to call itself live.
            command: What is run for a job; `optimizer run` unless given.

        Raises:
            ConfigError: If the state folder, the key or an address is not usable.
        """
        files = tls_files(config.tls)
        if files is None:
            check_plaintext(config.listen, is_allowed=config.insecure, where="--listen")
        with ExitStack() as resources:
            desk = _open_desk(config, command or run_command(config.key), resources)
            self._store, self._scheduler, self._changes = desk.store, desk.scheduler, desk.changes
            self.metrics = Metrics(desk.store, desk.scheduler, desk.machine)
            resources.callback(self.metrics.log_lines.close)
            self.check_live = first_of([*checks, desk.scheduler.check])
            self._health = Health(self.check_live)
            self._server = self._make_server(config, desk)
            credentials = None if files is None else server_credentials(files)
            self.address = bind(self._server, config.listen, credentials)
            self.metrics_address = self._open_page(config.metrics, resources)
            self._start(desk)
            self._resources = resources.pop_all()

    def _open_page(self, address: str, resources: ExitStack) -> str:
        if not address:
            return ""
        probes = {LIVE: self.check_live, READY: self.check_ready}
        page = MetricsPage(address, self.metrics.registry, probes)
        resources.callback(page.close)
        log.info("metrics on http://%s/metrics", page.address)
        return page.address

    def _start(self, desk: Desk) -> None:
        self._scheduler.start()
        self._server.start()
        for service in ("", JOBS_SERVICE):
            self._health.set(service, health_pb2.HealthCheckResponse.SERVING)
        machine = desk.machine
        memory_mib = machine.memory_bytes >> 20
        log.info(
            "jobs may use %d cores, %d GPUs, %d MiB",
            len(machine.cores),
            len(machine.gpus),
            memory_mib,
        )
        log.info("serving on %s", self.address)

    def check_ready(self) -> str | None:
        """Return why no request is taken, or None."""
        return "stopping" if self._changes.is_closed else None

    def status(self) -> str:
        """Return how things stand, in a few words."""
        state = "stopping" if self._changes.is_closed else f"serving on {self.address}"
        counts = self._store.counts()
        return f"{state}; {counts[State.RUNNING]} running, {counts[State.QUEUED]} queued"

    def close(self) -> None:
        """Stop: calls end, then jobs, which go on when the service is there again."""
        log.info("stopping: %s", self.status())
        self._health.enter_graceful_shutdown()
        self._changes.close()
        self._server.stop(_SETTLE_S).wait()
        self._scheduler.close()
        self._resources.close()
        log.info("stopped")

    def _make_server(self, config: Config, desk: Desk) -> grpc.Server:
        threads = config.limits.watchers + _UNARY_THREADS
        guards: list[grpc.ServerInterceptor] = []
        if config.tls.allow:
            allowed = watch_allow_list(Path(config.tls.allow))
            guards = [guard(Authorization(RULES, allowed.get, self.metrics.denied))]
        server = grpc.server(
            ThreadPoolExecutor(threads, "jobs"),
            interceptors=[*guards, reader()],
            options=server_options(config.wire),
            maximum_concurrent_rpcs=8 * threads,
        )
        handlers = _handlers(JobsServicer(desk))
        server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(JOBS_SERVICE, handlers),)
        )
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        names = (JOBS_SERVICE, HEALTH_SERVICE, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, server)
        return server


def _open_desk(config: Config, command: Command, resources: ExitStack) -> Desk:
    folder = _state_folder(config.state, resources)
    machine, rules, changes = find_machine(config.capacity), _recipe_rules(config), Changes()
    store = JobStore(folder / "jobs.sqlite3")
    resources.callback(store.close)
    terms = Terms(machine, config.limits.crashes, config.limits.kept, config.wire.stop_s)
    intake = Intake(store, config.limits.lines)
    try:
        scheduler = Scheduler(store, folder / "jobs", terms, command, intake, changes)
    except FAULTS as error:
        raise ConfigError("state", f"jobs in '{folder}' cannot be followed: {error}") from error
    return Desk(store, scheduler, changes, machine, rules, config.limits, folder)


def run_command(key: str) -> Command:
    """Return what runs a job: `optimizer run` in the job's own folder.

    Raises:
        ConfigError: If the key cannot be read.
    """
    signing = Path(key).absolute() if key else None
    read_signer(signing)  # not only when the first network has been trained

    def command(job: Job, folder: JobFolder) -> list[str]:
        words = [sys.executable, "-P", "-m", "optimizer.cli", "run", str(folder.recipe)]
        words += ["--out", str(folder.run), "--json"]
        words += ["--key", str(signing)] if signing else []
        words += ["--bundle-version", job.version] if job.version else []
        return words + (["--seed", str(job.seed)] if job.seed is not None else [])

    return command


def _handlers(servicer: JobsServicer) -> "dict[str, grpc.RpcMethodHandler[Any, Any]]":
    """Return the service's methods; gRPC's own registration would pass errors on as UNKNOWN."""
    methods = jobs_pb2.DESCRIPTOR.services_by_name["Jobs"].methods
    handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {}
    for method in methods:
        behavior: Callable[..., Any] = getattr(servicer, method.name)
        request = getattr(jobs_pb2, method.input_type.name)
        if method.server_streaming:
            make, wrapped = grpc.unary_stream_rpc_method_handler, BORDER.guarded_stream(behavior)
        else:
            make, wrapped = grpc.unary_unary_rpc_method_handler, BORDER.guarded(behavior)
        handlers[method.name] = make(
            wrapped,
            request_deserializer=request.FromString,
            response_serializer=lambda message: message.SerializeToString(),
        )
    return handlers


def _recipe_rules(config: Config) -> RecipeRules:
    roots = tuple(Path(path).expanduser() for path in config.paths)
    for root in roots:
        if not root.is_absolute() or not root.is_dir():
            raise ConfigError("paths", f"expected absolute paths of folders, received '{root}'")
    for address in config.ray:
        parse_address(address, "ray")
    listed = config.field.prometheus
    return RecipeRules(config.limits.recipe_bytes, roots, config.ray, listed)


def _state_folder(state: str, resources: ExitStack) -> Path:
    """Return the folder of the jobs, this service's alone until `resources` are closed.

    Raises:
        ConfigError: If it cannot be written, or another service uses it.
    """
    if not state:
        raise ConfigError("state", "name the folder of jobs with --state DIR")
    folder = Path(state).expanduser().absolute()
    try:
        (folder / "jobs").mkdir(mode=0o750, parents=True, exist_ok=True)
        handle = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        resources.callback(os.close, handle)
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise ConfigError("state", f"another service uses '{folder}'") from error
    except OSError as error:
        reason = error.strerror or error
        raise ConfigError("state", f"'{folder}' cannot be used: {reason}") from error
    return folder
