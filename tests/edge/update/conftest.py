"""A fog that serves several bundles, one that gives directives, and bundles that are bad."""

import hashlib
import json
import os
import queue
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import grpc
import msgspec
import numpy as np
import pytest

from edge_agent.config import Config
from edge_agent.run import run
from edge_agent.update import rehearsal, shadow_process
from headtail.bundle import Bundle
from headtail.bundle.archive import describe_member, encode_samples
from headtail.bundle.keys import Signer, read_signer, write_key_pair
from headtail.tensor import Array
from headtail.v1 import control_pb2 as pb
from headtail.v1 import control_pb2_grpc

BAD_VALUE = 1000.0
"""In a window, it makes the bundles of `bad_path` fail."""
TIMEOUT_S = 120.0


class Director(control_pb2_grpc.ControlServicer):
    """Gives directives and bundles over gRPC, as the fog's control service does."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.infos: dict[str, pb.BundleInfo] = {}
        self.statuses: list[pb.AgentStatus] = []
        self.fetches = 0
        self.fetch_error: grpc.StatusCode | None = None
        self.current: pb.Directive | None = None
        self.late: pb.Directive | None = None
        """Answers reports, where it is set."""
        self._watchers: list[queue.SimpleQueue[pb.Directive | None]] = []
        self._lock = threading.Lock()
        self._server = grpc.server(ThreadPoolExecutor(8), options=[("grpc.so_reuseport", 0)])
        control_pb2_grpc.add_ControlServicer_to_server(self, self._server)
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()

    def add(self, path: Path) -> str:
        """Have a bundle to be fetched, whatever it is worth; return its digest."""
        with zipfile.ZipFile(path) as archive:
            text = archive.read("manifest.json")
        manifest, digest = json.loads(text), hashlib.sha256(text).hexdigest()
        self.files[digest] = path.read_bytes()
        self.infos[digest] = pb.BundleInfo(
            name=manifest["name"],
            version=manifest["version"],
            digest=digest,
            size_bytes=path.stat().st_size,
        )
        return digest

    def direct(self, digest: str, **fields: object) -> None:
        """Tell every agent to run a bundle."""
        info = self.infos[digest]
        with self._lock:
            generation = (self.current.generation if self.current else 0) + 1
            self.current = pb.Directive(
                **{
                    "name": info.name,
                    "version": info.version,
                    "digest": digest,
                    "size_bytes": info.size_bytes,
                    "generation": generation,
                    "report_interval_s": 0.2,
                    **fields,
                }
            )
            for watcher in self._watchers:
                watcher.put(self.current)

    def last(self) -> pb.AgentStatus:
        """Return the last report."""
        return self.statuses[-1]

    def is_told(self, state: int, digest: str, not_by: Collection[str] = ()) -> bool:
        """Whether an agent has reported that state of the update to a bundle, but in some runs."""
        told = [s for s in list(self.statuses) if s.run_id not in not_by]
        return any(s.state == state and s.target_digest == digest for s in told)

    def stop(self) -> None:
        """Vanish at once."""
        for watcher in self._watchers:
            watcher.put(None)
        self._server.stop(None).wait()

    def ListBundles(self, request, context):  # noqa: N802 - the service's name for it
        """List every bundle."""
        return pb.ListBundlesResponse(bundles=self.infos.values())

    def WatchDirectives(self, request, context):  # noqa: N802 - the service's name for it
        """Send the directive, and each that follows."""
        mine: queue.SimpleQueue[pb.Directive | None] = queue.SimpleQueue()
        context.add_callback(lambda: mine.put(None))
        with self._lock:
            self.statuses.append(request)
            self._watchers.append(mine)
            if self.current is not None:
                mine.put(self.current)
        yield from iter(mine.get, None)

    def ReportStatus(self, request, context):  # noqa: N802 - the service's name for it
        """Take note."""
        with self._lock:
            self.statuses.append(request)
            return self.late or self.current or pb.Directive(report_interval_s=0.2)

    def FetchBundle(self, request, context):  # noqa: N802 - the service's name for it
        """Send a file."""
        self.fetches += 1
        if self.fetch_error is not None:
            context.abort(self.fetch_error, "as the test wants it")
        yield pb.FetchBundleResponse(bundle=self.infos[request.digest])
        data = self.files[request.digest]
        for offset in range(0, len(data), 4096):
            yield pb.FetchBundleResponse(chunk=data[offset : offset + 4096])


@pytest.fixture
def director() -> Iterator[Director]:
    """Return who gives directives; nobody is told anything at first."""
    director = Director()
    yield director
    director.stop()


@pytest.fixture(scope="session")
def good_path(bundle: Bundle, rewrite, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return version 1.1.0, which is cut at another partition point."""
    folder = tmp_path_factory.mktemp("good")
    return rewrite(bundle, folder, version="1.1.0", default_point=2)


