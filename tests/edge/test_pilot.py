"""An agent whose plan changes from window to window, against a real fog."""

import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from itertools import cycle

import numpy as np
import pytest

import edge_agent.run
from edge_agent.config import Config
from edge_agent.link import FogLink
from edge_agent.loaded import load_bundle
from edge_agent.meter import NoMeter
from edge_agent.partition.offer import Option, offered_plans
from edge_agent.plan import Plan
from edge_agent.running import open_partition
from edge_agent.sinks import open_sink
from edge_agent.tail_codec import TailCodec
from edge_agent.underway import Finish, Prediction, Underway
from headtail.bundle.manifest import Manifest
from headtail.compression import DEFLATE
from headtail.errors import SpoolError

COARSE = 0.15
"""Error of an output by the coarsest encoding; another window's answer is farther off."""


class Carousel:
    """A pilot that takes every plan in turn, compressed ones too."""

    def __init__(self, manifest: Manifest) -> None:
        plans = offered_plans(manifest, "auto", "auto")
        small = [Plan(manifest, p.point, p.encoding, DEFLATE) for p in plans if not p.is_local]
        self._plans: Iterator[Plan] = cycle((*plans, *small))
        self.plan = next(self._plans)
        self.told: list[str] = []
        self.sent_s: dict[int, float] = {}
        """By the first window of a message."""

    def follow(self, link: FogLink) -> None:
        """Need no link."""

    def next_plan(self, waited_s: float) -> Plan:
        """Return the next plan."""
        self.plan = next(self._plans)
        return self.plan

    def sent(self, work: Underway, sent_s: float) -> Prediction:
        """Predict a second."""
        self.told.append("sent")
        self.sent_s[work.frames[0].sequence] = sent_s
        return Prediction(1.0, None)

    def predict_here(self, work: Underway) -> Prediction:
        """Predict two."""
        return Prediction(2.0, None)

    def answered(self, work: Underway, sent_s: float, received_s: float, finish: Finish) -> None:
        """Note it."""
        assert received_s >= sent_s
        self.told.append("answered")

    def finished_here(self, work: Underway, finish: Finish) -> None:
        """Note it."""
        self.told.append("here")


@pytest.fixture
def carousel(bundle, monkeypatch) -> Carousel:
    """Have the agent that runs next take every plan in turn."""
    pilot = Carousel(bundle.manifest)
    monkeypatch.setattr(edge_agent.run, "open_partition", lambda *_: pilot)
    return pilot


def outputs(lines: list[dict]) -> np.ndarray:
    """Return the outputs of lines, in order."""
    return np.array([line["output"] for line in lines])


def test_every_plan_over_one_stream(run_agent, start_fog, carousel, expected):
    """Each window once, in order, right, and its line names the plan that it went under."""
    lines = run_agent(fog=start_fog().address, partition="live", batch=1)
    assert list(range(20)) == [line["sequence"] for line in lines]
    assert np.abs(outputs(lines) - expected).max() <= COARSE * np.abs(expected).max()
    kinds = {(line["partition_point"], line["encoding"]) for line in lines}
    assert {p for p, _ in kinds} == {0, 1, 2, 3}
    assert len(kinds) == 13
    for line in lines:
        assert line["where"] == ("edge" if line["partition_point"] == 3 else "fog")
        assert (line["tx_bytes"] > 0) == (line["where"] == "fog")
    assert carousel.told.count("sent") == carousel.told.count("answered")
    assert len(carousel.told) == 20 + carousel.told.count("sent")


def test_time_to_make_a_message_is_not_the_link_s(run_agent, start_fog, carousel, monkeypatch):
    """Or what one plan takes to encode would count for all of them."""
    made_s: dict[int, float] = {}
    make = TailCodec.request

    def request(self, frames, *arguments):
        made = make(self, frames, *arguments)
        made_s[frames[0].sequence] = time.monotonic()
        return made

    monkeypatch.setattr(TailCodec, "request", request)
    run_agent(fog=start_fog().address, partition="live", batch=1)
    assert len(carousel.sent_s) > 10
    assert all(made_s[first] <= sent for first, sent in carousel.sent_s.items())


