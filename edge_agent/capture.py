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
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, suppress
from typing import TYPE_CHECKING

import grpc

from edge_agent.backoff import delays
from edge_agent.capture_queue import CaptureQueue, Drawn
from edge_agent.config import Config
from edge_agent.fog_client import channel_options
from edge_agent.fog_errors import one_line
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

CALL_S, CLOSE_S = 5.0, 2.0
"""Longest call, and the longest that the end of a run waits for what is still to be sent."""
FIRST_S, CAP_S = 1.0, 300.0
"""Largest first wait after a call that failed, and the largest ever."""
SILENT_S = 3600.0
"""How long fogs that capture nothing are left alone."""
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
        self.queue = CaptureQueue()
        self.sent_bytes = 0
        """Bytes of the messages that brought windows."""
        self._close_s = 0.0
        self._is_said = False
        self._channel: grpc.Channel | None = None
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
        plan, digest = loaded.plan, loaded.digest
        if not brings_inputs(plan):
            for frame in drawn:
                self.queue.put(Drawn(frame, plan, digest))

    def close(self) -> None:
        """Send what waits, in a short time, and end."""
        self._close_s = time.monotonic() + CLOSE_S
        self.queue.close()
        self._thread.join(CLOSE_S)
        channel = self._channel
        if channel is not None:
            channel.close()
        self._thread.join(1.0)

    def _run(self) -> None:
        with suppress(OSError):  # of this thread alone: windows come first
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
        waits = _delays()
        while self.queue.first() is not None:
            codes = set()
            for fog in self._config.fogs:
                code = self._serve(fog)
                if code is None:
                    return
                codes.add(code)
            if codes <= UNWANTED:
                waits = _delays()
                self.queue.rest(SILENT_S, is_wanted=False)
            else:
                self.queue.rest(next(waits), is_wanted=True)

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
        while (first := self.queue.first()) is not None:
            if first.digest != asked:
                send(self._request(first.digest, ()), timeout=self._timeout_s)
                asked = first.digest
                self._is_said = False
                log.info("fog %s takes inputs: %g of them", fog, self._config.capture_ratio)
            batch = self.queue.take()
            request = self._request(asked, batch)
            try:
                send(request, timeout=self._timeout_s)
            except grpc.RpcError as error:
                outcome = "unwanted" if error.code() in UNWANTED else "failed"
                self.queue.count(outcome, len(batch))
                raise
            self.sent_bytes += request.ByteSize()
            self.queue.count("sent", len(batch))

    def _request(self, digest: str, batch: Sequence[Drawn]) -> pb.CaptureWindowsRequest:
        return pb.CaptureWindowsRequest(
            agent=self._config.agent_name,
            bundle_digest=digest,
            windows=[_encode(drawn) for drawn in batch],
        )

    @property
    def _timeout_s(self) -> float:
        if not self.queue.is_closed:
            return CALL_S
        return max(0.01, self._close_s - time.monotonic())


def open_capture(
    config: Config, running: Callable[[], Running], metrics: "Metrics | None", stack: ExitStack
) -> Capture:
    """Begin to draw windows; their counts are on the page where there is one."""

    def find() -> Loaded:
        now = running()
        return now.loaded._replace(plan=now.agent.plan)

    capture = Capture(config, find)
    stack.callback(capture.close)
    if metrics is not None:
        from edge_agent.capture_metrics import CaptureCollector

        metrics.registry.register(CaptureCollector(capture))
    return capture


def brings_inputs(plan: Plan) -> bool:
    """Return whether the requests of a plan bring the model's inputs as they are."""
    return plan.point.index == 0 and plan.wire_specs == plan.point.activation


def _encode(drawn: Drawn) -> pb.CapturedWindow:
    arrays = [drawn.frame.tensors[spec.name] for spec in drawn.plan.manifest.inputs]
    tensors = [pb.CapturedTensor(shape=a.shape, content=to_bytes(a)) for a in arrays]
    return pb.CapturedWindow(sequence=drawn.frame.sequence, inputs=tensors)


def _delays() -> Iterator[float]:
    return delays(FIRST_S, CAP_S, random.Random())  # noqa: S311 - spreads agents out; no secret
