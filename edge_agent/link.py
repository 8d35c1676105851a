"""The link to the fog: windows in flight, their deadlines, losing the fog and finding it again.

Three threads meet here. The run's thread sends. A reader per stream takes the replies. A keeper
expires deadlines and reconnects. Whoever takes a message out of `_pending` under the lock finishes
it: that is why no window is lost and none is finished twice.
"""

import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from grpc import StatusCode

from edge_agent.fog_client import FogClient, FogStream, make_error
from headtail.errors import (
    DeadlineExceeded,
    FogUnavailable,
    ModelNotFound,
    Overloaded,
    RemoteError,
    RequestInvalid,
)
from headtail.oip import InferResponse, read_stream_response

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Request:
    """One message on its way: when it left and until when its answer is wanted."""

    id: str
    content: bytes
    sent_s: float
    deadline_s: float
    """On the link's clock."""


class Outcome(Protocol):
    """What becomes of a request: exactly one of `answered` and `failed`, on any thread."""

    def answered(self, request: Request, response: InferResponse, received_s: float) -> None:
        """Take the fog's answer."""
        ...

    def failed(self, request: Request, error: RemoteError) -> None:
        """Finish the window without the fog."""
        ...

    def refused(self, error: RemoteError) -> None:
        """End the run: the fog refused what no repetition will mend."""
        ...


