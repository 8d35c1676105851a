"""The operators' commands against a running fog: what they print and how they end."""

import json
import threading

import pytest
from operating import wait_for

from fog_server.cli import main
from fog_server.rollout.command_line import make_parser, ratio, seconds


@pytest.fixture
def run(fog, capsys):
    """Return what runs a command; it returns its exit code and what it printed."""

    def command(*words, code=0):
        assert code == main([*words, "--fog", fog.address])
        return capsys.readouterr()

    return command


def test_from_publication_to_rollback(run, versions):
    """Each command prints how the model then stands; a second publication changes nothing."""
    path, digest = versions["3.0"]
    assert f"chain 3.0 ({digest[:12]}) is a candidate" in run("publish", str(path)).out
    assert "was here already: candidate" in run("publish", str(path)).out
    out = run("promote", "chain", "3.0", "--reason", "it is time").out
    assert "  3.0        active" in out
    assert "  5. promote 3.0 by 127.0.0.1: it is time" in out
    out = run("rollback", "chain").out
    assert "  1.0        active" in out
    found = json.loads(run("bundles", "--json").out)["rollouts"][0]
    states = {b["bundle"]["version"]: b["bundle"]["state"] for b in found["bundles"]}
    assert {"1.0": "active", "2.0": "candidate", "3.0": "retired"} == states
    assert 6 == found["generation"]
    assert None is found["canary"]
    assert "removed" in run("retire", "chain", digest[:12]).out


def test_canary_is_waited_for(run, managed, versions):
    """Rolled back by hand meanwhile, it ends with 10; without a verdict in time with 11."""
    words = ("canary", "chain", "--share", "100%", "--bake", "1h", "--json", "--wait")
    assert "canary" == json.loads(run(*words, "0s", code=11).out)["bundles"][1]["bundle"]["state"]
    run("rollback", "chain")

    def take_back():
        wait_for(lambda: managed.states()["2.0"] == "canary")
        managed.roll_back()

    thread = threading.Thread(target=take_back)
    thread.start()
    found = json.loads(run("canary", "chain", "2.0", *words[2:], "5m", code=10).out)
    thread.join()
    assert "roll_back" == found["events"][0]["action"]


def test_share_is_changed(run, managed):
    managed.canary("2.0", share_ratio=0.1)
    assert "0.5 of the agents: none yet" in run("share", "chain", "50%").out


def test_each_failure_has_its_exit_code(run, managed, versions, tmp_path):
    """One line on standard error, and an object where scripts read."""
    (tmp_path / "bad.bundle").write_bytes(b"no bundle")
    torn = bytearray(versions["3.0"][0].read_bytes())
    first = torn.index(b"manifest.json") + len(b"manifest.json")  # of its compressed bytes
    torn[first] = 0xFF  # a kind of block that there is not (RFC 1951, 3.2.3)
    (tmp_path / "torn.bundle").write_bytes(torn)
    for code, words in (
        (1, ("publish", "/nowhere.bundle")),
        (4, ("promote", "nobody")),
        (4, ("promote", "chain", "1.0")),
        (5, ("rollback", "chain", "--generation", "1")),
        (7, ("publish", str(tmp_path / "bad.bundle"))),
        (7, ("publish", str(tmp_path / "torn.bundle"))),
    ):
        done = run(*words, "--json", code=code)
        assert code == json.loads(done.out)["exit_code"]
        assert 1 == len(done.err.splitlines())
        assert done.err.startswith("error: ")


def test_fog_that_is_away_has_an_exit_code(capsys):
    assert 3 == main(["bundles", "--fog", "127.0.0.1:1", "--timeout", "5s"])
    assert capsys.readouterr().err.startswith("error: fog 127.0.0.1:1: ")


def test_shares_and_durations_as_people_write_them():
    assert [0.1, 0.1, 1.0] == [ratio("10%"), ratio("0.1"), ratio("100%")]
    assert [300.0, 300.0, 5400.0] == [seconds("5m"), seconds("300"), seconds("1.5h")]


@pytest.mark.parametrize("share", ["110%", "-1", "much"])
def test_share_that_is_none_is_refused(share, capsys):
    with pytest.raises(SystemExit) as ended:
        make_parser().parse_args(["share", "chain", share])
    assert 2 == ended.value.code
    assert "expected" in capsys.readouterr().err
