"""The captured windows of one model on the disk: shards that are never changed, only replaced.

A shard is written beside its place and then put there, so that a kill leaves whole shards and at
most a file that the next server removes. Servers that share the folder take turns by a lock. A
kill between a new shard and the removal of those that it replaces leaves windows twice; they have
the same id, and the next turn keeps one.
"""

import errno
import fcntl
import logging
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fog_server.capture.reservoir import Bounds, Entry, Settled, settle
from fog_server.capture.window import Kind, Window, make_shard, take
from headtail.captured import PATTERN, Index, Shard, read_index, read_shard, write_shard
from headtail.errors import DataError
from headtail.files import replacing, sync_folder

log = logging.getLogger(__name__)

LOCK = ".lock"
"""Locked while the folder is changed; it holds the limit of the keys."""
MIN_FREE_BYTES = 64 << 20
"""What is left free on the disk: for bundles and the rollout's state, and for whoever shares it."""
SHARD_WINDOWS, SHARD_BYTES = 256, 4 << 20
MAX_SMALL = 16
"""Shards of less than a quarter of the usual size before they are put together."""
_PARTS = 16
_MODE, _FOLDER_MODE = 0o600, 0o700
_FRAMING_BYTES = 512
_PROBE_BYTES = 256 << 10
Place = tuple[str, int]
"""File name and row; no name where the window is yet to be stored."""


@dataclass(frozen=True, slots=True)
class Turn:
    """What one turn in the folder did, and how it stands now."""

    stored: int
    replaced: int
    expired: int
    windows: int
    size_bytes: int
    below: float


@dataclass(frozen=True, slots=True)
class _Stored:
    index: Index
    size_bytes: int