class FogLink:
    """Keeps one stream to the fog open while it can."""

    def __init__(
        self,
        client: FogClient,
        outcome: Outcome,
        delays: Callable[[], Iterator[float]],
        clock: Callable[[], float],
    ) -> None:
        """Prepare; nothing is connected before `start`.

        Args:
            client: Opens streams.
            outcome: Told what becomes of each request.
            delays: Makes the generator of reconnection delays in seconds.
            clock: Monotonic seconds.
        """
        self._client = client
        self._outcome = outcome
        self._delays = delays
        self._clock = clock
        self._lock = threading.Condition()
        self._pending: dict[str, Request] = {}
        self._stream: FogStream | None = None
        self._is_closed = False
        self._has_tried = False
        self._is_keeper_idle = False
        self._paused_until_s = 0.0
        self._last_heard_s = 0.0
        self._is_draining = False
        # Delays to come while the fog has not proved itself by an answer; None once it has.
        self._waits: Iterator[float] | None = None
        self._reader: threading.Thread | None = None
        self._keeper = threading.Thread(target=self._keep, name="fog-keeper", daemon=True)

    @property
    def is_up(self) -> bool:
        """Whether a stream to the fog is open."""
        return self._stream is not None

    def start(self) -> None:
        """Begin to connect, in the background."""
        self._keeper.start()

    def wait_first_attempt(self, seconds: float) -> None:
        """Wait until the first attempt to connect has succeeded or failed."""
        with self._lock:
            self._lock.wait_for(lambda: self._has_tried, seconds)

    def send(self, request: Request) -> RemoteError | None:
        """Send a request; return why not where the fog is away or wants a pause.

        None means that `outcome` will hear of it.
        """
        with self._lock:
            if self._stream is None or self._is_draining:
                return FogUnavailable(self._client.fog, "draining" if self._stream else "away")
            wait_s = self._paused_until_s - request.sent_s
            if wait_s > 0:
                return Overloaded(f"fog {self._client.fog}", "asked for a pause", wait_s)
            self._pending[request.id] = request
            self._stream.send(request.content)
            if self._is_keeper_idle:
                self._lock.notify_all()
        return None

    def close(self) -> None:
        """Close the stream; what is still pending fails first."""
        with self._lock:
            self._is_closed = True
            stream = self._stream
            self._lock.notify_all()
        if stream is not None:
            stream.close()
        if self._reader is not None:
            self._reader.join()
        self._keeper.join()

    def _keep(self) -> None:
        while True:
            with self._lock:
                if self._is_closed:
                    return
                is_up = self._stream is not None
            if is_up:
                self._expire()
            else:
                self._connect()

    def _connect(self) -> None:
        """Try once, after a delay where the last stream or attempt brought no answer."""
        if self._waits is not None and self._wait_closed(next(self._waits)):
            return
        self._waits = self._waits or self._delays()
        try:
            stream = self._client.connect()
        except (ModelNotFound, RequestInvalid) as error:
            self._outcome.refused(error)
            self._first_attempt_done()
            self._wait_closed(None)
        except RemoteError as error:
            if not self._has_tried:
                log.warning("fog away: %s; finishing on the edge", error)
            self._first_attempt_done()
        else:
            log.info("fog %s: %s", "back" if self._has_tried else "connected", self._client.fog)
            self._adopt(stream)
            self._first_attempt_done()

    def _adopt(self, stream: FogStream) -> None:
        """Make `stream` the one in use."""
        with self._lock:
            if self._is_closed:
                stream.close()
                return
            self._stream = stream
            self._is_draining = False
            self._paused_until_s = 0.0
            self._last_heard_s = self._clock()
            self._reader = threading.Thread(
                target=self._read, args=(stream,), name="fog-reader", daemon=True
            )
            self._reader.start()

    def _wait_closed(self, seconds: float | None) -> bool:
        """Wait until the link is closed, at most so long; return whether it is."""
        with self._lock:
            return self._lock.wait_for(lambda: self._is_closed, seconds)

    def _first_attempt_done(self) -> None:
        with self._lock:
            self._has_tried = True
            self._lock.notify_all()

    def _expire(self) -> None:
        """Sleep until the oldest deadline, and fail what is past its own."""
        with self._lock:
            oldest = next(iter(self._pending.values()), None)
            now_s = self._clock()
            if oldest is None or now_s < oldest.deadline_s:
                self._is_keeper_idle = oldest is None
                self._lock.wait(None if oldest is None else oldest.deadline_s - now_s)
                self._is_keeper_idle = False
                return
            late = [r for r in self._pending.values() if r.deadline_s <= now_s]
            for request in late:
                del self._pending[request.id]
            is_silent = self._last_heard_s < oldest.sent_s
            stream = self._stream
        for request in late:
            allowed_s = request.deadline_s - request.sent_s
            self._outcome.failed(request, DeadlineExceeded(f"fog {self._client.fog}", allowed_s))
        if is_silent and stream is not None:
            # Nothing at all came back in a whole deadline: the next window need not wait for it.
            error = FogUnavailable(self._client.fog, "silent past a deadline")
            self._lose(stream, error)

    def _read(self, stream: FogStream) -> None:
        try:
            for data in stream.replies():
                self._take(data)
        except RemoteError as error:
            self._lose(stream, error)

    def _take(self, data: bytes) -> None:
        received_s = self._clock()
        response = read_stream_response(data)
        with self._lock:
            request = self._pending.pop(response.id, None)
            self._last_heard_s = received_s
            if not response.error:
                self._waits = None
                self._is_draining = bool(response.parameters.get("draining"))
        if not response.error:
            if request is not None:
                self._outcome.answered(request, response, received_s)
            return
        error = stream_error(response, self._client)
        if isinstance(error, Overloaded):
            with self._lock:
                self._paused_until_s = received_s + error.retry_delay_s
        if isinstance(error, ModelNotFound | RequestInvalid):
            self._outcome.refused(error)
        if request is not None:
            self._outcome.failed(request, error)

    def _lose(self, stream: FogStream, error: RemoteError) -> None:
        """Drop a stream, unless it is dropped already, and fail all that waits for it."""
        with self._lock:
            if self._stream is not stream:
                return
            self._stream = None
            lost = list(self._pending.values())
            self._pending.clear()
            is_closed = self._is_closed
            self._lock.notify_all()
        stream.close()
        if not is_closed:
            log.warning("fog lost: %s; finishing on the edge", error)
        for request in lost:
            self._outcome.failed(request, error)


def stream_error(response: InferResponse, client: FogClient) -> RemoteError:
    """Return the domain error of a stream's answer to one request."""
    name = str(response.parameters.get("status", ""))
    status = StatusCode.__members__.get(name, StatusCode.UNKNOWN)
    delay_ms = response.parameters.get("retry_delay_ms", 0)
    retry_delay_s = max(0.0, float(delay_ms) / 1e3) if isinstance(delay_ms, int) else 0.0
    text = " ".join(response.error.split())[:300]
    return make_error(status, text, client.fog, client.tail.key, retry_delay_s)
