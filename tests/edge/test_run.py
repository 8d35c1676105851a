"""The agent against fogs: agreement, fallback, recovery."""

import json
import re
import signal

import numpy as np
import pytest

from edge_agent.plan import choose_plan
from headtail.bundle.keys import write_key_pair
from headtail.errors import (
    BundleUnreadable,
    ConfigError,
    ModelNotFound,
    NotFinite,
    RequestInvalid,
    SignatureInvalid,
)
from headtail.oip import RAW_OUTPUT_FIELD, InferWriter, write_stream_error
from headtail.tensor import TensorSpec
from headtail.wire import Encoding, decode

LINE_KEYS = [
    "sequence", "label", "output", "where", "partition_point", "encoding", "latency_s", "head_s",
    "tail_s", "tx_bytes", "energy_j", "bundle", "sample",
]  # fmt: skip


def outputs(lines: list[dict[str, object]]) -> np.ndarray:
    """Return the outputs of every line, after checking that each window came once, in order."""
    assert list(range(20)) == [line["sequence"] for line in lines]
    return np.array([line["output"] for line in lines])


def expect_close(expected: np.ndarray, actual: np.ndarray, tolerance: float = 1e-5) -> None:
    """Compare as the self-test does: relative to the largest output."""
    assert expected.shape == actual.shape
    assert np.abs(expected - actual).max() <= tolerance * np.abs(expected).max()


@pytest.mark.parametrize("batch", [1, 8])
@pytest.mark.parametrize("point", [0, 1, 2])
def test_float32_at_every_point_equals_the_whole_model(
    run_agent, start_fog, expected, point, batch
):
    """Head here and tail in a real fog, one window or several in a message."""
    lines = run_agent(fog=start_fog().address, point=str(point), batch=batch)
    expect_close(expected, outputs(lines))
    assert {("fog", point, "float32")} == {
        (line["where"], line["partition_point"], line["encoding"]) for line in lines
    }


@pytest.mark.parametrize("encoding", [Encoding.FLOAT16, Encoding.INT8, Encoding.INT4])
@pytest.mark.parametrize("point", [0, 1, 2])
def test_small_encodings_equal_the_tail_of_what_they_carry(
    run_agent, start_fog, chain, windows, point, encoding
):
    """The fog's answer is the tail of the activation as encoded, to the last digits."""
    lines = run_agent(fog=start_fog().address, point=str(point), encoding=encoding.value)
    plan = choose_plan(chain.manifest, str(point), encoding.value)
    activation = chain.head({"x": windows}, point)
    affine = plan.point.wire(encoding).affine
    arrived = {
        spec.name: decode(array, spec, affine.get(spec.name))
        for spec, array in zip(plan.point.activation, plan.encode(activation), strict=True)
    }
    expect_close(chain.tail(arrived, point)["y"], outputs(lines))


def test_last_point_needs_no_fog(run_agent, expected):
    lines = run_agent(point="3")
    expect_close(expected, outputs(lines))
    assert {("edge", 0)} == {(line["where"], line["tx_bytes"]) for line in lines}


def test_model_of_two_inputs_without_batch_axis(run_agent, start_fog, fixed_path, tmp_path):
    """The npz holds an array per input; each window is a message of its own."""
    rng = np.random.default_rng(5)
    arrays = {"x": rng.standard_normal((6, 8)).astype("f4"), "gain": np.arange(6).reshape(6, 1)}
    np.savez(tmp_path / "fixed.npz", **arrays)
    settings = {"bundle": str(fixed_path), "source": f"npz:{tmp_path / 'fixed.npz'}"}
    fog = run_agent(fog=start_fog(bundles=fixed_path.parent).address, point="1", **settings)
    edge = run_agent(point="2", **settings)
    assert ["fog"] * 6 == [line["where"] for line in fog]
    assert [line["output"] for line in edge] == [line["output"] for line in fog]


def test_line_has_exactly_the_agreed_keys(run_agent, start_fog, bundle):
    line = run_agent(fog=start_fog().address)[3]
    assert LINE_KEYS == list(line)
    assert bundle.digest == line["bundle"]
    assert {"compute": None, "tx": None} == line["energy_j"]
    assert line["label"] == "nsv"[int(np.argmax(line["output"]))]
    assert line["latency_s"] >= line["head_s"] > 0


