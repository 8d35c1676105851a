"""Runs cut short and continued: sources, sinks, bundle updates, full disks."""

import json
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edge_agent.cli import main
from edge_agent.config import Config
from edge_agent.plan import choose_plan
from edge_agent.run import run
from edge_agent.sources.frame import Frame
from edge_agent.spool import Change, Spool
from edge_agent.spool_answer import restore
from edge_agent.spool_entry import Packer
from headtail.bundle import read_bundle
from headtail.errors import ConfigError, SpoolError
from headtail.wire import decode

MAIN = "from edge_agent.cli import main; import sys; sys.exit(main(sys.argv[1:]))"


def close(expected: np.ndarray, lines: list[dict[str, object]]) -> None:
    """Check that each window came once, in order, with the right result."""
    assert list(range(len(expected))) == [line["sequence"] for line in lines]
    np.testing.assert_allclose(expected, [line["output"] for line in lines], rtol=1e-5, atol=1e-6)


@pytest.fixture
def cut_short(run_agent, scripted_fog):
    """Return a function that runs against a fog until `windows` are asked for, and stops there.

    What is under way is finished; the spool then stands at the last window begun.
    """

    def cut(windows: int, **settings: object) -> list[dict[str, object]]:
        answer = scripted_fog.answer

        def script(request):
            if len(scripted_fog.requests) == windows:
                signal.raise_signal(signal.SIGTERM)
            return answer(request)

        scripted_fog.script = script
        lines = run_agent(
            **{"fog": scripted_fog.address, "batch": 1, "in_flight": 1, "existing": "refuse"},
            **settings,
        )
        scripted_fog.script = answer
        return lines

    return cut


def test_run_that_was_stopped_goes_on(cut_short, run_agent, expected, caplog):
    """Without a word about the file that exists: it is this run's own."""
    caplog.set_level("INFO")
    assert 5 <= len(cut_short(5)) < 20
    close(expected, run_agent(point="3", existing="refuse"))
    assert "going on: 0 windows kept, then npz:" in caplog.text


def test_run_that_is_over_leaves_no_spool(run_agent):
    """So that the next one is a new one, refused as ever where the file exists."""
    run_agent(point="3", existing="refuse")
    assert [] == [p.name for p in run_agent.sink.parent.iterdir() if "spool" in p.name]
    with pytest.raises(ConfigError, match="exists; say --existing"):
        run_agent(point="3", existing="refuse")


def test_overwrite_begins_anew(cut_short, run_agent, expected):
    cut_short(5)
    close(expected, run_agent(point="3", existing="overwrite"))


def test_append_goes_on_with_the_files_numbers(run_agent, expected):
    run_agent(point="3")
    close(np.concatenate([expected, expected]), run_agent(point="3", existing="append"))


def test_spool_of_another_source_is_refused(cut_short, run_agent, tmp_path):
    cut_short(5)
    np.savez(tmp_path / "other.npz", x=np.zeros((3, 16, 2), "f4"))
    with pytest.raises(
        SpoolError, match=r"of source 'npz:.*windows\.npz .*this one has 'npz:.*oth"
    ):
        run_agent(point="3", existing="refuse", source=f"npz:{tmp_path / 'other.npz'}")


def test_source_that_changed_is_refused(cut_short, run_agent, windows, tmp_path):
    cut_short(5)
    np.savez(tmp_path / "windows.npz", x=windows[::-1])
    with pytest.raises(SpoolError, match="holds a run that is not over, of source"):
        run_agent(point="3", existing="refuse")


DIE = """
import os, sys
from edge_agent.cli import main
from edge_agent.spool import Spool
commit = Spool.commit
def commit_and_die(spool, change):
    commit(spool, change)
    if spool.windows >= 4:
        os.kill(os.getpid(), 9)
Spool.commit = commit_and_die
main(sys.argv[1:])
"""


