"""A source that is read ahead on a thread of its own: windows are made while others run and travel.

It pays where making a window takes longer than handing it to another thread, as decoding an image
does. What has been made goes on at once, and together with what queues behind it.
"""

import threading
from collections import deque
from collections.abc import Iterator, Sequence

from edge_agent.sources.frame import Frame, FrameSource, Start


class ReadAhead:
    """Another source's frames, up to two messages of them ready before they are asked for."""

    def __init__(self, source: FrameSource) -> None:
        """Read nothing yet; `source` is this object's from now on."""
        self._source = source
        self._change = threading.Condition()
        self._ready: deque[Frame] = deque()
        self._room = 0
        self._is_over = False
        self._is_closed = False
        self._error: BaseException | None = None
        self._thread: threading.Thread | None = None

    @property
    def identity(self) -> str:
        """The source's."""
        return self._source.identity

    @property
    def is_replayed(self) -> bool:
        """The source's."""
        return self._source.is_replayed

    @property
    def skipped(self) -> int:
        """Inputs that the source left out."""
        return int(getattr(self._source, "skipped", 0))

    def resume(self, start: Start) -> None:
        """Begin there; before `batches`."""
        self._source.resume(start)

    def batches(self, limit: int) -> Iterator[Sequence[Frame]]:
        """Yield what is ready, 1 to `limit` frames at a time; once.

        Raises:
            HeadtailError: What the source raised, after the frames before it.
        """
        self._room = 2 * limit
        self._thread = threading.Thread(target=self._read, name="source", daemon=True)
        self._thread.start()
        while frames := self._take(limit):
            yield frames

    def close(self) -> None:
        """End the thread and free what the source holds."""
        with self._change:
            self._is_closed = True
            self._change.notify_all()
        if self._thread is not None:
            self._thread.join()
        self._source.close()

    def _take(self, limit: int) -> Sequence[Frame]:
        """Wait for frames and return them; none at the source's end."""
        with self._change:
            self._change.wait_for(lambda: self._ready or self._is_over)
            if not self._ready and self._error is not None:
                raise self._error
            frames = [self._ready.popleft() for _ in range(min(limit, len(self._ready)))]
            self._change.notify_all()
        return frames

    def _read(self) -> None:
        try:
            for frames in self._source.batches(1):
                if not self._put(frames):
                    return
        except BaseException as error:  # noqa: BLE001 - raised again in the run's thread
            self._error = error
        finally:
            with self._change:
                self._is_over = True
                self._change.notify_all()

    def _put(self, frames: Sequence[Frame]) -> bool:
        """Wait for room and add frames; return False where none are wanted any more."""
        with self._change:
            self._change.wait_for(lambda: self._is_closed or len(self._ready) < self._room)
            self._ready.extend(frames)
            self._change.notify_all()
            return not self._is_closed
