"""What is published is signed, whole, tested and not too large; nothing else is left behind."""

import shutil
import subprocess
import sys
import zipfile

import grpc
import pytest
from operating import failure

from fog_server.rollout.trial import try_bundle
from headtail.bundle.keys import read_trust, write_key_pair
from headtail.errors import BundleError, BundleUnreadable
from headtail.v1 import control_pb2 as pb

Status = grpc.StatusCode
CPU = ("CPUExecutionProvider",)


@pytest.fixture
def operator(folder, start_managed, operate, versions):
    """Return the operator of a fog where version 1.0 is active, put into the folder by hand."""
    shutil.copy(versions["1.0"][0], folder)
    return operate(start_managed().address)


def left(folder):
    """Return the names of every file of bundles."""
    return sorted(p.name for p in folder.rglob("*") if p.is_file() and "rollout.db" not in p.name)


def test_bad_bundles_are_refused_with_the_reason(operator, folder, versions, write_test_bundle,
                                                 tmp_path):  # fmt: skip
    """Each says what is wrong with it, and the state is as before."""
    data = versions["2.0"][0].read_bytes()
    half, changed = tmp_path / "half.bundle", tmp_path / "changed.bundle"
    half.write_bytes(data[: len(data) // 2])
    with zipfile.ZipFile(versions["2.0"][0]) as old, zipfile.ZipFile(changed, "w") as new:
        for name in old.namelist():
            new.writestr(name, old.read(name).replace(b'"version":"2.0"', b'"version":"2.1"'))
    wrong = write_test_bundle(tmp_path, "chain", version="2.2", corrupt=True)
    for path, reason in (
        (half, "no readable zip file"),
        (changed, "the manifest was changed after signing"),
        (wrong, "self-test of output 'y'"),
    ):
        status, text = failure(lambda path=path: operator.publish(path))
        assert Status.INVALID_ARGUMENT == status
        assert reason in text
        assert str(folder) not in text
    assert {"1.0": "active"} == operator.states()
    assert 2 == operator.model().generation
    assert ["chain-1.0.bundle"] == left(folder)


def test_other_digest_size_or_order_than_announced_is_refused(operator, folder, versions):
    path, _ = versions["2.0"]
    size = path.stat().st_size
    for call, reason in (
        (lambda: operator.publish(path, "f" * 64), "ffffffffffff was announced"),
        (lambda: operator.publish(path, size=size + 1), f"expected {size + 1} bytes"),
        (lambda: operator.publish(path, size=size - 1), "more came than"),
        (lambda: operator.publish(path, size=0), "expected 1 to"),
        (lambda: operator.rollouts.PublishBundle(iter(()), timeout=60), "expected a header first"),
        (
            lambda: operator.rollouts.PublishBundle(
                iter([pb.PublishBundleRequest(chunk=b"x")]), timeout=60
            ),
            "expected a header first",
        ),
    ):
        status, text = failure(call)
        assert (Status.INVALID_ARGUMENT, True) == (status, reason in text), text
    assert ["chain-1.0.bundle"] == left(folder)


def test_older_version_needs_to_be_allowed(operator, write_test_bundle, tmp_path):
    """A signature does not age: a withdrawn bundle does not come back by accident."""
    old = write_test_bundle(tmp_path, "chain", version="0.9")
    status, text = failure(lambda: operator.publish(old))
    assert (Status.FAILED_PRECONDITION, True) == (status, "expected chain 1.0 or newer" in text)
    assert operator.publish(old, allow_older=True).is_new
    assert {"0.9": "candidate", "1.0": "active"} == operator.states()


def test_full_store_is_said_and_changes_nothing(start_managed, operate, versions, folder):
    operator = operate(start_managed(max_store_bytes=10_000).address)
    sizes = [versions[v][0].stat().st_size for v in ("1.0", "2.0", "3.0")]
    taken = 0
    for version, size in zip(("1.0", "2.0", "3.0"), sizes, strict=True):
        if taken + size <= 10_000:
            operator.publish(versions[version][0])
            taken += size
        else:
            status, text = failure(lambda v=version: operator.publish(versions[v][0]))
            assert Status.RESOURCE_EXHAUSTED == status
            assert f"no room: {taken} of 10000 bytes hold bundles, {size} came" in text
    assert taken < sum(sizes), "the test is for a store that gets full"
    assert taken == sum(p.stat().st_size for p in folder.rglob("*.bundle"))


@pytest.fixture(scope="module")
def foreign_trust(tmp_path_factory):
    """Return the trust in another key than the bundles'."""
    folder = tmp_path_factory.mktemp("foreign")
    write_key_pair(folder / "a.key", folder / "trust" / "a.pub")
    return read_trust(folder / "trust")


def test_trial_says_what_a_bundle_is(versions, trust):
    path, digest = versions["2.0"]
    said = try_bundle(path, trust, CPU, 1)
    assert ("chain", "2.0", digest) == (said.name, said.version, said.digest)
    assert 0 <= said.self_test_error <= 1e-5


def test_foreign_signature_is_refused(versions, foreign_trust):
    with pytest.raises(BundleError, match="bundle as received: signature invalid: signed by key"):
        try_bundle(versions["2.0"][0], foreign_trust, CPU, 1)


@pytest.mark.parametrize(
    ("code", "limit_s", "reason"),
    [
        ("import os; os.abort()", 60.0, "its self-test was ended by SIGABRT"),
        ("import sys; sys.exit(9)", 60.0, "its self-test ended with code 9"),
        ("while True: pass", 2.0, "no end of its self-test in 2 s"),
    ],
)
def test_self_test_that_crashes_or_hangs_takes_nothing_along(
    code, limit_s, reason, versions, trust, monkeypatch
):
    """Another program stands for onnxruntime that a graph has brought down."""
    real = subprocess.run
    monkeypatch.setattr(
        subprocess, "run", lambda command, **k: real([sys.executable, "-c", code], **k)
    )
    with pytest.raises(BundleUnreadable, match=reason):
        try_bundle(versions["2.0"][0], trust, CPU, 1, limit_s=limit_s)


def test_graph_that_wants_all_memory_is_refused(operator, hungry_bundle):
    """It is given up within the limits of the trial, and the fog goes on."""
    status, text = failure(lambda: operator.publish(hungry_bundle))
    assert Status.INVALID_ARGUMENT == status
    assert "self-test" in text
    assert {"1.0": "active"} == operator.states()
