"""The bundle store: all or nothing, and the newest version by its numbers."""

import shutil
from pathlib import Path

import pytest

from fog_server.store import BundleStore, load_store
from headtail.bundle.keys import read_trust, write_key_pair
from headtail.errors import (
    BundleError,
    ConfigError,
    ModelNotFound,
    SelfTestFailed,
    SignatureInvalid,
)
from headtail.segment import SessionOptions

OPTIONS = SessionOptions()


@pytest.fixture(scope="module")
def store(bundle_folder, trust):
    """Return the store of the test bundles."""
    store = load_store(bundle_folder, trust, OPTIONS)
    yield store
    store.close()


def test_bundles_are_sorted_by_name_then_version(store):
    """1.9 comes before 1.10."""
    found = [(b.manifest.name, b.manifest.version) for b in store.bundles]
    assert [("chain", "1.9.0"), ("chain", "1.10.0"), ("fixed", "1.0.0")] == found


def test_empty_version_means_the_newest(store):
    """For the whole model, for a tail, and for the bundle's file."""
    assert store.tail("chain").version == "1.10.0"
    assert store.tail("chain-tail2-int8").version == "1.10.0"
    assert store.tail("chain-tail2-int8", "1.9.0").version == "1.9.0"
    assert store.bundle("chain").manifest.version == "1.10.0"
    assert store.bundle("chain", "1.9.0").manifest.version == "1.9.0"


def test_every_point_but_the_last_is_served_in_every_encoding(store):
    """Three points of three encodings, and the whole model."""
    names = {f"chain-tail{k}-{e}" for k in range(3) for e in ("float32", "float16", "int8", "int4")}
    for name in {"chain", *names}:
        assert ["1.9.0", "1.10.0"] == list(store.versions(name))
    with pytest.raises(ModelNotFound):
        store.tail("chain-tail3-float32")


def test_unknown_bundle_is_named_with_those_known(store):
    """The error lists what is here."""
    with pytest.raises(ModelNotFound, match=r"'nobody'.*served: chain 1\.9\.0, chain 1\.10\.0"):
        store.bundle("nobody")


def test_what_is_served_meanwhile_is_found(store):
    """Whoever served it: who asks for what is missing looks again after `refresh`."""
    late = BundleStore()
    late.refresh = lambda: late.serve(store.loaded)
    assert "chain" == late.tail("chain").name
    late.serve([])
    assert "chain" == late.bundle("chain").manifest.name


def test_replaced_file_is_served_as_it_was_loaded(write_test_bundle, tmp_path, trust):
    """What is announced by its digest is what is sent."""
    path = write_test_bundle(tmp_path)
    content = path.read_bytes()
    store = load_store(tmp_path, trust, OPTIONS)
    write_test_bundle(tmp_path, "fixed", name="chain")
    assert content != path.read_bytes()
    (bundle,) = store.bundles
    assert content == bundle.read(0, 1 << 20)
    store.close()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: folder.rmdir(), "is not a folder"),
        (lambda folder: None, r"no \*\.bundle in"),
    ],
)
def test_empty_or_missing_folder_is_named(make, message, tmp_path, trust):
    """There is nothing to serve."""
    folder = tmp_path / "bundles"
    folder.mkdir()
    make(folder)
    with pytest.raises(ConfigError, match=message) as error:
        load_store(folder, trust, OPTIONS)
    assert str(folder) in str(error.value)


def test_one_bad_bundle_stops_all(write_test_bundle, tmp_path, trust):
    """Nothing is half served: a good bundle beside a cut one is not loaded."""
    write_test_bundle(tmp_path, "chain")
    bad = write_test_bundle(tmp_path, "fixed")
    bad.write_bytes(bad.read_bytes()[:-100])
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(BundleError, match=r"fixed-1\.0\.0\.bundle"):
        load_store(tmp_path, trust, OPTIONS)
    assert before == len(list(Path("/proc/self/fd").iterdir()))


def test_unreadable_bundle_is_named(tmp_path, trust):
    """A link to nowhere is listed by the folder but cannot be opened."""
    (tmp_path / "gone.bundle").symlink_to(tmp_path / "nowhere")
    with pytest.raises(BundleError, match=r"gone\.bundle: cannot be read"):
        load_store(tmp_path, trust, OPTIONS)


def test_failed_self_test_names_the_bundle(write_test_bundle, tmp_path, trust):
    """The samples must give the outputs recorded beside them."""
    write_test_bundle(tmp_path, corrupt=True)
    with pytest.raises(SelfTestFailed, match=r"chain 1\.0\.0: self-test of output 'y'"):
        load_store(tmp_path, trust, OPTIONS)


def test_untrusted_bundle_is_refused(bundle_folder, tmp_path):
    """Signed by a key that is not in the trust folder."""
    write_key_pair(tmp_path / "other.key", tmp_path / "trust" / "other.pub")
    with pytest.raises(SignatureInvalid, match="not trusted"):
        load_store(bundle_folder, read_trust(tmp_path / "trust"), OPTIONS)


def test_same_model_and_version_twice_names_both_files(write_test_bundle, tmp_path, trust):
    """Which of the two would be served is not ours to guess."""
    path = write_test_bundle(tmp_path)
    shutil.copy(path, tmp_path / "again.bundle")
    with pytest.raises(
        ConfigError, match=r"chain-1\.0\.0\.bundle: serves 'chain' version 1\.0\.0.*again\.bundle"
    ):
        load_store(tmp_path, trust, OPTIONS)


def test_bundle_named_like_anothers_tail_is_refused(write_test_bundle, tmp_path, trust):
    """A name may look like a tail's; together they would clash."""
    write_test_bundle(tmp_path, "chain")
    write_test_bundle(tmp_path, "fixed", name="chain-tail1-int8")
    with pytest.raises(ConfigError, match="serves 'chain-tail1-int8' version"):
        load_store(tmp_path, trust, OPTIONS)
