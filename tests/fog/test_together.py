"""Messages that lie unread on one stream run as one batch, on the thread that reads them."""

import gc
import threading
from collections.abc import Sequence
from contextvars import copy_context

import grpc
import numpy as np
import pytest

from fog_server import batcher_run
from fog_server.activity import Activity
from fog_server.admission import Admission
from fog_server.alike import Alike
from fog_server.batcher_policy import DynamicBatching
from fog_server.config import Inference as Settings
from fog_server.config import Quota
from fog_server.inference import Inference
from fog_server.inference_servicer import InferenceServicer
from fog_server.metrics import Metrics
from fog_server.quota import Quotas
from fog_server.store import load_store
from headtail.oip import RAW_INPUT_FIELD, InferWriter, read_stream_response
from headtail.segment import SessionOptions
from headtail.tensor import Array, TensorSpec

WINDOWS = np.random.default_rng(3).standard_normal((8, 1, 16, 2)).astype(np.float32)


def stream(servicer: InferenceServicer, frames: "Frames", sender: "Sender") -> None:
    """Answer a stream; which request was the last is forgotten, as on a thread of its own."""
    copy_context().run(servicer.stream_infer, frames, Context(), sender)


class Context:
    """A stream from this machine, without certificates."""

    def peer(self) -> str:
        """Return the host and port."""
        return "ipv4:127.0.0.1:1"

    def time_remaining(self) -> None:
        """Return that there is no deadline."""


class Frames:
    """Messages that are all there; then the stream ends, or breaks off."""

    def __init__(self, messages: Sequence[bytes], *, breaks: bool = False) -> None:
        """Hold them."""
        self._messages = list(messages)
        self._breaks = breaks

    def __iter__(self) -> "Frames":
        return self

    def __next__(self) -> bytes:
        if self._messages:
            return self._messages.pop(0)
        raise grpc.RpcError if self._breaks else StopIteration

    def ready(self) -> bool:
        """Return whether another is there without waiting; a break is only found by reading."""
        return bool(self._messages) or self._breaks


class Sender:
    """Takes what a stream sends."""

    def __init__(self) -> None:
        """Have nothing yet."""
        self.calls: list[list[bytes]] = []

    def __call__(self, message: bytes | None) -> None:
        """Take one message; None is the end."""
        if message is not None:
            self.calls.append([message])

    def many(self, messages: Sequence[bytes]) -> None:
        """Take several."""
        self.calls.append(list(messages))


class Site:
    """A servicer of the test's own; by its admission's clock every run is over at once."""

    def __init__(self, store, **rules) -> None:
        """Serve a store; one window of each model has run."""
        settings = Settings(dynamic_batching=DynamicBatching(**rules))
        self.metrics = Metrics()
        admission = Admission(1, 64, clock=lambda: 0.0)
        inference = Inference(store, admission, Quotas(Quota()), self.metrics, settings)
        self._servicer = InferenceServicer(inference, self.metrics, Activity(1), 1 << 20)
        for model in ("chain", "chain-tail0-float32"):
            self.run(requests([0], model))

    def run(self, messages: Sequence[bytes], *, breaks: bool = False) -> list[list[bytes]]:
        """Return what was sent for a stream of messages, by call."""
        sender = Sender()
        stream(self._servicer, Frames(messages, breaks=breaks), sender)
        return sender.calls

    def sizes(self, model: str = "chain") -> dict[int, int]:
        """Return how many batches ran, by their windows."""
        return dict(self.metrics.tallies.of(model).batches)


@pytest.fixture
def store(write_test_bundle, tmp_path, trust):
    """Return a store of one bundle."""
    write_test_bundle(tmp_path, "chain")
    return load_store(tmp_path, trust, SessionOptions())


def request(number: str, window: Array, model: str = "chain") -> bytes:
    """Return a message of one window."""
    writer = InferWriter(model, "", [TensorSpec("x", "float32", window.shape)], RAW_INPUT_FIELD)
    return writer.write(number, {}, [window])


def requests(numbers: Sequence[int], model: str = "chain") -> list[bytes]:
    """Return a message of one window for each number, which is its id."""
    return [request(str(n), WINDOWS[n], model) for n in numbers]


def test_what_lies_unread_runs_as_one_batch_and_is_answered_in_one_call(store, whole):
    """Each request gets the outputs of its own window, and the time of the whole batch."""
    site = Site(store)
    (sent,) = site.run(requests(range(6)))
    answers = [read_stream_response(data) for data in sent]
    assert list("012345") == [answer.id for answer in answers]
    for answer in answers:
        expected = whole("chain", {"x": WINDOWS[int(answer.id)]})
        (output,) = answer.outputs
        y = np.frombuffer(output.content, "<f4").reshape(output.shape)
        assert np.allclose(expected, y, rtol=0, atol=1e-6)
    assert 1 == len({answer.parameters["compute_ns"] for answer in answers})
    assert {1: 1, 6: 1} == site.sizes()
    value = site.metrics.registry.get_sample_value
    assert 7 == value("fog_windows_total", {"model": "chain", "outcome": "ok"})
    labels = {"model": "chain", "stage": "compute"}
    assert 7 == value("fog_request_duration_seconds_count", labels)