def test_sent_bytes_are_those_of_the_messages(run_agent, scripted_fog):
    """Windows of one message share its bytes, and no byte is lost or counted twice."""
    sizes = []
    answer = scripted_fog.answer
    scripted_fog.script = lambda request: sizes.append(request) or answer(request)
    lines = run_agent(fog=scripted_fog.address, batch=3)
    assert 7 == len(sizes)
    per_message = [sum(line["tx_bytes"] for line in lines[i : i + 3]) for i in range(0, 20, 3)]
    payload = 3 * 4 * 8 * 4
    assert all(payload < size < payload + 200 for size in per_message[:-1])


def test_fog_absent_from_the_start_is_not_waited_for(run_agent, expected, unused_address):
    lines = run_agent(fog=unused_address)
    expect_close(expected, outputs(lines))
    assert {("edge", 0)} == {(line["where"], line["tx_bytes"]) for line in lines}


def test_bundle_of_an_untrusted_key_is_refused(run_agent, tmp_path):
    write_key_pair(tmp_path / "other.key", tmp_path / "trust" / "other.pub")
    with pytest.raises(SignatureInvalid, match="not trusted"):
        run_agent(point="3", trust=str(tmp_path / "trust"))
    assert not run_agent.sink.exists()


def test_key_file_is_trusted_by_itself(run_agent, key_folder):
    """Either half will do."""
    for key in (key_folder / "test.key", key_folder / "trust" / "test.pub"):
        assert 20 == len(run_agent(point="3", trust="", key=str(key)))


def test_truncated_bundle_is_refused(run_agent, bundle_path, tmp_path):
    short = tmp_path / "short.bundle"
    short.write_bytes(bundle_path.read_bytes()[:-100])
    with pytest.raises(BundleUnreadable, match="no readable zip"):
        run_agent(bundle=str(short), point="3")


def test_fog_that_serves_another_model_ends_the_run(run_agent, start_fog, fixed_path):
    with pytest.raises(ModelNotFound, match="'chain-tail1-float32'"):
        run_agent(fog=start_fog(bundles=fixed_path.parent).address)


def test_refused_request_ends_the_run_with_every_window_written(run_agent, scripted_fog):
    """The windows under way are finished here; the run does not go on."""
    refusal = {"status": "INVALID_ARGUMENT"}
    scripted_fog.script = lambda r: write_stream_error(r.id, "bad tensor", refusal)
    with pytest.raises(RequestInvalid, match="bad tensor"):
        run_agent(fog=scripted_fog.address, batch=1, in_flight=1)
    lines = [json.loads(line) for line in run_agent.sink.read_text().splitlines()]
    assert ["edge"] * len(lines) == [line["where"] for line in lines]
    assert list(range(len(lines))) == [line["sequence"] for line in lines]


def test_overloaded_fog_is_left_alone_for_as_long_as_it_asks(run_agent, scripted_fog, expected):
    overloaded = {"status": "RESOURCE_EXHAUSTED", "retry_delay_ms": 60_000}
    scripted_fog.script = lambda r: write_stream_error(r.id, "full", overloaded)
    lines = run_agent(fog=scripted_fog.address, batch=1, in_flight=1)
    expect_close(expected, outputs(lines))
    assert {"edge"} == {line["where"] for line in lines}
    assert 1 == len(scripted_fog.requests)


def test_silent_fog_costs_one_deadline(run_agent, scripted_fog, expected):
    """Then it counts as away, and the next windows do not wait."""
    scripted_fog.script = lambda request: None
    lines = run_agent(
        fog=scripted_fog.address, batch=1, in_flight=1, deadline_s=2.0,
        reconnect_first_s=3600.0, reconnect_cap_s=3600.0,
    )  # fmt: skip
    expect_close(expected, outputs(lines))
    late = [line["sequence"] for line in lines if line["latency_s"] >= 2.0]
    assert [0] == late
    assert 1 == len(scripted_fog.requests)


