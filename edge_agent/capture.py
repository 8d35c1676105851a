"""Inputs that this agent sends to the fog for its sample, where told to; see docs/capture.md.

Requests at partition point 0 in float32 bring the inputs themselves. At every other point an agent
draws windows by itself and sends them in calls of their own, off the windows' way: what finds no
room in a bounded queue is dropped, and a fog that wants none is not asked again for long.
"""

import logging
import os
import random
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import grpc

from edge_agent.backoff import delays
from edge_agent.config import Config
from edge_agent.fog_client import channel_options, one_line
from edge_agent.guard import Begin
from edge_agent.loaded import Loaded
from edge_agent.plan import Plan
from edge_agent.running import Running, client_tls
from edge_agent.sources.frame import Frame
from headtail.errors import ConfigError
from headtail.tensor import to_bytes
from headtail.tls import secure_channel
from headtail.v1 import capture_pb2 as pb
from headtail.v1.capture_pb2_grpc import CaptureStub

if TYPE_CHECKING:
    from edge_agent.metrics import Metrics

log = logging.getLogger(__name__)

MAX_WAITING, MAX_WAITING_BYTES = 64, 4 << 20
"""Windows that wait to be sent."""
CALL_WINDOWS, CALL_BYTES = 16, 1 << 20
"""What one call brings at most, but for a window that is larger by itself."""
CALL_S, CLOSE_S = 5.0, 2.0
"""Longest call, and the longest that the end of a run waits for what is still to be sent."""
FIRST_S, CAP_S = 1.0, 300.0
"""Largest first wait after a call that failed, and the largest ever."""
SILENT_S = 3600.0
"""How long a fog that captures nothing is left alone."""
UNWANTED = frozenset(
    {
        grpc.StatusCode.FAILED_PRECONDITION,
        grpc.StatusCode.UNIMPLEMENTED,
        grpc.StatusCode.PERMISSION_DENIED,
        grpc.StatusCode.UNAUTHENTICATED,
        grpc.StatusCode.INVALID_ARGUMENT,
    }
)
"""Answers that the next call would get too."""
OUTCOMES = ("sent", "dropped", "failed", "unwanted")
_NICE = 10


@dataclass(frozen=True, slots=True)
class _Drawn:
    frame: Frame
    plan: Plan
    digest: str
    size_bytes: int


