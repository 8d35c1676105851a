"""What Prometheus recorded of a real agent behind a slow link, and the profiles that follow."""

import contextlib
import json
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from headtail.bundle import read_bundle, write_bundle
from headtail.bundle.archive import encode_samples
from headtail.bundle.keys import Trust, read_signer
from headtail.energy import predict_compute
from headtail.operations import Operations
from headtail.profile import read_link_profile
from optimizer.field.lesson import Lesson
from programs import BIN, Program, running
from proxy import Proxy

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(
        shutil.which("prometheus") is None, reason="the Debian package prometheus is not installed"
    ),
]
DELAY_S = 0.15
MIN_WINDOWS, ROUND_TRIPS = 25, 6
PAUSE_S = 0.4
GIVE_UP_S = 120.0
CONFIG = """\
global: {{scrape_interval: 500ms, scrape_timeout: 500ms}}
scrape_configs:
  - job_name: edge
    static_configs: [{{targets: ["{page}"]}}]
"""


@pytest.fixture
def folder(
    write_test_bundle: Callable[..., Path], key_folder: Path, trust: Trust, tmp_path: Path
) -> Path:
    """Return a folder with a bundle that says what its segments compute."""
    bundle = read_bundle(write_test_bundle(tmp_path / "plain"), trust)
    segments = tuple(
        msgspec.structs.replace(s, operations=Operations(conv_macs=n, conv_macz=n))
        for s, n in zip(bundle.manifest.segments, (1000, 200, 30), strict=True)
    )
    manifest = msgspec.structs.replace(bundle.manifest, segments=segments)
    contents = dict(zip((m.path for m in manifest.members), bundle.segments, strict=False))
    contents |= {"samples.npz": encode_samples(bundle.samples), "report.json": bundle.report}
    (tmp_path / "bundles").mkdir()
    signer = read_signer(key_folder / "test.key")
    write_bundle(tmp_path / "bundles" / "chain-1.0.0.bundle", manifest, contents, signer)
    return tmp_path


@pytest.fixture
def fog(folder: Path, key_folder: Path) -> Iterator[str]:
    """Return the address of a fog that asks for a report every half second."""
    config = folder / "fog.toml"
    config.write_text(
        f'bundles = "{folder}/bundles"\ntrust = "{key_folder}/trust"\nlisten = "127.0.0.1:0"\n'
        "[rollout]\nenabled = true\nreport_s = 0.5\n"
    )
    with running(("fog-server", "--config", config), folder / "fog.log") as server:
        yield server.wait_for(r"serving on (\S+)")


def free_address() -> str:
    """Return an address on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"127.0.0.1:{server.getsockname()[1]}"


@contextmanager
def fed(command: Sequence[str | Path], log: Path) -> Iterator[Program]:
    """Run an agent whose standard input brings a window twice a second and a bit."""
    line = json.dumps([[0.5, 1.5]] * 16).encode() + b"\n"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [BIN / command[0], *command[1:]], stdin=subprocess.PIPE, stderr=file
        )
    is_over = threading.Event()

    def feed() -> None:
        with contextlib.suppress(BrokenPipeError):
            while not is_over.wait(PAUSE_S):
                process.stdin.write(line)
                process.stdin.flush()
            process.stdin.close()

    feeder = threading.Thread(target=feed)
    feeder.start()
    try:
        yield Program(process, log)
    finally:
        is_over.set()
        feeder.join()
        process.wait(60)


@pytest.mark.slow
def test_delay_of_the_link_and_time_of_the_head_are_learned(
    folder: Path, fog: str, key_folder: Path, run: Callable
) -> None:
    """A message and its answer pass a proxy that holds each for 150 ms."""
    page, prometheus = free_address(), free_address()
    (folder / "prometheus.yml").write_text(CONFIG.format(page=page))
    server = (
        shutil.which("prometheus"), f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}", f"--web.listen-address={prometheus}",
    )  # fmt: skip
    ask = (
        "learn", "--prometheus", f"http://{prometheus}", "--model", "chain", "--range", "2m",
        "--device-profile", "raspberry-pi-5", "--link-profile", "ethernet",
        "--match", f"instance={page}", "--min-windows", str(MIN_WINDOWS),
    )  # fmt: skip
    with Proxy(fog) as proxy, running(server, folder / "prometheus.log") as scraper:
        proxy.delay(DELAY_S)
        agent = (
            "edge-agent", "run", "--model", "chain", "--fog", proxy.address,
            "--trust", key_folder / "trust", "--state", folder / "state", "--source", "stdin",
            "--point", "1", "--encoding", "float32", "--batch", "1", "--deadline-s", "20",
            "--sink", f"jsonl:{folder / 'out.jsonl'}", "--metrics", page, "--updates", "on",
            "--connect-s", "20",
        )  # fmt: skip
        scraper.wait_for("(Server is ready)")
        with fed(agent, folder / "edge.log") as program:
            give_up_s = time.monotonic() + GIVE_UP_S
            while True:
                done = run("optimizer", *ask, "--json", "--out", folder / "own")
                if done.returncode == 0:
                    lesson = msgspec.json.decode(done.stdout, type=Lesson)
                    trips = lesson.seen.round_trips
                    if trips is not None and trips.count >= ROUND_TRIPS:
                        break
                assert time.monotonic() < give_up_s, done.stderr + program.text
            shown = run("optimizer", *ask)
    trip_s = 2 * DELAY_S
    assert trip_s == pytest.approx(lesson.link.model.delay.si, rel=0.35)
    (seen,) = lesson.seen.points
    assert (1, "float32", 1000, 230) == (
        seen.point, seen.encoding, seen.head.conv_macs, seen.tail.conv_macs,
    )  # fmt: skip
    # Head, way, queue and tail make the latency, and the corrected profiles predict it.
    assert seen.total_s == pytest.approx(lesson.predicted_s(seen), rel=0.1)
    assert seen.head_s == pytest.approx(predict_compute(lesson.device, seen.head).seconds, rel=1e-2)
    for name in ("raspberry-pi-5-field", "ethernet-field"):
        assert f"{name}.toml" in {path.name for path in (folder / "own").iterdir()}
        assert f"{name}  " in shown.stdout
    assert lesson.link == read_link_profile(str(folder / "own" / "ethernet-field.toml"))


def test_model_that_nobody_runs_is_told_with_those_that_somebody_does(
    tmp_path: Path, run: Callable
) -> None:
    """A Prometheus that has scraped nothing knows none."""
    address = free_address()
    (tmp_path / "prometheus.yml").write_text("scrape_configs: []\n")
    server = (
        shutil.which("prometheus"), f"--config.file={tmp_path / 'prometheus.yml'}",
        f"--storage.tsdb.path={tmp_path / 'data'}", f"--web.listen-address={address}",
    )  # fmt: skip
    with running(server, tmp_path / "prometheus.log") as scraper:
        scraper.wait_for("(Server is ready)")
        done = run(
            "optimizer", "learn", "--prometheus", f"http://{address}", "--model", "ecg",
            "--device-profile", "raspberry-pi-5", "--link-profile", "ethernet",
        )  # fmt: skip
    assert (1, "") == (done.returncode, done.stdout)
    assert done.stderr == (
        f"error: Prometheus http://{address}: knows no windows of model 'ecg' with these matchers"
        " in the last 3600 s; models there: none\n"
    )
