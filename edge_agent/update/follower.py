"""Follows a fog's directives over gRPC, fetches what they name, and reports how it went.

Nothing here is on a window's way: a fog that is away, slow or knows nothing of directives costs a
sleeping thread.
"""

import logging
import random
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import grpc
from grpc import StatusCode

from edge_agent.backoff import delays
from edge_agent.config import Config
from edge_agent.fog_check import SERVICE
from edge_agent.fog_client import channel_options
from edge_agent.fog_errors import call_error, one_line
from edge_agent.running import client_tls
from edge_agent.update.directive import Directive, Report
from edge_agent.update.shadow import Shadows
from edge_agent.update.status import decode_comparison, decode_directive, encode_status
from edge_agent.update.tallies import Tallies
from edge_agent.update.updater import Updater
from headtail.errors import ConfigError, FogUnavailable, RemoteError, RemoteFailed
from headtail.tls import secure_channel
from headtail.v1 import control_pb2
from headtail.v1.control_pb2_grpc import ControlStub

log = logging.getLogger(__name__)

FIRST_S, CAP_S = 1.0, 60.0
"""Largest first wait between attempts to reach a fog, and the largest ever."""
DEAF_S = 300.0
"""Wait after a fog that knows no directives, or none for this bundle, or denies them."""
DEAF = (StatusCode.UNIMPLEMENTED, StatusCode.NOT_FOUND, StatusCode.PERMISSION_DENIED)
CALL_S, FETCH_S = 10.0, 600.0
"""Longest report, and longest fetch."""
REPORT_S, MIN_REPORT_S, MAX_REPORT_S = 30.0, 0.2, 3600.0
"""Interval of reports where the fog asks for none, and what it may ask for."""