def test_batches_are_bounded(store):
    site = Site(store, max_batch_size=4)
    assert [4, 2] == [len(call) for call in site.run(requests(range(6)))]
    assert {1: 1, 4: 1, 2: 1} == site.sizes()


def test_requests_of_different_models_do_not_join(store):
    """The earlier ones run first."""
    site = Site(store)
    whole, tail = requests(range(2)), requests(range(2, 5), "chain-tail0-float32")
    calls = site.run([*whole, *tail])
    assert [["0", "1"], ["2", "3", "4"]] == [
        [read_stream_response(data).id for data in call] for call in calls
    ]
    assert ({1: 1, 2: 1}, {1: 1, 3: 1}) == (site.sizes(), site.sizes("chain-tail0-float32"))


def test_order_that_is_asked_for_and_a_delay_are_left_to_the_queue(store):
    """What has to be kept waiting does not join here."""
    site = Site(store, preserve_ordering=True)
    calls = site.run(requests(range(8)))
    assert list("01234567") == [read_stream_response(m).id for call in calls for m in call]


def test_request_that_is_refused_does_not_hold_up_the_others(store):
    """Nor does one that cannot be read; both are answered at once."""
    site = Site(store)
    wrong = request("n", np.full((1, 16, 2), np.nan, np.float32))
    first, *others = requests(range(3))
    refused, unread, ran = site.run([first, wrong, b"\xff", *others])
    assert ["n", ""] == [read_stream_response(call[0]).id for call in (refused, unread)]
    assert list("012") == [read_stream_response(data).id for data in ran]
    assert {1: 1, 3: 1} == site.sizes()


def learnt_of(tails) -> list[Alike]:
    """Return all that is in memory of tails; a thread holds some until its run has ended."""
    gc.collect()
    return [a for a in gc.get_objects() if isinstance(a, Alike) and a.tail in tails]


def test_what_requests_had_in_common_keeps_no_model_that_is_served_no_more(store, wait_until):
    """Its sessions would stay in memory."""
    site = Site(store)
    site.run(requests(range(3)))
    tails = [store.tail("chain")]
    store.serve(())
    wait_until(lambda: not learnt_of(tails))


def test_request_under_way_while_its_model_goes_keeps_none(store, monkeypatch, wait_until):
    """It is answered; what is learnt of it then is forgotten at once."""
    site = Site(store)
    tails, inference = [store.tail("chain")], site._servicer._inference
    batching = inference._batching

    def served_no_more(*names):
        store.serve(())
        return batching(*names)

    monkeypatch.setattr(inference, "_batching", served_no_more)
    inference._alike.clear()
    assert [1] == [len(call) for call in site.run(requests([1]))]
    wait_until(lambda: not learnt_of(tails))


def test_requests_for_which_there_is_no_memory_together_run_alone(store, monkeypatch):
    def refuse(_activations):
        raise MemoryError

    monkeypatch.setattr(batcher_run, "_joined", refuse)
    activations = [{"x": WINDOWS[n]} for n in range(3)]
    runs = batcher_run.run_batch(store.tail("chain"), activations)
    assert [1, 1, 1] == [run.windows for run in runs]
    assert not [run.outcome for run in runs if isinstance(run.outcome, Exception)]


def test_what_was_read_before_a_stream_breaks_off_is_run(store):
    """Whatever `ready` said: nothing is left under way."""
    site = Site(store)
    (sent,) = site.run(requests(range(3)), breaks=True)
    assert 3 == len(sent)
    assert {1: 1, 3: 1} == site.sizes()


def test_what_finds_the_slot_busy_waits_its_turn(store, wait_until):
    """Then it runs as one batch of those that wait, on another thread."""
    metrics, admission, sender = Metrics(), Admission(1, 64, clock=lambda: 0.0), Sender()
    inference = Inference(store, admission, Quotas(Quota()), metrics, Settings())
    servicer = InferenceServicer(inference, metrics, Activity(1), 1 << 20)
    stream(servicer, Frames(requests([0])), Sender())
    wait_until(lambda: admission.running == 0)
    slot = admission.start("another model", 1)
    assert slot is not None
    frames = Frames(requests(range(5)))
    thread = threading.Thread(target=servicer.stream_infer, args=(frames, Context(), sender))
    thread.start()
    wait_until(lambda: admission.queued == 5)
    admission.leave(slot)
    thread.join()
    assert list("01234") == sorted(read_stream_response(m).id for c in sender.calls for m in c)
    assert {1: 1, 5: 1} == dict(metrics.tallies.of("chain").batches)
    wait_until(lambda: (admission.running, admission.queued) == (0, 0))
