"""Shards of one model: bounds on the disk, several servers, damage, retention, deletion."""

import os
import threading
from dataclasses import replace

import numpy as np
import pytest
from captured_windows import BUNDLE, header, kept, window

from fog_server.capture.folder import ModelFolder
from fog_server.capture.reservoir import Bounds
from headtail.captured import read_shard

FOREVER = 1e9


def windows(count, rng, size=8, first=0):
    """Return windows with random content and keys."""
    return [
        window(
            rng.standard_normal(size).astype(np.float32), float(rng.random()), sequence=first + i
        )
        for i in range(count)
    ]


def used(folder):
    """Return the bytes of all files of a folder."""
    return sum(path.stat().st_size for path in folder.iterdir())


def test_what_is_stored_is_read_again(tmp_path):
    """Inputs bit by bit, and whose they were."""
    rng = np.random.default_rng(1)
    folder = ModelFolder(tmp_path, Bounds(100, 1 << 20, FOREVER))
    stored = windows(5, rng)
    turn = folder.update(stored, 0.0)
    (path,) = tmp_path.glob("*.npz")
    shard = read_shard(path)
    assert (5, 0, 0, 5, 1.0) == (
        turn.stored, turn.replaced, turn.expired, turn.windows, turn.below,
    )  # fmt: skip
    assert header() == shard.index.header
    assert np.array([w.inputs[0] for w in stored]).tobytes() == shard.inputs[0].tobytes()
    assert [w.id for w in stored] == shard.index.ids.tolist()
    assert ["a"] * 5 == shard.index.agents.tolist()
    assert [0, 1, 2, 3, 4] == shard.index.sequences.tolist()
    assert 0o600 == path.stat().st_mode & 0o777


@pytest.mark.parametrize("size", [4, 3000])
def test_bounds_hold_on_the_disk(size, tmp_path):
    """After every turn: at most so many windows, and all files together in so many bytes."""
    rng = np.random.default_rng(2)
    folder = ModelFolder(tmp_path, Bounds(150, 1 << 20, FOREVER))
    offered = []
    for turn_number in range(40):
        new = windows(20, rng, size, 20 * turn_number)
        offered += new
        turn = folder.update(new, 0.0)
        assert turn.windows == len(kept(tmp_path)) <= 150
        assert used(tmp_path) <= 1 << 20
        assert len(list(tmp_path.glob("*.npz"))) <= 40
    by_key = sorted(offered, key=lambda w: w.key)
    assert {w.id for w in by_key[: turn.windows]} == kept(tmp_path).keys()
    assert turn.windows > 50


def test_servers_that_share_a_folder_keep_one_sample(tmp_path):
    """Four of them at once: the smallest keys of all that was offered, each once."""
    bounds = Bounds(100, 1 << 20, FOREVER)
    offered = [windows(200, np.random.default_rng(i)) for i in range(4)]

    def work(own):
        folder = ModelFolder(tmp_path, bounds)
        for start in range(0, 200, 10):
            folder.update(own[start : start + 10], 0.0)

    threads = [threading.Thread(target=work, args=(own,)) for own in offered]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = kept(tmp_path).keys()
    smallest = sorted((w for own in offered for w in own), key=lambda w: w.key)
    assert 75 <= len(found) <= 100
    assert {w.id for w in smallest[: len(found)]} == found


def test_a_restart_goes_on_with_the_same_limit(tmp_path):
    """What a full sample turned away once is turned away after a restart too."""
    rng = np.random.default_rng(3)
    bounds = Bounds(50, 1 << 20, FOREVER)
    before = ModelFolder(tmp_path, bounds).update(windows(120, rng), 0.0)
    after = ModelFolder(tmp_path, bounds).update([], 0.0)
    assert before.below == pytest.approx(after.below, rel=1e-12)
    assert after.below < 0.5


def test_old_windows_are_removed_one_by_one(tmp_path):
    """Of a shard with old and young ones the young stay."""
    rng = np.random.default_rng(4)
    folder = ModelFolder(tmp_path, Bounds(100, 1 << 20, 60.0))
    mixed = [replace(w, time_s=float(i)) for i, w in enumerate(windows(10, rng))]
    folder.update(mixed, 10.0)
    turn = folder.update([], 64.5)
    assert (5, 5) == (turn.expired, turn.windows)
    assert {w.id for w in mixed[5:]} == kept(tmp_path).keys()
    assert 5 == folder.update([], 1000.0).expired
    assert [] == list(tmp_path.glob("*.npz"))


def test_a_window_that_is_there_twice_is_kept_once(tmp_path):
    """As after a kill between a new shard and the removal of the old."""
    rng = np.random.default_rng(5)
    stored = windows(6, rng)
    ModelFolder(tmp_path / "a", Bounds(100, 1 << 20, FOREVER)).update(stored, 0.0)
    ModelFolder(tmp_path / "b", Bounds(100, 1 << 20, FOREVER)).update(stored[:4], 0.0)
    (extra,) = (tmp_path / "b").glob("*.npz")
    extra.rename(tmp_path / "a" / extra.name)
    (tmp_path / "a" / ".x.npz.half").write_bytes(b"half")
    turn = ModelFolder(tmp_path / "a", Bounds(100, 1 << 20, FOREVER)).update([], 0.0)
    assert (6, 6) == (turn.windows, len(kept(tmp_path / "a")))
    assert not list((tmp_path / "a").glob(".*.npz.*"))


def test_damaged_shards_are_left_out_and_named_once(tmp_path, caplog):
    """A file that is no shard harms no other; it goes when it is old."""
    rng = np.random.default_rng(6)
    (tmp_path / "bad.npz").write_bytes(b"PK no shard")
    folder = ModelFolder(tmp_path, Bounds(100, 1 << 20, 60.0))
    for _ in range(3):
        folder.update(windows(2, rng), 0.0)
    assert 1 == caplog.text.count("bad.npz")
    os.utime(tmp_path / "bad.npz", (0, 0))
    folder.update([], 100.0)
    assert not (tmp_path / "bad.npz").exists()


def test_forgotten_windows_are_gone(tmp_path):
    """Files too, and the sample begins anew."""
    rng = np.random.default_rng(7)
    folder = ModelFolder(tmp_path, Bounds(50, 1 << 20, FOREVER))
    folder.update(windows(120, rng), 0.0)
    count = len(kept(tmp_path))
    other = ModelFolder(tmp_path, Bounds(1, 1 << 20, FOREVER))
    assert count == other.forget()
    assert {} == kept(tmp_path)
    assert (3, 1.0) == ((turn := folder.update(windows(3, rng), 0.0)).windows, turn.below)
    assert 0 == ModelFolder(tmp_path / "none", Bounds(1, 1 << 20, FOREVER)).forget()


def test_windows_of_different_bundles_and_shapes_are_in_different_shards(tmp_path):
    rng = np.random.default_rng(8)
    mixed = windows(3, rng) + windows(2, rng, 9)
    mixed.append(replace(windows(1, rng)[0], header=header("f" * 64)))
    turn = ModelFolder(tmp_path, Bounds(50, 1 << 20, FOREVER)).update(mixed, 0.0)
    shards = [read_shard(path) for path in tmp_path.glob("*.npz")]
    assert (6, [1, 2, 3]) == (turn.windows, sorted(len(s.index) for s in shards))
    assert {BUNDLE, "f" * 64} == {s.index.header.bundle for s in shards}