class ModelFolder:
    """The sample of one model; several servers may use the folder, each from one thread."""

    def __init__(self, path: Path, bounds: Bounds) -> None:
        """Keep windows below `path`, which is made where there are any."""
        self.path = path
        self._shard_bytes = min(SHARD_BYTES, bounds.size_bytes // _PARTS)
        # One shard may be there twice while it is replaced, and files are larger than windows.
        room = bounds.size_bytes - 2 * self._shard_bytes
        self._bounds = Bounds(bounds.windows, room, bounds.age_s)
        self._known: dict[str, _Stored] = {}
        self._broken: set[str] = set()

    def update(self, pending: Sequence[Window], now_s: float) -> Turn:
        """Let windows join the sample, and remove what is too old or too much.

        Raises:
            OSError: If the folder cannot be written, or the disk is nearly full.
        """
        with _locked(self.path) as lock:
            self._look(now_s)
            entries = [*self._entries()]
            before = len(entries)
            entries += map(_entry, pending, range(len(pending)))
            settled = settle(entries, self._bounds, _read_below(lock), now_s)
            _write_below(lock, settled.below)
            self._apply(settled, pending)
            stored = sum(not e.what[0] for e in settled.kept)
            return Turn(
                stored,
                max(0, before - (len(settled.kept) - stored) - settled.expired),
                settled.expired,
                sum(len(s.index) for s in self._known.values()),
                sum(s.size_bytes for s in self._known.values()),
                settled.below,
            )

    def forget(self) -> int:
        """Remove every window; return how many there were.

        Raises:
            OSError: If they cannot be removed.
        """
        if not self.path.is_dir():
            return 0
        with _locked(self.path) as lock:
            self._look(0.0)
            windows = sum(len(s.index) for s in self._known.values())
            for path in self.path.glob(PATTERN):
                path.unlink(missing_ok=True)
            _write_below(lock, 1.0)
            sync_folder(self.path)
            self._known.clear()
            return windows

    def _look(self, now_s: float) -> None:
        """Learn what is there; with the lock held, so a file half written is nobody's."""
        for path in self.path.glob(".*.npz.*"):
            path.unlink(missing_ok=True)
        names = {path.name for path in self.path.glob(PATTERN)}
        self._known = {name: s for name, s in self._known.items() if name in names}
        for name in sorted(names - self._known.keys()):
            path = self.path / name
            try:
                self._known[name] = _Stored(read_index(path), path.stat().st_size)
            except DataError as error:
                if name not in self._broken:
                    log.warning("%s; left out", error)
                self._broken.add(name)
                if path.stat().st_mtime < now_s - self._bounds.age_s:
                    path.unlink(missing_ok=True)

    def _entries(self) -> Iterator[Entry[Place]]:
        for name, stored in self._known.items():
            index, share = stored.index, stored.size_bytes / max(1, len(stored.index))
            rows = zip(index.keys.tolist(), index.times_s.tolist(), index.ids.tolist(), strict=True)
            for row, (key, time_s, id_) in enumerate(rows):
                yield Entry(key, time_s, share, id_, (name, row))

    def _apply(self, settled: Settled[Place], pending: Sequence[Window]) -> None:
        """Make the folder hold what was settled."""
        kept: dict[str, list[int]] = {}
        for entry in settled.kept:
            kept.setdefault(entry.what[0], []).append(entry.what[1])
        joining = [pending[row] for row in sorted(kept.pop("", []))]
        for name in self._known.keys() - kept.keys():
            self._remove([name])
        changed = [n for n, s in self._known.items() if len(kept[n]) < len(s.index)]
        small = [n for n, s in self._known.items() if n not in changed and self._is_small(s)]
        if len(small) >= MAX_SMALL:
            changed += small
        by_kind: dict[Kind, _Rewriting] = {}
        for name in changed:
            shard = self._read(name)
            if shard is not None:
                found = take(shard, np.array(sorted(kept[name])))
                by_kind.setdefault(Kind.of(found), _Rewriting([], [])).add(found, name)
            else:
                self._remove([name])
            self._write_full(by_kind)
        for window in joining:
            shard = make_shard(window)
            by_kind.setdefault(Kind.of(shard), _Rewriting([], [])).add(shard, "")
            self._write_full(by_kind)
        for rewriting in by_kind.values():
            self._write(rewriting)

    def _is_small(self, stored: _Stored) -> bool:
        few = len(stored.index) < SHARD_WINDOWS // 4
        return few and stored.size_bytes < self._shard_bytes // 4

    def _read(self, name: str) -> Shard | None:
        try:
            return read_shard(self.path / name)
        except DataError as error:
            log.warning("%s; removed", error)
            return None

    def _write_full(self, by_kind: "dict[Kind, _Rewriting]") -> None:
        for kind, rewriting in list(by_kind.items()):
            if rewriting.windows >= SHARD_WINDOWS or rewriting.size_bytes >= self._shard_bytes:
                self._write(by_kind.pop(kind))

    def _write(self, rewriting: "_Rewriting") -> None:
        """Write one shard, then remove those that it replaces."""
        shard = rewriting.joined()
        name = f"{uuid.uuid4().hex}.npz"
        free = shutil.disk_usage(self.path).free - MIN_FREE_BYTES
        if rewriting.size_bytes > free and not any(rewriting.sources):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        with replacing(self.path / name, _MODE) as file:
            write_shard(file, shard)
        sync_folder(self.path)
        self._known[name] = _Stored(shard.index, (self.path / name).stat().st_size)
        self._remove([source for source in rewriting.sources if source])

    def _remove(self, names: Sequence[str]) -> None:
        for name in names:
            (self.path / name).unlink(missing_ok=True)
            self._known.pop(name, None)


@dataclass(slots=True)
class _Rewriting:
    """Windows of one kind that are to be in one shard, and the files they come from."""

    shards: list[Shard]
    sources: list[str]
    windows: int = 0
    size_bytes: int = 0

    def add(self, shard: Shard, source: str) -> None:
        self.shards.append(shard)
        self.sources.append(source)
        self.windows += len(shard.index)
        self.size_bytes += sum(a.nbytes for a in shard.inputs) + _FRAMING_BYTES * len(shard.index)

    def joined(self) -> Shard:
        first = self.shards[0].index
        parts = [s.index for s in self.shards]
        index = Index(
            first.header,
            *(
                np.concatenate([getattr(p, name) for p in parts])
                for name in ("ids", "keys", "times_s", "agents", "sequences")
            ),
        )
        columns = zip(*(s.inputs for s in self.shards), strict=True)
        return Shard(index, tuple(np.concatenate(column) for column in columns))


def _entry(window: Window, number: int) -> Entry[Place]:
    size = sum(a.nbytes for a in window.inputs) + _FRAMING_BYTES
    return Entry(window.key, window.time_s, size, window.id, ("", number))


def check_room(folder: Path) -> None:
    """Write a file as large as a small shard, and remove it.

    Raises:
        OSError: If that fails, or would leave too little free.
    """
    folder.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
    if shutil.disk_usage(folder).free < MIN_FREE_BYTES + _PROBE_BYTES:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(bytes(_PROBE_BYTES))
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def _locked(path: Path) -> Iterator[int]:
    path.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
    handle = os.open(path / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _MODE)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield handle
    finally:
        os.close(handle)


def _read_below(lock: int) -> float:
    try:
        below = float(os.pread(lock, 64, 0))
    except ValueError:  # a new file
        return 1.0
    return below if 0.0 < below <= 1.0 else 1.0


def _write_below(lock: int, below: float) -> None:
    os.pwrite(lock, f"{below:.20f}\n".encode(), 0)
