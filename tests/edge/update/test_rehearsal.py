"""The self-test in a process of its own: what it says, and what becomes of the process."""

import sys
import threading

import pytest

from edge_agent.update import rehearsal
from edge_agent.update.directive import UpdateFailed
from edge_agent.update.rehearsal import rehearse
from headtail.fault import Fault

AUTO = ("auto", "auto", "1")


@pytest.fixture(autouse=True)
def prompt(monkeypatch):
    """Have the process run as soon as any other."""
    monkeypatch.setattr(rehearsal, "NICENESS", 0)


@pytest.fixture
def instead(tmp_path, monkeypatch):
    """Return a function that puts a shell script in the place of the process."""

    def put(script: str) -> None:
        path = tmp_path / "python"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(path))

    return put


def wait(seconds: float) -> bool:
    """Sleep; nobody stops the run."""
    return threading.Event().wait(seconds)


def test_good_bundle_passes(bundle_path, key_folder):
    rehearse(bundle_path, (str(key_folder / "trust"), "", *AUTO), wait)


def test_wrong_outputs_are_told(bad_path, key_folder):
    with pytest.raises(
        UpdateFailed, match="self-test of output 'y': expected a relative error"
    ) as e:
        rehearse(bad_path("outputs"), (str(key_folder / "trust"), "", *AUTO), wait)
    assert Fault.SELF_TEST is e.value.fault


def test_point_that_is_not_offered_is_told(bundle_path, key_folder):
    settings = str(key_folder / "trust"), "", "9", "auto", "1"
    with pytest.raises(UpdateFailed, match="expected auto or 0 to 3, received '9'"):
        rehearse(bundle_path, settings, wait)


def test_process_that_is_killed_takes_nobody_along(instead, tmp_path):
    instead("echo 'out of memory'; kill -9 $$")
    with pytest.raises(UpdateFailed, match="ended with signal 9: out of memory"):
        rehearse(tmp_path, ("", "", *AUTO), wait)


def test_process_that_ends_well_without_a_word_has_not_passed(instead, tmp_path):
    instead("exit 0")
    with pytest.raises(UpdateFailed, match="ended with status 0: it said nothing"):
        rehearse(tmp_path, ("", "", *AUTO), wait)


def test_process_that_hangs_is_ended(instead, tmp_path, monkeypatch):
    monkeypatch.setattr(rehearsal, "REHEARSAL_S", 0.2)
    instead("exec sleep 600")
    with pytest.raises(UpdateFailed, match=r"nothing within 0\.2 s"):
        rehearse(tmp_path, ("", "", *AUTO), wait)


def test_run_that_ends_does_not_wait(instead, tmp_path):
    instead("exec sleep 600")
    with pytest.raises(UpdateFailed, match="the run ends"):
        rehearse(tmp_path, ("", "", *AUTO), lambda seconds: True)