class Follower:
    """The updater's superior: the first fog of the list that gives directives."""

    def __init__(
        self,
        config: Config,
        updater: Updater,
        shadows: Shadows,
        tallies: Tallies,
        profile: str,
    ) -> None:
        """Prepare; `start` begins.

        Args:
            config: Names the fogs.
            updater: Follows.
            shadows: Told what to compare answers with.
            tallies: What each bundle did, for the reports.
            profile: Name of the device profile; empty: none.
        """
        self._config = config
        self._updater = updater
        self._shadows = shadows
        self._tallies = tallies
        self._profile = profile
        self._run_id = uuid.uuid4().hex
        self._generation = 0
        self._taking = threading.Lock()
        self._heard = 0
        """Generation of the last directive on this connection."""
        self._interval_s = REPORT_S
        self._lock = threading.Condition()
        self._channel: grpc.Channel | None = None
        self._stub: ControlStub | None = None
        self._ping: Callable[..., bytes] | None = None
        self._fog = ""
        self._last: Report | None = None
        self._is_changed = self._is_said = False
        self._closed = threading.Event()
        self.observe: Callable[[float], object] = lambda _: None
        """Told of the round trip of an empty call before each report that nothing waits for."""
        self._threads = [
            threading.Thread(target=self._watch, name="follower", daemon=True),
            threading.Thread(target=self._tell, name="reporter", daemon=True),
        ]

    def start(self) -> None:
        """Begin to follow."""
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Hang up; a fetch under way fails."""
        with self._lock:
            self._closed.set()
            self._lock.notify_all()
            if self._channel is not None:
                self._channel.close()
        for thread in self._threads:
            thread.join()

    def report(self, report: Report) -> None:
        """Tell the fog soon."""
        with self._lock:
            self._last, self._is_changed = report, True
            self._lock.notify_all()

    def fetch(self, directive: Directive, write: Callable[[bytes], object]) -> None:
        """Hand the file of a directive's bundle to `write`, in pieces.

        Raises:
            RemoteError: If the fog is away, or sends something else.
        """
        with self._lock:
            stub, fog = self._stub, self._fog
        if stub is None:
            raise FogUnavailable(fog, "away")
        request = control_pb2.FetchBundleRequest(
            name=directive.name, version=directive.version, digest=directive.digest
        )
        model = directive.name, directive.version
        try:
            parts = stub.FetchBundle(request, timeout=FETCH_S)
            size = _announced(next(parts, None), directive, fog)
            for part in parts:
                size -= len(part.chunk)
                write(part.chunk)
        except (grpc.RpcError, ValueError) as error:  # ValueError: the channel was closed
            raise _remote(error, fog, model) from error
        if size:
            raise RemoteFailed(f"fog {fog}", f"sent {-size:+d} bytes more than it announced")

    def _watch(self) -> None:
        """Keep a call open to the first fog that has directives, and try again when it ends."""
        waits = _delays()
        while not self._closed.is_set():
            deaf = 0
            for fog in self._config.fogs:
                status, is_heard = self._listen(fog)
                if is_heard:
                    waits = _delays()
                    break
                deaf += status in DEAF
            wait_s = DEAF_S if deaf == len(self._config.fogs) else next(waits)
            if self._closed.wait(wait_s):
                return

    def _listen(self, fog: str) -> tuple[StatusCode, bool]:
        """Follow one fog until it ends the call; return how, and whether it said anything."""
        is_heard = False
        try:
            channel, stub = self._open(fog)
        except ConfigError as error:  # a certificate that is being rotated, perhaps
            log.debug("directives of fog %s: %s", fog, error)
            return StatusCode.UNAVAILABLE, False
        try:
            for message in stub.WatchDirectives(self._status()):
                is_heard = True
                self._take(message)
        except grpc.RpcError as error:
            code: StatusCode = error.code()
            self._say_deaf(fog, code, one_line(error))
            return code, is_heard
        except ValueError:  # the channel was closed
            return StatusCode.CANCELLED, is_heard
        finally:
            self._hang_up(channel)
        return StatusCode.OK, is_heard

    def _open(self, fog: str) -> tuple[grpc.Channel, ControlStub]:
        """Connect; the one stub is made before anybody can close the channel.

        grpcio 1.85 refuses a call on a closed channel, and crashes where a stub is made of one.
        """
        tls = client_tls(self._config)
        channel = secure_channel(fog, tls, channel_options(self._config.keepalive_s))
        stub = ControlStub(channel)
        ping: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(
            SERVICE + "ServerReady", request_serializer=None, response_deserializer=None
        )
        self._heard = 0
        with self._lock:
            self._channel, self._stub, self._ping, self._fog = channel, stub, ping, fog
            if self._closed.is_set():
                channel.close()
            self._is_changed = True
            self._lock.notify_all()
        return channel, stub

    def _hang_up(self, channel: grpc.Channel) -> None:
        with self._lock:
            self._channel = self._stub = self._ping = None
        channel.close()

    def _say_deaf(self, fog: str, code: StatusCode, text: str) -> None:
        """Log once that a fog gives no directives."""
        if code in DEAF and not self._is_said:
            self._is_said = True
            log.info("no updates from fog %s: %s: %s", fog, code.name, text)

    def _take(self, message: control_pb2.Directive) -> None:
        """Pass a directive on; the answer to a report may be older than what was heard since."""
        with self._taking:
            if message.generation >= self._heard:
                self._heard = self._generation = message.generation
                self._follow(message)

    def _follow(self, message: control_pb2.Directive) -> None:
        """Pass a directive on, unless it is empty or cannot be."""
        wanted_s = message.report_interval_s or REPORT_S
        self._interval_s = max(MIN_REPORT_S, min(wanted_s, MAX_REPORT_S))
        self._shadows.queue.ask(decode_comparison(message))
        if not message.digest:
            return
        directive = decode_directive(message)
        if directive is None:
            if not self._is_said:
                log.warning("fog %s: a directive that cannot be is left out", self._fog)
            self._is_said = True
            return
        self._is_said = False
        self._updater.offer(directive)

    def _tell(self) -> None:
        """Report each change, and now and then that all is as it was."""
        while not self._closed.is_set():
            with self._lock:
                self._lock.wait_for(
                    lambda: (self._is_changed and self._stub) or self._closed.is_set(),
                    self._interval_s,
                )
                stub, ping, is_idle = self._stub, self._ping, not self._is_changed
                if stub is not None:
                    self._is_changed = False
            if stub is None or self._closed.is_set():
                continue
            if is_idle and ping is not None:
                self._measure(ping)
            try:
                self._take(stub.ReportStatus(self._status(), timeout=CALL_S))
            except (grpc.RpcError, ValueError) as error:
                log.debug("report not taken: %s", error)
                self._closed.wait(MIN_REPORT_S)

    def _measure(self, ping: Callable[..., bytes]) -> None:
        """Tell how long the smallest of calls takes: a report is no smaller than a window."""
        began_s = time.monotonic()
        try:
            ping(b"", timeout=CALL_S)
        except (grpc.RpcError, ValueError) as error:
            log.debug("round trip not measured: %s", error)
            return
        self.observe(time.monotonic() - began_s)

    def _status(self) -> Any:
        with self._lock:
            last = self._last
        return encode_status(
            control_pb2.AgentStatus(
                agent=self._config.agent_name,
                generation=self._generation,
                run_id=self._run_id,
                device_profile=self._profile,
            ),
            self._updater,
            last,
            self._tallies.read(),
        )


def _announced(first: Any, directive: Directive, fog: str) -> int:
    """Return the size in bytes that a fog announces for the bundle wanted."""
    if first is None or first.bundle.digest != directive.digest:
        received = "nothing" if first is None else f"bundle {first.bundle.digest[:12]}"
        wanted = directive.digest[:12]
        raise RemoteFailed(f"fog {fog}", f"asked for bundle {wanted}, it sent {received}")
    size: int = first.bundle.size_bytes
    return size


def _remote(error: grpc.RpcError | ValueError, fog: str, model: tuple[str, str]) -> RemoteError:
    if isinstance(error, ValueError):
        return FogUnavailable(fog, "the run ends")
    return call_error(error, fog, model)


def _delays() -> Iterator[float]:
    return delays(FIRST_S, CAP_S, random.Random())  # noqa: S311 - spreads agents out; no secret