@pytest.fixture(scope="session")
def bad_path(
    bundle: Bundle, rewrite, model_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Path]:
    """Return a function that writes version 1.2.0, bad as named.

    "nan", "raises" and "slow" pass the self-test and fail at windows with a `BAD_VALUE`, to which
    "blind" gives another answer than it should;
    "outputs" fails the self-test; "stranger" is signed by one nobody trusts.
    """

    def write(fault: str, **changes: object) -> Path:
        folder = tmp_path_factory.mktemp(fault)
        if fault == "stranger":
            path = rewrite(bundle, folder, version="1.2.0")
            write_key_pair(folder / "stranger.key", folder / "stranger.pub")
            return signed_by(read_signer(folder / "stranger.key"), path)
        if fault == "outputs":
            outputs = {n: a + np.float32(1) for n, a in bundle.samples.outputs.items()}
            samples = replace(bundle.samples, outputs=outputs)
            member = describe_member("samples.npz", encode_samples(samples))
            changed = replace(bundle, samples=samples)
            return rewrite(changed, folder, version="1.2.0", samples=member)
        content = (model_folder / "trial" / f"{fault}.onnx").read_bytes()
        first, *rest = bundle.manifest.segments
        first = msgspec.structs.replace(first, member=describe_member(first.member.path, content))
        changed = replace(bundle, segments=(content, *bundle.segments[1:]))
        return rewrite(changed, folder, version="1.2.0", segments=(first, *rest), **changes)

    return write


def signed_by(signer: Signer, path: Path) -> Path:
    """Put another signature into a bundle."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members["signature"] = signer.sign(members["manifest.json"])
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


@pytest.fixture
def two_fogs(
    director: Director, start_fog, bundle_path: Path, tmp_path: Path
) -> Callable[..., tuple[str, str]]:
    """Return a function that serves bundles; it returns who gives directives, and the fog."""

    def start(*paths: Path) -> tuple[str, str]:
        folder = tmp_path / "bundles"
        folder.mkdir(exist_ok=True)
        for path in (bundle_path, *paths):
            (folder / path.name).write_bytes(path.read_bytes())
            director.add(path)
        return director.address, start_fog(bundles=folder).address

    return start


class Feed:
    """Runs the agent on a thread of this process over windows that the test hands it one by one."""

    def __init__(self, settings: dict[str, object], sink: Path) -> None:
        self.settings = settings
        self.sink = sink
        self.windows: list[Array] = []
        self._rng = np.random.default_rng(4)
        self._sink_bytes = 0
        self._lines: list[dict[str, object]] = []
        self.error: BaseException | None = None
        self._is_closed = False
        self._read, self._write = os.pipe()
        self._stdin = os.fdopen(self._read)
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> "Feed":
        """Begin the run; the lines of one before are gone."""
        self.sink.unlink(missing_ok=True)
        self._thread.start()
        return self

    def feed(self, windows: int = 1, bad: bool = False) -> None:
        """Hand over the next windows; bad ones hold a `BAD_VALUE`."""
        for _ in range(windows):
            window = self._rng.standard_normal((16, 2)).astype(np.float32)
            if bad:
                window[0, 0] = BAD_VALUE
            self.windows.append(window)
            os.write(self._write, (json.dumps(window.tolist()) + "\n").encode())

    def feed_until(self, condition: Callable[[], bool], bad: bool = False) -> None:
        """Hand windows over until something has happened, no faster than they are answered."""
        stop_s = time.monotonic() + TIMEOUT_S
        while not condition():
            assert time.monotonic() < stop_s, "waited too long"
            assert self.error is None, self.error
            if len(self.windows) - len(self.lines()) < 4:
                self.feed(bad=bad)
            time.sleep(0.002)  # paces the source

    def lines(self) -> list[dict[str, object]]:
        """Return the whole lines in the sink."""
        if self.sink.exists():
            with self.sink.open("rb") as file:
                file.seek(self._sink_bytes)
                whole = file.read().rpartition(b"\n")[0]
            if whole:
                self._sink_bytes += len(whole) + 1
                self._lines += map(json.loads, whole.split(b"\n"))
        return self._lines

    def end(self) -> list[dict[str, object]]:
        """End the source; return all lines, after checking that each window came once, in order."""
        self.close()
        assert not self._thread.is_alive(), "the run does not end"
        if self.error is not None:
            raise self.error
        lines = self.lines()
        assert list(range(len(self.windows))) == [line["sequence"] for line in lines]
        return lines

    def close(self) -> None:
        """End the source and wait for the run, unless that has been done."""
        if not self._is_closed:
            self._is_closed = True
            os.close(self._write)
            self._thread.join(TIMEOUT_S)
            self._stdin.close()

    def _run(self) -> None:
        try:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(sys, "stdin", self._stdin)
                run(Config(**self.settings))
        except BaseException as error:  # noqa: BLE001 - raised again in the test's thread
            self.error = error


@pytest.fixture
def feed(run_agent, tmp_path: Path, monkeypatch) -> Iterator[Callable[..., Feed]]:
    """Return a function that begins a run which follows directives."""
    for module in (rehearsal, shadow_process):  # a busy machine would starve them
        monkeypatch.setattr(module, "NICENESS", 0)
    settings = {
        **run_agent.settings,
        "source": "stdin",
        "sink": f"jsonl:{run_agent.sink}",
        "state": str(tmp_path / "state"),
        "updates": "on",
        "update_windows": 8,
        "update_slow_ratio": 1000.0,  # a busy machine slows any head
    }
    begun: list[Feed] = []

    def start(**more: object) -> Feed:
        begun.append(Feed({**settings, **more}, run_agent.sink))
        return begun[-1].start()

    yield start
    for one in begun:
        one.close()


@pytest.fixture
def updates_folder(tmp_path: Path) -> Path:
    """Return where the agent keeps its updates."""
    return tmp_path / "state" / "updates"
