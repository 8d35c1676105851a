"""What a run keeps on disk: its sink, its spool, and where the run before it ended."""

import logging
import math
import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from edge_agent.config import Config
from edge_agent.sinks import Sink, is_stdout, open_sink, parse_sink
from edge_agent.sources.frame import FrameSource, Start
from headtail.errors import ConfigError, SpoolError

if TYPE_CHECKING:  # SQLite is imported only where there is a spool
    from edge_agent.spool import Spool, State
    from edge_agent.spool_entry import Entry

log = logging.getLogger(__name__)

OFF = "off"
SUFFIX, BUNDLES_SUFFIX = ".spool", ".bundles"


class Storage:
    """A sink, perhaps a spool, and where the run begins."""

    def __init__(self, sink: Sink, spool: "Spool | None", start: Start) -> None:
        """Hold both until closed; `start` is where the source goes on."""
        self.sink = sink
        self.spool = spool
        self.start = start
        self.is_over = False
        oldest = self.unanswered(1)
        self.first = oldest[0].sequence if oldest else start.sequence
        """Sequence of the first window that is to be answered."""

    @property
    def where(self) -> str:
        """The spool's path, for errors."""
        return str(self.spool.path) if self.spool else OFF

    @property
    def bundles(self) -> Path:
        """Folder beside the spool, for the bundles that its windows need."""
        return Path(self.where + BUNDLES_SUFFIX)

    def unanswered(self, limit: int, after: int = -1) -> "list[Entry]":
        """Return the oldest windows that are kept and whose results the sink lacks."""
        return self.spool.read(max(after, self.sink.highest), limit) if self.spool else []

    def close(self) -> None:
        """Close the sink and the spool; a run that is over leaves no spool behind."""
        if self.spool is not None:
            if self.is_over:
                self.sink.sync()
                self.spool.remove()
                shutil.rmtree(self.bundles, ignore_errors=True)
            else:
                self.spool.close()
        self.sink.close()


def spool_path(config: Config) -> Path | None:
    """Return the spool's file: the one named, or beside the sink; None where there is none."""
    if config.spool == OFF or (not config.spool and is_stdout(config.sink)):
        return None
    if config.spool:
        return Path(config.spool)
    path = parse_sink(config.sink)[1]
    return path.with_name(path.name + SUFFIX)


def open_storage(config: Config, digest: str, source: FrameSource) -> Storage:
    """Open the sink and the spool, and find where to go on.

    Raises:
        ConfigError: If the sink cannot be opened or exists and that was not said to be right.
        SpoolError: If the spool cannot be used, or belongs to another source or sink.
    """
    path = spool_path(config)
    if path is None:
        sink = open_sink(config.sink, digest, config.existing, sys.stdout.buffer)
        return Storage(sink, None, Start(sequence=sink.highest + 1))
    _check_new(config, path)
    from edge_agent.spool import Spool

    spool = Spool(path, config.spool_sync)
    try:
        return _continue(config, digest, source, spool)
    except BaseException:
        spool.close()
        raise


def _check_new(config: Config, path: Path) -> None:
    """Refuse a sink that exists before a spool is made for it; with a spool it is our own."""
    is_there = not is_stdout(config.sink) and parse_sink(config.sink)[1].exists()
    if config.existing == "refuse" and is_there and not path.exists():
        open_sink(config.sink, "", "refuse", sys.stdout.buffer)
    if not path.parent.is_dir():
        what = "--spool" if config.spool else "--sink"
        raise ConfigError(what, f"'{path}' cannot be opened: No such file or directory")


def _continue(config: Config, digest: str, source: FrameSource, spool: "Spool") -> Storage:
    sink_name = config.sink if is_stdout(config.sink) else str(parse_sink(config.sink)[1].resolve())
    state = spool.state
    if state is None or config.existing == "overwrite":
        return _begin(config, digest, (source.identity, sink_name), spool)
    for what, kept, asked in (
        ("source", state.source, source.identity), ("sink", state.sink, sink_name)
    ):  # fmt: skip
        if kept != asked:
            raise SpoolError(
                str(spool.path),
                f"holds a run that is not over, of {what} '{kept}'; this one has '{asked}';"
                " name another --spool, or say --existing overwrite to give it up",
            )
    sink = open_sink(config.sink, digest, "append", sys.stdout.buffer, state.sink_bytes)
    if config.spool_when_full == "drop":
        _drop(config, spool, sink.highest + 1)
    start = _start(state, source, sink)
    log.info(
        "going on: %d windows kept, then %s from window %d on",
        spool.windows, state.source.split(" ")[0], start.sequence,
    )  # fmt: skip
    return Storage(sink, spool, start)


def _drop(config: Config, spool: "Spool", first: int) -> None:
    """Give up what has become too old, or too much, since the run before ended."""
    from edge_agent.spool import Change

    age_s = config.spool_max_age_s
    oldest_s = time.time() - age_s if age_s else -math.inf
    spool.commit(Change(delivered=first))
    stop = spool.surplus(config.spool_max_bytes, oldest_s)
    if stop:
        dropped = spool.windows
        spool.commit(Change(dropped=range(stop)))
        log.warning("spool full: %d windows below %d dropped", dropped - spool.windows, stop)


def _begin(config: Config, digest: str, names: tuple[str, str], spool: "Spool") -> Storage:
    """Begin a run; a sink that is appended to goes on with its own numbers."""
    if spool.windows:
        log.warning("spool %s: %d windows given up", spool.path, spool.windows)
    if config.existing == "refuse":
        # Begun before the sink is made: a sink of ours is never found without its spool.
        spool.begin(*names, 0, 0)
        sink = open_sink(config.sink, digest, "append", sys.stdout.buffer, 0)
    else:
        sink = open_sink(config.sink, digest, config.existing, sys.stdout.buffer)
        spool.begin(*names, sink.highest + 1, sink.sync())
    return Storage(sink, spool, Start(sequence=sink.highest + 1))


def _start(state: "State", source: FrameSource, sink: Sink) -> Start:
    """Return where the source goes on.

    A sink that is ahead of the spool (which takes a power loss without `spool_sync` full) holds
    windows that a source yields again, or cannot yield again.
    """
    first = state.next if source.is_replayed else max(state.next, sink.highest + 1)
    return Start(first, -1 if state.sample is None else state.sample, state.place)
