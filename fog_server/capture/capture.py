"""The sample of the models' inputs: drawn on the requests' threads, stored on a thread of its own.

Nothing here holds a request up: what is drawn is copied into a queue with bounds, and what finds no
room there is dropped and counted.
"""

import logging
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
from prometheus_client import CollectorRegistry

from fog_server.capture.folder import ModelFolder, check_room
from fog_server.capture.metrics import CaptureMetrics, Fate
from fog_server.capture.names import hash_name, read_salt
from fog_server.capture.reservoir import Bounds
from fog_server.capture.window import Window, make_header, read_sequences
from fog_server.config import Capture as Settings
from fog_server.store import BundleStore, StoredBundle
from fog_server.tail import Tail
from headtail.captured import PATTERN
from headtail.errors import HeadtailError
from headtail.oip import InferRequest
from headtail.tensor import Array

log = logging.getLogger(__name__)

FOLDER = "capture"
"""Below the folder of bundles, where no other is named."""
SEQUENCES = "sequences"
"""The parameter in which an agent numbers its windows."""
MAX_WAITING, MAX_WAITING_BYTES = 1024, 32 << 20
"""Windows that wait to be written."""
FLUSH_S, FLUSH_WINDOWS = 2.0, 256
"""Longest wait of a window to be written, and how many are written at once."""
RETRY_S = 30.0
"""How long nothing is captured after something could not be written."""
LOOK_S = 5.0
"""How often the limit of the keys is learnt from the folder, which other servers may share."""
MAX_SHARE = 16
"""A window larger than this part of the bytes that may be kept is not captured."""


def capture_folder(settings: Settings, bundles: str) -> Path:
    """Return where captured windows are."""
    return Path(settings.folder) if settings.folder else Path(bundles) / FOLDER


