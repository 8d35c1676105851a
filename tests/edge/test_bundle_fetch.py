"""Fetching a bundle from a real fog, and starting again without one."""

import pytest

from edge_agent import ran
from edge_agent.bundle_fetch import fetch_bundle
from headtail.bundle.installed import RECORD
from headtail.bundle.keys import read_trust, write_key_pair
from headtail.errors import (
    BundleOutdated,
    ConfigError,
    FogUnavailable,
    ModelNotFound,
    SignatureInvalid,
)


@pytest.fixture
def versions(write_test_bundle, tmp_path):
    """Return a folder with two versions and a bundle whose name begins alike."""
    folder = tmp_path / "served"
    for version in ("1.9", "1.10"):
        write_test_bundle(folder, "chain", version=version)
    write_test_bundle(folder, "chain", name="chain-wide", version="3")
    return folder


def names(folder):
    """Return the names of all files in a folder, hidden ones too, but for the records."""
    return sorted(p.name for p in folder.iterdir() if p.name not in (RECORD, ran.RECORD))


def test_newest_version_comes_unless_one_is_named(start_fog, versions, tmp_path, trust):
    fog, state = start_fog(bundles=versions).address, tmp_path / "state"
    assert "1.10" == fetch_bundle([fog], ("chain", ""), state, trust).manifest.version
    assert "1.9" == fetch_bundle([fog], ("chain", "1.9"), state, trust).manifest.version
    assert ["chain-1.10.bundle", "chain-1.9.bundle"] == names(state)
    served = (versions / "chain-1.9.bundle").read_bytes()
    assert served == (state / "chain-1.9.bundle").read_bytes()


def test_fog_that_brings_back_an_old_bundle_is_refused(
    start_fog, write_test_bundle, versions, tmp_path, trust
):
    """Rightly signed, and withdrawn; whoever names the version gets it, and may stay there."""
    new, state = start_fog(bundles=versions).address, tmp_path / "state"
    fetch_bundle([new], ("chain", ""), state, trust)
    old = start_fog(bundles=write_test_bundle(tmp_path / "old", version="1.9").parent).address
    with pytest.raises(
        BundleOutdated, match=rf"from fog {old}: .*chain 1\.10 .*received chain 1\.9"
    ):
        fetch_bundle([old], ("chain", ""), state, trust)
    assert "1.9" == fetch_bundle([old], ("chain", "1.9"), state, trust).manifest.version
    assert "1.9" == fetch_bundle([old], ("chain", ""), state, trust).manifest.version


def test_what_is_there_is_not_fetched_again(start_fog, versions, tmp_path, trust):
    """And what is there but broken is."""
    fog, state = start_fog(bundles=versions).address, tmp_path / "state"
    fetch_bundle([fog], ("chain", ""), state, trust)
    path = state / "chain-1.10.bundle"
    before = path.stat().st_ino
    fetch_bundle([fog], ("chain", ""), state, trust)
    assert before == path.stat().st_ino
    path.write_bytes(b"torn")
    fetch_bundle([fog], ("chain", ""), state, trust)
    assert before != path.stat().st_ino


def test_fog_away_leaves_the_newest_fetched_before(
    start_fog, versions, tmp_path, trust, unused_address
):
    fog, state = start_fog(bundles=versions).address, tmp_path / "state"
    for wanted in (("chain", "1.9"), ("chain", ""), ("chain-wide", "")):
        fetch_bundle([fog], wanted, state, trust)
    kept = fetch_bundle([unused_address], ("chain", ""), state, trust)
    assert ("chain", "1.10") == (kept.manifest.name, kept.manifest.version)
    with pytest.raises(FogUnavailable):
        fetch_bundle([unused_address], ("chain", "2"), state, trust)


def test_unknown_model_is_named_with_what_is_served(start_fog, versions, tmp_path, trust):
    with pytest.raises(ModelNotFound, match=r"'ecg': not served here; served: chain 1\.9, chain 1"):
        fetch_bundle([start_fog(bundles=versions).address], ("ecg", ""), tmp_path, trust)


def test_untrusted_bundle_leaves_nothing_behind(start_fog, versions, tmp_path):
    write_key_pair(tmp_path / "o.key", tmp_path / "other" / "o.pub")
    state = tmp_path / "state"
    with pytest.raises(SignatureInvalid, match="not trusted"):
        fetch_bundle(
            [start_fog(bundles=versions).address],
            ("chain", ""),
            state,
            read_trust(tmp_path / "other"),
        )
    assert [] == names(state)


def test_name_that_is_a_path_is_refused(tmp_path, trust):
    with pytest.raises(ConfigError, match=r"--model: '\.\./x' cannot be a bundle's name"):
        fetch_bundle(["127.0.0.1:1"], ("../x", ""), tmp_path, trust)


def test_state_that_cannot_be_written_is_named(start_fog, versions, tmp_path, trust):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"--state: '.*file': "):
        fetch_bundle([start_fog(bundles=versions).address], ("chain", ""), tmp_path / "file", trust)


def test_run_with_a_model_name(run_agent, start_fog, versions, tmp_path):
    fog = start_fog(bundles=versions).address
    lines = run_agent(bundle="", model="chain", fog=fog, state=str(tmp_path / "state"))
    assert {"fog"} == {line["where"] for line in lines}
