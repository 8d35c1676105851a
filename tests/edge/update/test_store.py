"""The folder of updates: content-addressed, locked, and no larger than it must be."""

import os

import pytest

from edge_agent.update.state import Kept, begun, switched
from edge_agent.update.store import Store
from headtail.bundle import read_bundle
from headtail.errors import BundleUnreadable, ConfigError, FogUnavailable


@pytest.fixture
def store(tmp_path):
    """Return an empty folder."""
    store = Store(tmp_path / "updates")
    yield store
    store.close()


@pytest.fixture
def good(good_path, trust):
    """Return version 1.1.0."""
    return read_bundle(good_path, trust)


def names(store: Store) -> set[str]:
    """Return what lies in a folder."""
    return {path.name for path in store.folder.iterdir()}


def kept(bundle) -> Kept:
    """Return what a state says of a bundle."""
    return Kept(bundle.digest, bundle.manifest.name, bundle.manifest.version)


def test_bundle_lies_under_its_digest(store, bundle, bundle_path, trust):
    added = store.add(bundle.digest, lambda write: write(bundle_path.read_bytes()), trust)
    assert bundle.digest == added.digest
    assert {f"{bundle.digest}.bundle", "lock"} == names(store)
    assert bundle.digest == store.read(bundle.digest, trust).digest


def test_another_bundle_than_wanted_is_refused_and_leaves_nothing(
    store, bundle, good, good_path, trust
):
    with pytest.raises(BundleUnreadable, match=f"expected digest {bundle.digest[:12]}, received"):
        store.add(bundle.digest, lambda write: write(good_path.read_bytes()), trust)
    assert {"lock"} == names(store)


def test_fetch_that_breaks_off_leaves_nothing(store, bundle, trust):
    def fill(write):
        write(b"half")
        raise FogUnavailable("a:1", "gone")

    with pytest.raises(FogUnavailable, match="gone"):
        store.add(bundle.digest, fill, trust)
    assert {"lock"} == names(store)


def test_no_more_is_written_than_allowed(store, bundle, trust):
    with pytest.raises(BundleUnreadable, match="more than 100 bytes"):
        store.add(bundle.digest, lambda write: [write(bytes(60)) for _ in range(2)], trust, 100)


def test_only_what_the_state_needs_stays(store, bundle, bundle_path, good, good_path, trust):
    """The bundle that is about to be needed stays as well, while it is wanted."""
    for one, path in ((bundle, bundle_path), (good, good_path)):
        store.add(one.digest, lambda write, path=path: write(path.read_bytes()), trust)
    store.wanted = good.digest
    store.save(begun(kept(bundle)))
    assert store.has(good.digest)
    store.wanted = ""
    store.save(begun(kept(bundle)))
    assert not store.has(good.digest)
    assert store.has(bundle.digest)


def test_what_a_crash_left_is_removed_at_the_next_start(store, bundle, good, tmp_path):
    state = switched(begun(kept(bundle)), kept(good), 0)
    store.save(state)
    for name in (".new-1", ".state.json.xyz", f"{'9' * 64}.bundle", f"{good.digest}.bundle"):
        (store.folder / name).write_bytes(b"")
    store.close()
    again = Store(store.folder)
    assert {"lock", "state.json", f"{good.digest}.bundle"} == names(again)
    assert state == again.state
    store._lock = os.dup(again._lock)  # closed by the fixture
    again.close()


def test_folder_has_one_agent(store):
    with pytest.raises(ConfigError, match="in use by another agent; name another --state"):
        Store(store.folder)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_folder_that_cannot_be_written_is_named(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(ConfigError, match="cannot be written: Permission denied"):
        Store(tmp_path / "updates")