def test_request_carries_sequences_deadline_and_agent(run_agent, scripted_fog):
    run_agent(fog=scripted_fog.address, batch=8, agent="bed-7", deadline_s=20.0)
    request = scripted_fog.requests[1]
    assert "chain-tail1-float32" == request.model
    assert "1.0.0" == request.version
    assert "bed-7/8" == request.id
    assert "8,9,10,11,12,13,14,15" == request.parameters["sequences"]
    assert "bed-7" == request.parameters["agent"]
    assert 0 < request.parameters["deadline_ms"] <= 20_000


@pytest.mark.parametrize(
    ("spec", "answer"),
    [
        (TensorSpec("z", "float32", (-1,)), np.zeros(1, "f4")),
        (TensorSpec("y", "float64", (-1, 3)), np.zeros((4, 3))),
        (TensorSpec("y", "float32", (-1, 3)), np.zeros((3, 3), "f4")),
        (TensorSpec("y", "float32", (-1, 4)), np.zeros((4, 4), "f4")),
    ],
    ids=["name", "dtype", "windows", "shape"],
)
def test_answer_that_is_no_output_is_made_up_for(
    run_agent, scripted_fog, expected, spec, answer, caplog
):
    """Another name, dtype, number of windows or shape than the model's output."""
    other = InferWriter("tail", "1", [spec], RAW_OUTPUT_FIELD)
    scripted_fog.script = lambda r: other.write_stream_response(r.id, {}, [answer])
    lines = run_agent(fog=scripted_fog.address, batch=4)
    expect_close(expected, outputs(lines))
    assert {"edge"} == {line["where"] for line in lines}
    assert 1 == caplog.text.count("fog failing: fog: failed: answered what is no output")


def test_nan_ends_the_run_after_the_windows_before_it(run_agent, windows, tmp_path):
    windows[13, 4, 1] = np.nan
    np.savez(tmp_path / "nan.npz", x=windows)
    with pytest.raises(NotFinite, match=r"nan\.npz row 13: expected finite .* 1 NaN"):
        run_agent(point="3", source=f"npz:{tmp_path / 'nan.npz'}", batch=1)
    assert 13 == len(run_agent.sink.read_text().splitlines())


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"point": "4"}, "--point: expected auto or 0 to 3, received '4'"),
        ({"point": "-1"}, "--point: expected auto or 0 to 3, received '-1'"),
        ({"encoding": "int2"}, "--encoding: partition point 1 offers float32, float16, int8, int4"),
        ({"fog": ""}, "--fog: needed at partition point 1"),
        ({"fog": "nowhere"}, "--fog: expected HOST:PORT, received 'nowhere'"),
        ({"source": "csv:x"}, "--source: expected wfdb:RECORD"),
        (
            {"sink": "file:x"},
            "--sink: expected jsonl:PATH, sqlite:PATH or stdout, received 'file:x'",
        ),
        ({"device_profile": "nothing"}, "--link-profile: the bundle names no profile"),
        ({"speed": 0.0}, "--speed: expected a positive number"),
        ({"bundle": ""}, "--bundle, --model: expected exactly one"),
        ({"model": "chain"}, "--bundle, --model: expected exactly one"),
    ],
)
def test_wrong_setting_is_named(run_agent, settings, reason):
    with pytest.raises(ConfigError, match=re.escape(reason)):
        run_agent(**{"fog": "127.0.0.1:1", **settings})


def test_port_in_use_is_named(run_agent, scripted_fog):
    with pytest.raises(ConfigError, match=f"cannot listen on {scripted_fog.address}"):
        run_agent(point="3", metrics=scripted_fog.address)


def test_stop_finishes_what_is_under_way(run_agent, scripted_fog):
    """A signal's handler sets `Stop`; here the script raises the signal in mid-stream."""

    def script(request):
        if len(scripted_fog.requests) == 5:
            signal.raise_signal(signal.SIGTERM)
        return scripted_fog.answer(request)

    scripted_fog.script = script
    lines = run_agent(fog=scripted_fog.address, batch=1, in_flight=1)
    assert 5 <= len(lines) < 20
    assert list(range(len(lines))) == [line["sequence"] for line in lines]
