"""Sinks: whole lines, existing files, crashed files."""

import io
import json
import os
import select
from contextlib import suppress

import msgspec
import pytest

from edge_agent.result import Result, encode_lines, most_bytes
from edge_agent.sinks import open_sink
from headtail.errors import ConfigError

RESULT = Result(
    sequence=3, sample=77, label="n", output=[0.5, float("nan")], where="fog", partition_point=1,
    encoding="int8", latency_s=0.003, head_s=0.001, tail_s=0.0005, network_s=0.001, queue_s=0.0,
    tx_bytes=120, compute_j=1e-6, tx_j=2e-6,
)  # fmt: skip
LINE = {
    "sequence": 3, "label": "n", "output": [0.5, None], "where": "fog", "partition_point": 1,
    "encoding": "int8", "latency_s": 0.003, "head_s": 0.001, "tail_s": 0.0005, "tx_bytes": 120,
    "energy_j": {"compute": 1e-6, "tx": 2e-6}, "bundle": "d1", "sample": 77,
}  # fmt: skip


def write(path, existing: str, count: int = 1) -> None:
    """Write results to a file."""
    sink = open_sink(f"jsonl:{path}", "d1", existing, io.BytesIO())
    sink.take([RESULT] * count)
    sink.close()


def test_line_is_json_with_a_newline(tmp_path):
    write(tmp_path / "o.jsonl", "refuse")
    text = (tmp_path / "o.jsonl").read_text()
    assert text.endswith("\n")
    assert LINE == json.loads(text)


def test_existing_file_is_refused_and_left_alone(tmp_path):
    (tmp_path / "o.jsonl").write_text("mine\n")
    with pytest.raises(ConfigError, match=r"o\.jsonl' exists; say --existing append or"):
        write(tmp_path / "o.jsonl", "refuse")
    assert "mine\n" == (tmp_path / "o.jsonl").read_text()


def test_overwrite_begins_anew(tmp_path):
    (tmp_path / "o.jsonl").write_text("old\n" * 50)
    write(tmp_path / "o.jsonl", "overwrite")
    assert 1 == len((tmp_path / "o.jsonl").read_text().splitlines())


@pytest.mark.parametrize("torn", ["", '{"sequence": 1, "la', "x" * 200_000])
def test_append_cuts_off_a_torn_last_line(tmp_path, torn):
    (tmp_path / "o.jsonl").write_text('{"old": 1}\n' * 2 + torn)
    write(tmp_path / "o.jsonl", "append", count=2)
    lines = [json.loads(line) for line in (tmp_path / "o.jsonl").read_text().splitlines()]
    assert [{"old": 1}, {"old": 1}, LINE, LINE] == lines


def test_append_to_nothing_but_a_torn_line(tmp_path):
    (tmp_path / "o.jsonl").write_text('{"seq')
    write(tmp_path / "o.jsonl", "append")
    assert LINE == json.loads((tmp_path / "o.jsonl").read_text())


def test_append_makes_a_missing_file(tmp_path):
    write(tmp_path / "o.jsonl", "append")
    assert 1 == len((tmp_path / "o.jsonl").read_text().splitlines())


def test_missing_folder_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"--sink: '.*none/o\.jsonl' cannot be opened: No such"):
        write(tmp_path / "none" / "o.jsonl", "refuse")


def test_full_disk_is_one_line():
    with open("/dev/full", "wb", buffering=0) as full:  # noqa: PTH123 - a device
        sink = open_sink("stdout", "d1", "refuse", full)
        with pytest.raises(ConfigError, match="stdout: cannot be written: No space left"):
            sink.take([RESULT])


def test_pipe_with_room_is_prompt_and_a_full_one_is_not():
    read, write = os.pipe()
    os.set_blocking(write, False)
    with os.fdopen(write, "wb") as stdout, os.fdopen(read, "rb"):
        sink = open_sink("stdout", "d1", "refuse", stdout)
        assert sink.is_prompt([RESULT])
        assert not sink.is_prompt([RESULT] * 100)
        with suppress(BlockingIOError):
            while True:
                os.write(write, bytes(select.PIPE_BUF))
        assert not sink.is_prompt([RESULT])


def test_what_is_no_pipe_is_not_prompt(tmp_path):
    assert not open_sink("stdout", "d1", "refuse", io.BytesIO()).is_prompt([RESULT])
    with (tmp_path / "out").open("wb") as file:
        assert not open_sink("stdout", "d1", "refuse", file).is_prompt([RESULT])
    for kind in ("jsonl", "sqlite"):
        sink = open_sink(f"{kind}:{tmp_path / kind}", "d1", "refuse", io.BytesIO())
        assert not sink.is_prompt([RESULT])
        sink.close()


def test_lines_are_never_longer_than_was_said():
    long = "\u0001" * 500
    widest = msgspec.structs.replace(
        RESULT, sequence=2**63 - 1, sample=2**63 - 1, label=long, bundle="d" * 64,
        output=[-1.7976931348623157e308] * 100, tx_bytes=2**63 - 1, encoding="float32",
        **dict.fromkeys(
            ("latency_s", "head_s", "tail_s", "compute_j", "tx_j"), -2.2250738585072014e-308
        ),
    )  # fmt: skip
    assert len(encode_lines([widest] * 3, "")) <= most_bytes([widest] * 3)