def kept_run(run_agent, **settings: object) -> Path:
    """Run an agent that is killed right after it has committed four windows or more."""
    flags = {**run_agent.settings, "sink": f"jsonl:{run_agent.sink}", "existing": "refuse"}
    flags |= {"batch": 1, "in_flight": 8, "connect_s": 0.1, **settings}
    arguments = [f"--{k.replace('_', '-')}={v}" for k, v in flags.items()]
    command = [sys.executable, "-c", DIE, "run", *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert -signal.SIGKILL == ended.returncode, ended.stderr
    spool = Path(str(flags["sink"]).partition(":")[2] + ".spool")
    assert spool.exists()
    return spool


def kept_sequences(path: Path) -> list[int]:
    """Return the windows in a spool that nobody uses."""
    spool = Spool(path)
    sequences = [entry.sequence for entry in spool.read(-1, 100)]
    spool.close()
    return sequences


@pytest.mark.parametrize("point", ["1", "3"])
def test_kept_windows_are_answered_first(run_agent, expected, point):
    """Of inputs and activations, whichever was kept; some results were in the sink already."""
    kept_run(run_agent, point=point, fog="127.0.0.1:1")
    close(expected, run_agent(point=point, fog="127.0.0.1:1", connect_s=0.1, existing="refuse"))


@pytest.mark.parametrize(
    ("point", "encoding", "is_activation", "size"),
    [("0", "float32", False, 128), ("1", "float32", False, 128), ("1", "int8", True, 32),
     ("1", "int4", True, 16), ("3", "float32", True, 12)],
)  # fmt: skip
def test_what_is_smaller_is_kept(chain, windows, point, encoding, is_activation, size):
    """And becomes the same tensors again, whatever was kept; at the last point the outputs are."""
    plan = choose_plan(chain.manifest, point, encoding)
    frames = [Frame(i, i, {"x": window}) for i, window in enumerate(windows)]
    activation = chain.head({"x": windows}, int(point))
    entries = Packer(plan, "d").pack(frames, activation)
    assert {is_activation} == {entry.is_activation for entry in entries}
    assert all(size < len(entry.payload) < size + 16 for entry in entries)
    again, tensors = restore(entries, plan, "here")
    assert [(f.sequence, f.sample) for f in frames] == [(f.sequence, f.sample) for f in again]
    if not is_activation:
        assert np.array_equal(windows, [f.tensors["x"] for f in again])
    elif encoding == "float32":
        assert np.array_equal(activation["y"], tensors["y"])
    else:
        scale = plan.point.wire(plan.encoding).affine["a"].scale
        low, high = np.percentile(activation["a"], (5, 95))  # outside, int8 clips
        inside = (activation["a"] > low) & (activation["a"] < high)
        assert np.abs(activation["a"] - tensors["a"])[inside].max() <= 0.51 * scale


def test_after_an_update_the_old_windows_are_answered_by_the_old_bundle(
    run_agent, write_test_bundle, chain, windows, trust, tmp_path
):
    """The bundle's file is overwritten in place, as `cp` does, by one with another tail."""
    path = write_test_bundle(tmp_path, "chain")
    old = read_bundle(path, trust)
    spool = kept_run(run_agent, bundle=path, point="1", encoding="int8", fog="127.0.0.1:1")
    kept = kept_sequences(spool)
    assert 4 <= len(kept) < 20
    newer = write_test_bundle(tmp_path, "chain", version="2.0.0")
    digest = read_bundle(newer, trust).digest
    path.write_bytes(newer.read_bytes())
    lines = run_agent(bundle=str(path), point="3", existing="refuse")
    assert list(range(20)) == [line["sequence"] for line in lines]
    answered = {line["sequence"]: (line["bundle"], line["partition_point"]) for line in lines}
    assert {(old.digest, 1)} == {answered[s] for s in kept}
    assert {(digest, 3)} == {answered[s] for s in range(max(kept) + 1, 20)}
    plan = choose_plan(chain.manifest, "1", "int8")
    sent = plan.encode(chain.head({"x": windows[kept]}, 1))[0]
    arrived = decode(sent, plan.point.activation[0], plan.point.wire(plan.encoding).affine["a"])
    outputs = chain.tail({"a": arrived}, 1)["y"]
    np.testing.assert_allclose(outputs, [lines[i]["output"] for i in kept], rtol=1e-5, atol=1e-6)
    assert not run_agent.sink.with_name("results.jsonl.spool.bundles").exists()


def test_missing_old_bundle_is_named(run_agent, write_test_bundle, tmp_path):
    path = write_test_bundle(tmp_path, "chain")
    spool = kept_run(run_agent, bundle=path, point="3")
    newer = write_test_bundle(tmp_path, "chain", version="2.0.0")
    for copy in Path(f"{spool}.bundles").iterdir():
        copy.unlink()
    with pytest.raises(SpoolError, match=r"bundle \w{12} of kept windows is missing"):
        run_agent(bundle=str(newer), point="3", existing="refuse")
    assert spool.exists()


def test_database_sink_holds_each_window_once(run_agent, expected, tmp_path):
    sink = f"sqlite:{tmp_path / 'r.db'}"
    kept_run(run_agent, point="3", sink=sink)
    settings = {**run_agent.settings, "point": "3", "existing": "refuse", "sink": sink}
    run(Config(**settings))
    with pytest.raises(ConfigError, match="exists; say --existing"):
        run(Config(**settings))
    database = sqlite3.connect(tmp_path / "r.db")
    query = "SELECT sequence, output, label FROM results ORDER BY sequence"
    rows = database.execute(query).fetchall()
    database.close()
    close(expected, [{"sequence": s, "output": json.loads(o)} for s, o, _ in rows])
    assert ["nsv"[int(np.argmax(row))] for row in expected] == [label for *_, label in rows]


def test_sink_ahead_of_the_spool_keeps_its_lines(cut_short, run_agent, expected):
    """A spool older than the sink, as power loss may leave it without full syncs."""
    lines = cut_short(8)
    spool = Spool(run_agent.sink.with_name("results.jsonl.spool"))
    database = spool._database
    database.execute("UPDATE state SET next = 3, sample = 2, sink_bytes = 0")
    spool.commit(Change())
    spool.close()
    after = run_agent(point="3", existing="refuse")
    assert lines == after[: len(lines)]
    close(expected, after)


@pytest.mark.parametrize("tail", [b"\0" * 5000, b'{"sequence": 4, "label"'])
def test_sink_torn_by_power_loss_is_mended(run_agent, expected, tail):
    """What lies behind the size known to be on the disk is cut at the first line that is none."""
    kept_run(run_agent, point="3")
    with run_agent.sink.open("ab") as file:
        file.write(tail)
    close(expected, run_agent(point="3", existing="refuse"))


def test_stdin_goes_on_with_its_numbers(bundle_path, key_folder, tmp_path):
    """Lines that were read and not committed are gone with the process; no number is used twice."""
    line = json.dumps(np.ones((16, 2)).tolist()).encode() + b"\n"
    sink = tmp_path / "out.jsonl"
    command = [
        sys.executable, "-c", MAIN, "run", "--bundle", str(bundle_path), "--trust",
        str(key_folder / "trust"), "--point", "3", "--source", "stdin", "--sink", f"jsonl:{sink}",
        "--view", "off",
    ]  # fmt: skip
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdin.write(line * 7)
    process.stdin.flush()
    while not sink.exists() or sink.read_bytes().count(b"\n") < 7:
        assert process.poll() is None
    process.kill()
    process.communicate()
    done = subprocess.run(command, input=line * 5, capture_output=True, timeout=60, check=False)
    assert 0 == done.returncode, done.stderr
    lines = [json.loads(text) for text in sink.read_text().splitlines()]
    assert list(range(12)) == [text["sequence"] for text in lines]


@pytest.fixture
def small_disk(tmp_path):
    """Return a file system of 1 MiB that can be made larger."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting a small file system needs root")
    yield folder
    subprocess.run(["umount", folder], check=True)


@pytest.mark.skipif(sys.platform != "linux", reason="mounts a tmpfs")
@pytest.mark.parametrize("which", ["spool", "sink"])
def test_full_disk_ends_the_run_and_loses_nothing(
    run_agent, small_disk, chain, tmp_path, which, capsys
):
    """The spool's disk or the sink's; with more room the run goes on where it was."""
    windows = np.random.default_rng(1).standard_normal((6000, 16, 2)).astype(np.float32)
    np.savez(tmp_path / "many.npz", x=windows)
    places = {"spool": tmp_path / "s.spool", "sink": tmp_path / "o.jsonl"}
    places[which] = small_disk / places[which].name
    settings = {
        **run_agent.settings,
        "existing": "refuse",
        "point": "3",
        "source": f"npz:{tmp_path / 'many.npz'}",
    }
    settings |= {"spool": places["spool"], "sink": f"jsonl:{places['sink']}"}
    arguments = ["run", *(f"--{k.replace('_', '-')}={v}" for k, v in settings.items())]
    assert 1 == main(arguments)
    captured = capsys.readouterr()
    said = [text for text in captured.err.splitlines() if text.startswith("error")]
    assert 1 == len(said)
    assert "No space left on device" in said[0]
    assert str(places[which]) in said[0]
    begun = places["sink"].read_bytes().count(b"\n")
    assert begun < 6000
    subprocess.run(["mount", "-o", "remount,size=64m", small_disk], check=True)
    assert 0 == main(arguments), capsys.readouterr().err
    lines = [json.loads(text) for text in places["sink"].read_text().splitlines()]
    close(chain.tail({"x": windows}, 0)["y"], lines)