class Capture:
    """Draws windows on the run's thread and sends them on its own."""

    def __init__(
        self, config: Config, running: Callable[[], Loaded], rng: random.Random | None = None
    ) -> None:
        """Begin; nothing is sent before a fog has said that it wants any.

        Args:
            config: Names the fogs, and the share of the windows.
            running: Returns the bundle that takes windows.
            rng: Draws; a new one where none is given.
        """
        self._config = config
        self._running = running
        self._rng = rng or random.Random()  # noqa: S311 - draws a sample; no secret
        self._lock = threading.Condition()
        self._waiting: deque[_Drawn] = deque()
        self._waiting_bytes = 0
        self._is_open = True
        self._is_closed = False
        self._close_s = 0.0
        self._is_said = False
        self._channel: grpc.Channel | None = None
        self.windows: Counter[str] = Counter()
        """Windows drawn, by outcome."""
        self.sent_bytes = 0
        """Bytes of the messages that brought them."""
        self._thread = threading.Thread(target=self._run, name="capture", daemon=True)
        self._thread.start()

    def watching(self, begin: Begin) -> Begin:
        """Return what begins windows and then draws from them."""

        def begun(frames: Sequence[Frame]) -> None:
            begin(frames)
            self.offer(frames)

        return begun

    def offer(self, frames: Sequence[Frame]) -> None:
        """Draw from windows that were begun, unless their requests bring the inputs."""
        ratio = self._config.capture_ratio
        drawn = [frame for frame in frames if self._rng.random() < ratio]
        if not drawn:
            return
        loaded = self._running()
        if brings_inputs(loaded.plan):
            return
        if not self._is_open:
            self.windows["unwanted"] += len(drawn)
            return
        for frame in drawn:
            self._put(_Drawn(frame, loaded.plan, loaded.digest, _size(frame)))

    def close(self) -> None:
        """Send what waits, in a short time, and end."""
        with self._lock:
            self._is_closed = True
            self._close_s = time.monotonic() + CLOSE_S
            self._lock.notify_all()
        self._thread.join(CLOSE_S)
        with self._lock:
            channel = self._channel
        if channel is not None:
            channel.close()
        self._thread.join(1.0)

    def _put(self, drawn: _Drawn) -> None:
        with self._lock:
            is_full = len(self._waiting) >= MAX_WAITING
            if is_full or self._waiting_bytes + drawn.size_bytes > MAX_WAITING_BYTES:
                self.windows["dropped"] += 1
                return
            self._waiting.append(drawn)
            self._waiting_bytes += drawn.size_bytes
            self._lock.notify_all()

    def _run(self) -> None:
        with suppress(OSError):  # of this thread alone: windows come first
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
        waits = _delays()
        while self._wait_for_work():
            codes = set()
            for fog in self._config.fogs:
                code = self._serve(fog)
                if code is None:
                    return
                codes.add(code)
            if codes <= UNWANTED:
                waits = _delays()
                self._be_silent()
            else:
                self._rest(next(waits))

    def _wait_for_work(self) -> bool:
        """Wait for a window; return whether there is one: otherwise the run has ended."""
        with self._lock:
            self._lock.wait_for(lambda: self._waiting or self._is_closed)
            return bool(self._waiting)

    def _serve(self, fog: str) -> grpc.StatusCode | None:
        """Send to one fog until that fails; return how, None at the end of the run."""
        try:
            tls = client_tls(self._config)
            channel = secure_channel(fog, tls, channel_options(self._config.keepalive_s))
        except ConfigError as error:  # a certificate that is being rotated, perhaps
            log.debug("capture: fog %s: %s", fog, error)
            return grpc.StatusCode.UNAVAILABLE
        with closing(channel):
            send = CaptureStub(channel).CaptureWindows
            self._channel = channel
            try:
                self._send_all(fog, send)
            except grpc.RpcError as error:
                code: grpc.StatusCode = error.code()
                if not self._is_said:
                    self._is_said = True
                    log.info("fog %s takes no inputs now: %s: %s", fog, code.name, one_line(error))
                return code
            except ValueError:  # the channel was closed: the run ends
                pass
            finally:
                self._channel = None
        return None

    def _send_all(
        self,
        fog: str,
        send: "grpc.UnaryUnaryMultiCallable[pb.CaptureWindowsRequest, pb.CaptureWindowsResponse]",
    ) -> None:
        """Ask whether windows are wanted, then send them until the run ends.

        Raises:
            grpc.RpcError: If a call fails.
        """
        asked = ""
        while self._wait_for_work():
            digest = self._waiting[0].digest
            if digest != asked:
                send(self._request(digest, ()), timeout=self._timeout_s)
                asked = digest
                self._is_said = False
                log.info("fog %s takes inputs: %g of them", fog, self._config.capture_ratio)
            batch = self._take()
            request = self._request(digest, batch)
            try:
                send(request, timeout=self._timeout_s)
            except grpc.RpcError as error:
                is_unwanted = error.code() in UNWANTED
                self.windows["unwanted" if is_unwanted else "failed"] += len(batch)
                raise
            self.sent_bytes += request.ByteSize()
            self.windows["sent"] += len(batch)

    def _take(self) -> list[_Drawn]:
        """Return what waits of one bundle, as much as a call may bring."""
        batch: list[_Drawn] = []
        with self._lock:
            size = 0
            while self._waiting and len(batch) < CALL_WINDOWS:
                first = self._waiting[0]
                size += first.size_bytes
                if batch and (first.digest != batch[0].digest or size > CALL_BYTES):
                    break
                batch.append(self._waiting.popleft())
                self._waiting_bytes -= first.size_bytes
        return batch

    def _request(self, digest: str, batch: Sequence[_Drawn]) -> pb.CaptureWindowsRequest:
        return pb.CaptureWindowsRequest(
            agent=self._config.agent_name,
            bundle_digest=digest,
            windows=[_encode(drawn) for drawn in batch],
        )

    def _be_silent(self) -> None:
        """Let windows be, for long: no fog wants any."""
        with self._lock:
            self._is_open = False
            self.windows["unwanted"] += len(self._waiting)
            self._waiting.clear()
            self._waiting_bytes = 0
        self._rest(SILENT_S)
        self._is_open = True

    def _rest(self, seconds: float) -> None:
        with self._lock:
            self._lock.wait_for(lambda: self._is_closed, seconds)
            if self._is_closed:
                self._waiting.clear()

    @property
    def _timeout_s(self) -> float:
        if not self._is_closed:
            return CALL_S
        return max(0.01, self._close_s - time.monotonic())


def open_capture(
    config: Config, running: Callable[[], Running], metrics: "Metrics | None", stack: ExitStack
) -> Capture:
    """Begin to draw windows; their counts are on the page where there is one."""
    capture = Capture(config, lambda: running().loaded)
    stack.callback(capture.close)
    if metrics is not None:
        from edge_agent.capture_metrics import CaptureCollector

        metrics.registry.register(CaptureCollector(capture))
    return capture


def brings_inputs(plan: Plan) -> bool:
    """Return whether the requests of a plan bring the model's inputs as they are."""
    return plan.point.index == 0 and plan.wire_specs == plan.point.activation


def _size(frame: Frame) -> int:
    return sum(array.nbytes for array in frame.tensors.values())


def _encode(drawn: _Drawn) -> pb.CapturedWindow:
    arrays = [drawn.frame.tensors[spec.name] for spec in drawn.plan.manifest.inputs]
    tensors = [pb.CapturedTensor(shape=a.shape, content=to_bytes(a)) for a in arrays]
    return pb.CapturedWindow(sequence=drawn.frame.sequence, inputs=tensors)


def _delays() -> Iterator[float]:
    return delays(FIRST_S, CAP_S, random.Random())  # noqa: S311 - spreads agents out; no secret
