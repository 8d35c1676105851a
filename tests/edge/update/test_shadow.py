"""Windows that another bundle runs too: counted, bounded, and never in a window's way."""

import os
import signal
from urllib.request import urlopen

import pytest

from edge_agent.update import shadow
from edge_agent.update.shadow_queue import Comparison
from edge_agent.update.status import decode_comparison
from headtail.v1 import control_pb2 as pb


@pytest.fixture
def processes(monkeypatch):
    """Return the processes of other bundles, the newest last; failures are tried again at once."""
    started = []

    class Seen(shadow.ShadowProcess):
        def __init__(self, *arguments) -> None:
            super().__init__(*arguments)
            started.append(self._process)

    monkeypatch.setattr(shadow, "ShadowProcess", Seen)
    monkeypatch.setattr(shadow, "FIRST_S", 0.01)
    return started


@pytest.fixture
def page(unused_address):
    """Return a function that reads the windows by outcome off the agent's metrics page."""

    def read() -> dict[str, float]:
        with urlopen(f"http://{unused_address}/metrics", timeout=20) as answer:
            lines = answer.read().decode().splitlines()
        prefix = 'edge_update_shadow_windows_total{outcome="'
        found = (line.removeprefix(prefix).split('"} ') for line in lines if prefix in line)
        return {outcome: float(count) for outcome, count in found}

    read.address = unused_address
    return read


def shadows(director, digest: str, other: str) -> tuple[int, int]:
    """Return windows and agreed ones of a bundle against another, as last reported."""
    return next(
        (
            (shadow.windows, shadow.agreed)
            for status in director.statuses[-1:]
            for tally in status.tallies
            for shadow in tally.shadows
            if (tally.digest, shadow.digest) == (digest, other)
        ),
        (0, 0),
    )


def test_answers_are_compared_with_the_bundle_before(
    feed, director, two_fogs, good_path, bundle, updates_folder
):
    """It is in the folder: nothing else is fetched, and no window more is counted."""
    fogs = two_fogs(good_path)
    digest = director.add(good_path)
    director.direct(digest, shadow_digest=bundle.digest, shadow_ratio=1.0)
    fed = feed(fog=fogs)
    fed.feed_until(lambda: shadows(director, digest, bundle.digest)[0] >= 20)
    lines = fed.end()
    windows, agreed = shadows(director, digest, bundle.digest)
    assert windows == agreed
    assert 1 == director.fetches
    tallies = {tally.digest: tally for tally in director.last().tallies}
    assert tallies[digest].windows <= sum(line["bundle"] == digest for line in lines)
    assert not tallies[bundle.digest].shadows
    assert not (updates_folder / "shadow").exists()


def test_other_answers_are_told(feed, director, two_fogs, bad_path, bundle):
    """Only those of the bundle that runs count; the windows have its answers."""
    path = bad_path("blind")
    fogs = two_fogs(path)
    digest = director.add(path)
    director.direct(digest, shadow_digest=bundle.digest, shadow_ratio=0.5)
    fed = feed(fog=fogs)
    fed.feed_until(lambda: shadows(director, digest, bundle.digest)[0] >= 20, bad=True)
    answered = sum(line["bundle"] == digest for line in fed.end())
    windows, agreed = shadows(director, digest, bundle.digest)
    assert 0 == agreed
    assert windows <= answered / 2


def test_bundle_that_is_not_here_is_fetched(
    feed, director, two_fogs, good_path, bad_path, bundle, updates_folder, processes
):
    """Of three the device keeps two; the third one goes when nobody asks for it any more."""
    other_path = bad_path("nan")
    fogs = two_fogs(good_path)
    digest, other = director.add(good_path), director.add(other_path)
    director.direct(digest, shadow_digest=other, shadow_ratio=1.0)
    fed = feed(fog=fogs)
    fed.feed_until(lambda: shadows(director, digest, other)[1] >= 10)
    assert (updates_folder / "shadow" / f"{other}.bundle").exists()
    assert {digest, bundle.digest} == {path.stem for path in updates_folder.glob("*.bundle")}
    director.direct(digest)
    fed.feed_until(lambda: not (updates_folder / "shadow").exists())
    assert processes[0].poll() is not None
    assert 1 == len(processes)
    fed.end()


