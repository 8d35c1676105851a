"""Damaged spools: a SpoolError that names the file, or windows as they were stored."""

import tempfile
from contextlib import closing, suppress
from functools import cache
from pathlib import Path

from hypothesis import strategies as st

from edge_agent.spool import Change, Spool
from edge_agent.spool_entry import Entry
from fuzzing import damaged, fuzz
from headtail.errors import SpoolError

WINDOWS = 40


def entry(sequence: int) -> Entry:
    """Return a window with a payload of its own."""
    payload = sequence.to_bytes(4, "big") * 60
    return Entry(sequence, sequence, "", None, "d", 1, "int8", True, payload, 0.0)


@cache
def spool_bytes() -> bytes:
    """Return a spool of 40 windows as the bytes of its file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.spool"
        with closing(Spool(path, "off")) as spool:
            spool.begin("npz:a.npz", "out.jsonl", 0, 0)
            spool.commit(Change([entry(i) for i in range(WINDOWS)]))
        return path.read_bytes()


def check_spool(data: st.DataObject) -> None:
    """Opened, read, written to and emptied, as a run does."""
    content = data.draw(damaged(spool_bytes()))
    with tempfile.TemporaryDirectory() as folder, suppress(SpoolError):
        path = Path(folder) / "b.spool"
        path.write_bytes(content)
        with closing(Spool(path, "off")) as spool:
            assert spool.state is None or spool.state.next >= 0
            for kept in spool.read(-1, 100):
                assert kept.payload == entry(int.from_bytes(kept.payload[:4], "big")).payload
            spool.commit(Change([entry(WINDOWS)], delivered=3))
            spool.bundles()


test_spool, test_spool_for_long = fuzz(check_spool, data=st.data())