def test_spool_names_the_plan_of_each_window(run_agent, start_fog, carousel, monkeypatch, expected):
    """A sink that breaks in the middle: what is kept is answered under its own plan."""
    real = open_sink

    def open_broken(*arguments):
        sink = real(*arguments)
        take = sink.take

        def fail(results):
            if results[-1].sequence >= 7:
                raise SpoolError("sink", "is full")
            take(results)

        sink.take = fail
        return sink

    monkeypatch.setattr("edge_agent.spool_run.open_sink", open_broken)
    settings = {"fog": start_fog().address, "partition": "live", "batch": 1, "existing": "append"}
    with pytest.raises(SpoolError, match="full"):
        run_agent(**settings)
    spool = run_agent.sink.with_name(run_agent.sink.name + ".spool")
    with closing(sqlite3.connect(spool)) as connection:
        kept = connection.execute("SELECT sequence, point, encoding FROM entries").fetchall()
    assert len({(point, encoding) for _, point, encoding in kept}) > 1
    monkeypatch.setattr("edge_agent.spool_run.open_sink", real)
    lines = run_agent(**settings)
    assert list(range(20)) == [line["sequence"] for line in lines]
    assert np.abs(outputs(lines) - expected).max() <= COARSE * np.abs(expected).max()
    named = {line["sequence"]: (line["partition_point"], line["encoding"]) for line in lines}
    assert all(named[sequence] == (point, encoding) for sequence, point, encoding in kept)


@pytest.mark.parametrize("objective", ["latency", "edge_energy", "weighted", "deadline"])
def test_live_choice_answers_every_window(run_agent, start_fog, priced_path, objective, expected):
    """Whatever it chooses on this machine."""
    lines = run_agent(
        bundle=str(priced_path),
        fog=start_fog(bundles=priced_path.parent).address,
        partition="live",
        partition_objective=objective,
    )
    assert list(range(20)) == [line["sequence"] for line in lines]
    assert np.abs(outputs(lines) - expected).max() <= COARSE * np.abs(expected).max()


def test_live_choice_without_its_fog_goes_on_here(run_agent, unused_address, expected):
    """As a fixed one does."""
    lines = run_agent(fog=unused_address, partition="live", connect_s=0.2)
    assert {"edge"} == {line["where"] for line in lines}
    assert np.abs(outputs(lines) - expected).max() <= 1e-5 * np.abs(expected).max()


def test_fixed_run_has_no_pilot(bundle) -> None:
    """Nothing is measured and nothing learned."""
    loaded = load_bundle(bundle, ("1", "int8"), 1)
    assert open_partition(Config(), loaded, NoMeter()) is None
    assert json.dumps(loaded.plan.key) == '[1, "int8", ""]'


def test_live_run_has_the_room_of_its_messages_and_a_second_s_patience(bundle) -> None:
    loaded = load_bundle(bundle, ("auto", "auto"), 1, is_live=True)
    config = Config(batch=4, in_flight=3, partition_probe_s=2.0)
    pilot = open_partition(config, loaded, NoMeter())
    assert pilot is not None
    settings = pilot._settings
    assert (4 * 3, 1.0, 2.0) == (settings.room, settings.patience_s, settings.probe_s)


def test_heads_of_several_points_are_held_to_one_measure(bundle) -> None:
    """Twice as slow is twice as slow at every point; a head of nearly nothing says nothing."""
    loaded = load_bundle(bundle, ("2", "int8"), 1)
    assert loaded.first_head_s(3, 0.5) == 0.5
    plans = offered_plans(bundle.manifest, "auto", "int8")
    heads_s = (1e-4, 0.1, 0.2, 0.5)
    options = tuple(Option(p, heads_s[p.point.index], 0.0, 1, 0.0) for p in plans)
    loaded = loaded._replace(options=options)
    assert loaded.first_head_s(2, 0.3) == 0.3
    assert loaded.first_head_s(3, 1.0) == pytest.approx(0.4)
    assert loaded.first_head_s(1, 0.2) == pytest.approx(0.4)
    assert loaded.first_head_s(0, 0.9) == 0.2