def test_other_bundle_that_is_too_large_or_foreign_is_no_hindrance(
    feed, director, two_fogs, good_path, bad_path, bundle, caplog, monkeypatch
):
    """Windows go on, uncompared."""
    monkeypatch.setattr(shadow, "FIRST_S", 0.01)
    other_path = bad_path("stranger")
    fogs = two_fogs(good_path)
    digest, other = director.add(good_path), director.add(other_path)
    large = "f" * 64
    director.infos[large] = pb.BundleInfo(name="chain", version="9", digest=large, size_bytes=1)
    director.files[large] = bytes(200_000)
    director.direct(digest, shadow_digest=other, shadow_ratio=1.0)
    fed = feed(fog=fogs, update_max_bytes=100_000)
    fed.feed_until(lambda: "comparison given up" in caplog.text)
    caplog.clear()
    director.direct(digest, shadow_digest=large, shadow_ratio=1.0)
    fed.feed_until(lambda: "more than 100000 bytes" in caplog.text)
    fed.feed(20)
    assert digest == fed.end()[-1]["bundle"]
    assert (0, 0) == shadows(director, digest, other)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_process_that_dies_touches_no_window(
    feed, director, two_fogs, good_path, bundle, processes, page, number, monkeypatch
):
    """Another one takes its place; after three it is given up, and windows go on."""
    monkeypatch.setattr(shadow, "REST_RATIO", 0.0)
    fogs = two_fogs(good_path)
    digest = director.add(good_path)
    director.direct(digest, shadow_digest=bundle.digest, shadow_ratio=1.0)
    fed = feed(fog=fogs, metrics=page.address)
    for count in range(1, shadow.MAX_FAILURES + 1):
        fed.feed_until(lambda n=count: len(processes) == n)
        seen = shadows(director, digest, bundle.digest)[0]
        fed.feed_until(lambda n=seen: shadows(director, digest, bundle.digest)[0] > n)
        os.kill(processes[-1].pid, number)
        processes[-1].wait()
    fed.feed_until(lambda: page()["failed"] >= 1)
    seen = len(fed.lines())
    fed.feed_until(lambda: len(fed.lines()) > seen + 50)
    assert shadow.MAX_FAILURES == len(processes)
    fed.end()


def test_windows_for_which_there_is_no_room_are_left_out(
    feed, director, two_fogs, good_path, bundle, processes, page
):
    """The other process is stopped for a while; windows are not."""
    fogs = two_fogs(good_path)
    digest = director.add(good_path)
    director.direct(digest, shadow_digest=bundle.digest, shadow_ratio=1.0)
    fed = feed(fog=fogs, metrics=page.address)
    fed.feed_until(lambda: shadows(director, digest, bundle.digest)[0] >= 1)
    os.kill(processes[0].pid, signal.SIGSTOP)
    before = page()["dropped"]
    fed.feed_until(lambda: page()["dropped"] >= before + 20)
    os.kill(processes[0].pid, signal.SIGCONT)
    seen = shadows(director, digest, bundle.digest)[0]
    fed.feed_until(lambda: shadows(director, digest, bundle.digest)[0] > seen)
    fed.end()


def test_agent_may_decline(feed, director, two_fogs, good_path, bundle, processes):
    """Comparing costs energy that no meter counts."""
    fogs = two_fogs(good_path)
    digest = director.add(good_path)
    director.direct(digest, shadow_digest=bundle.digest, shadow_ratio=1.0)
    fed = feed(fog=fogs, update_shadow_ratio=0.0)
    fed.feed_until(lambda: director.is_told(pb.UPDATE_STATE_DONE, digest))
    fed.feed(30)
    fed.end()
    assert [] == processes


def test_what_cannot_be_compared_is_not_asked_for():
    one, other = "a" * 64, "b" * 64
    fields = {"name": "chain", "version": "1.0", "digest": one}

    def comparison(**more) -> Comparison | None:
        return decode_comparison(pb.Directive(**{**fields, **more}))

    assert Comparison(one, "chain", other, 0.5) == comparison(shadow_digest=other, shadow_ratio=0.5)
    assert None is comparison()
    for digest, ratio in (
        ("", 1.0),
        (one, 1.0),
        ("../x", 1.0),
        (other, 0.0),
        (other, -1.0),
        (other, 1.5),
        (other, float("nan")),
    ):
        assert None is comparison(shadow_digest=digest, shadow_ratio=ratio)