class Capture:
    """Draws inputs and keeps them; several threads may offer at once."""

    def __init__(
        self,
        settings: Settings,
        folder: Path,
        store: BundleStore,
        registry: CollectorRegistry,
        rng: random.Random | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Begin; the folder's windows that are too old are removed at once.

        Args:
            settings: Whether anything is captured, and how much of it is kept.
            folder: Of the sample; one folder for each model below it.
            store: Knows the bundles that are served.
            registry: Takes the metrics.
            rng: Draws; a new one where none is given.
            clock: Unix time, in seconds.

        Raises:
            OSError: If something is to be captured and the folder cannot be made.
        """
        self.settings = settings
        self._folder = folder
        self._store = store
        self._metrics = CaptureMetrics(registry)
        self._rng = rng or random.Random()  # noqa: S311 - draws a sample; no secret
        self._clock = clock
        self._salt = b""
        if settings.enabled and not settings.keep_agent_names:
            self._salt = read_salt(folder)
        self._bounds = Bounds(settings.max_windows, settings.max_bytes, settings.retention_s)
        self._lock = threading.Condition()
        self._waiting: deque[Window] = deque()
        self._waiting_bytes = 0
        self._below: dict[str, float] = {}
        self._folders: dict[str, ModelFolder] = {}
        self._is_stopped = self._is_closed = False
        self._tick_s = min(LOOK_S, max(0.05, settings.retention_s / 20))
        self._thread = threading.Thread(target=self._run, name="capture", daemon=True)
        self._thread.start()

    def takes(self, model: str) -> bool:
        """Return whether a model's inputs are captured at all."""
        models = self.settings.models
        return self.settings.enabled and (not models or model in models)

    def offer_request(
        self, tail: Tail, activation: Mapping[str, Array], request: InferRequest, agent: str
    ) -> None:
        """Draw from the windows of a request that was answered, where it brought the inputs."""
        if tail.point != 0 or self._is_stopped or not self.settings.enabled:
            return
        windows = tail.windows(activation)
        drawn = [row for row in range(windows) if self._rng.random() < self.settings.ratio]
        model = tail.chain.manifest.name
        if not drawn or not carries_inputs(tail) or not self.takes(model):
            return
        keys = [self._rng.random() for _ in drawn]
        limit = self._below.get(model, 1.0)
        chosen = [(row, key) for row, key in zip(drawn, keys, strict=True) if key < limit]
        if not chosen:
            return
        try:
            bundle = self._store.bundle(model, tail.version)
        except HeadtailError:  # retired a moment ago
            return
        sequences = read_sequences(request.parameters.get(SEQUENCES), windows)
        names = [spec.name for spec in bundle.manifest.inputs]
        for row, key in chosen:
            inputs = [activation[n][row] if tail.is_batchable else activation[n] for n in names]
            self._put(bundle, inputs, key, (agent, sequences[row]))

    def offer_window(
        self, bundle: StoredBundle, inputs: Sequence[Array], agent: str, sequence: int
    ) -> None:
        """Take a window that an agent has drawn; without the batch axis where the model has one."""
        model = bundle.manifest.name
        self._metrics.received(model, sum(array.nbytes for array in inputs))
        key = self._rng.random()
        if not self._is_stopped and key < self._below.get(model, 1.0):
            self._put(bundle, inputs, key, (agent, sequence))

    def refused(self, model: str, windows: int) -> None:
        """Count windows of an agent that were not fit to be taken."""
        self._metrics.count(model, Fate.REFUSED, windows)

    def close(self) -> None:
        """Write what waits, and end."""
        with self._lock:
            self._is_closed = True
            self._lock.notify_all()
        self._thread.join()

    def _put(
        self, bundle: StoredBundle, inputs: Sequence[Array], key: float, origin: tuple[str, int]
    ) -> None:
        """Copy a window into the queue, if there is room."""
        model, (agent, sequence) = bundle.manifest.name, origin
        size = sum(array.nbytes for array in inputs)
        if size > self._bounds.size_bytes // MAX_SHARE:
            self._metrics.count(model, Fate.REFUSED)
            return
        with self._lock:
            # The closed one writes no more.
            is_full = len(self._waiting) >= MAX_WAITING or self._is_closed
            if is_full or self._waiting_bytes + size > MAX_WAITING_BYTES:
                self._metrics.count(model, Fate.DROPPED)
                return
            name = agent if self.settings.keep_agent_names else hash_name(agent, self._salt)
            header = make_header(bundle.manifest, bundle.digest)
            copies = tuple(np.array(array) for array in inputs)
            self._waiting.append(Window(header, copies, key, self._clock(), name, sequence))
            self._waiting_bytes += size
            if len(self._waiting) == FLUSH_WINDOWS:
                self._lock.notify_all()

    def _run(self) -> None:
        """Write what comes until the end; what cannot be written stops the capture alone."""
        looked_s = float("-inf")
        while True:
            with self._lock:
                self._lock.wait_for(self._is_due, min(FLUSH_S, self._tick_s))
                is_last = self._is_closed
                windows = list(self._waiting)
                self._waiting.clear()
                self._waiting_bytes = 0
            now_s = time.monotonic()
            is_look_due = is_last or now_s - looked_s >= self._tick_s
            if is_look_due:
                looked_s = now_s
            self._turn(windows, with_all=is_look_due)
            if is_last:
                return
            if self._is_stopped:
                with self._lock:
                    self._lock.wait_for(lambda: self._is_closed, RETRY_S)
                looked_s = float("-inf")

    def _is_due(self) -> bool:
        return self._is_closed or len(self._waiting) >= FLUSH_WINDOWS

    def _turn(self, windows: Sequence[Window], *, with_all: bool) -> None:
        """Store windows; with all, look after the other models too, whose windows grow old."""
        by_model: dict[str, list[Window]] = {}
        for window in windows:
            by_model.setdefault(window.header.model, []).append(window)
        fault = ""
        if self._is_stopped:
            try:
                check_room(self._folder)
            except OSError as error:
                fault = str(error)
        for model in sorted(by_model.keys() | (self._stored() if with_all else set())):
            folder = self._folders.setdefault(
                model, ModelFolder(self._folder / model, self._bounds)
            )
            pending = by_model.get(model, [])
            try:
                turn = folder.update(pending, self._clock())
            except (OSError, HeadtailError) as error:
                self._metrics.count(model, Fate.FAILED, len(pending))
                fault = str(error)
            else:
                self._below[model] = turn.below
                self._metrics.turned(model, turn)
        self._say(fault)

    def _stored(self) -> set[str]:
        with suppress(OSError):
            return {path.parent.name for path in self._folder.glob(f"*/{PATTERN}")}
        return set()

    def _say(self, fault: str) -> None:
        """Log once that capturing stops, and that it goes on."""
        if fault and not self._is_stopped:
            log.error("capture stopped, serving goes on: %s", fault)
        if not fault and self._is_stopped:
            log.info("capture goes on")
        self._is_stopped = bool(fault)
        self._metrics.stopped.set(float(self._is_stopped))


def carries_inputs(tail: Tail) -> bool:
    """Return whether a tail's requests bring the model's inputs as they were, bit by bit."""
    named = {spec.name for spec in tail.chain.manifest.inputs}
    is_input = tail.point == 0 and {spec.name for spec in tail.activation} == named
    return is_input and tail.inputs == tail.activation
