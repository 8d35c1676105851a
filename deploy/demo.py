"""The whole path on this machine: optimise, cut, serve, stream and measure heartbeats.

Trains a small network on MIT-BIH (or, where $HEADTAIL_DATA has none, on synthetic ECG), starts a
fog server and an edge agent as processes of their own, replays a recording that training never saw,
and compares what came out with the annotations and with the uncut model.
"""

import argparse
import json
import shutil
import subprocess
import sys
import time
import urllib.request
from collections import Counter, deque
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.live import Live
from rich.table import Table

from demo_summary import Replay, describe, summarise, write_summary
from headtail.bundle import Bundle, read_bundle
from headtail.bundle.keys import read_trust
from optimizer.data.dataset import DataConfig
from optimizer.data.mitbih import find_folder, read_record
from optimizer.data.record import write_record
from optimizer.data.synthetic import make_record
from programs import BIN, ProgramFailed, running

ROOT = Path(__file__).resolve().parent.parent
RECIPE = ROOT / "recipes" / "demo.toml"
TEST_RECORD = "233"  # of DS2, which the inter-patient protocol never trains on
SYNTHETIC_SEED, SYNTHETIC_S = 2026, 600.0
POLL_S = 0.25
RECENT = 200  # results the live table speaks of


def main() -> int:
    """Run the demo and return its exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "demo", help="results go here")
    parser.add_argument("--recipe", type=Path, default=RECIPE, help="what to train and cut")
    parser.add_argument(
        "--speed", default="60", help="replay speed: 60 (a minute a second), or max"
    )
    parser.add_argument("--record", default=TEST_RECORD, help="record of MIT-BIH to replay")
    arguments = parser.parse_args()
    out, console = arguments.out, Console()
    started = time.monotonic()
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    console.rule("1  optimise and cut")
    path = optimise(arguments.recipe, out)
    bundle = read_bundle(path, read_trust())
    console.rule("2  serve and stream")
    record_path = find_record(arguments.record, bundle, out)
    try:
        replay = stream(path, record_path, arguments.speed, out)
    except ProgramFailed as error:
        sys.exit(f"demo: {error}")
    console.rule("3  measure")
    record = read_record(record_path.parent, record_path.name)
    summary = summarise(replay, record, bundle, out / "optimizer" / "model.onnx")
    describe(summary, console)
    write_summary(summary, out / "summary.json")
    seconds = time.monotonic() - started
    console.print(
        f"Done in {seconds:.0f} s; {out}/optimizer/report.html shows the partition points."
    )
    return 0


def optimise(recipe: Path, out: Path) -> Path:
    """Run the optimizer and return its bundle, in the folder that the fog will serve."""
    command = [BIN / "optimizer", "run", recipe, "--out", out / "optimizer"]
    if subprocess.run(command, check=False).returncode != 0:
        sys.exit("demo: the optimizer failed, see above")
    (written,) = (out / "optimizer").glob("*.bundle")
    (out / "bundles").mkdir()
    return Path(shutil.copy(written, out / "bundles"))


def find_record(name: str, bundle: Bundle, out: Path) -> Path:
    """Return a recording that training never saw, real where the model learnt from real ones."""
    folder = find_folder(DataConfig())
    if not bundle.manifest.lineage.is_synthetic and folder is not None:
        return folder / name
    rng = np.random.default_rng(SYNTHETIC_SEED)
    (out / "record").mkdir()
    return write_record(out / "record", "synthetic", make_record(SYNTHETIC_S, rng)).with_suffix("")


def stream(bundle: Path, record: Path, speed: str, out: Path) -> Replay:
    """Replay the record through an edge agent and a fog server; both are stopped at the end."""
    any_port = "127.0.0.1:0"
    fog_command = ["fog-server", "--bundles", bundle.parent, "--listen", any_port]
    with running([*fog_command, "--metrics", any_port], out / "fog.log") as fog:
        fog_page = fog.wait_for(r"metrics on (\S+)")
        address = fog.wait_for(r"serving on (\S+)")
        sink = out / "results.jsonl"
        edge_command = [
            *("edge-agent", "run", "--bundle", bundle, "--fog", address, "--metrics", any_port),
            *("--source", f"wfdb:{record}", "--speed", speed, "--sink", f"jsonl:{sink}"),
        ]
        with running(edge_command, out / "edge.log") as edge:
            edge_page = edge.wait_for(r"metrics on (\S+)")
            Console().print(f"fog server on {address}, metrics on {fog_page} and {edge_page}")
            pages = {out / "edge.metrics.txt": edge_page, out / "fog.metrics.txt": fog_page}
            results = follow(edge.process, sink, pages)
        if edge.process.returncode != 0:
            raise ProgramFailed(f"the edge agent failed:\n{edge.text}")
    if not results:
        sys.exit(f"demo: no beat was found in {record}")
    return Replay(results, edge_page, fog_page)


def follow(
    process: "subprocess.Popen[bytes]", sink: Path, pages: dict[Path, str]
) -> list[dict[str, Any]]:
    """Show results as they are written until the agent ends; keep the last state of the pages."""
    results: list[dict[str, Any]] = []
    recent: deque[dict[str, Any]] = deque(maxlen=RECENT)
    offset, is_over = 0, False
    with Live(refresh_per_second=4) as live:
        while not is_over:
            is_over = process.poll() is not None
            lines, offset = read_lines(sink, offset)
            results += lines
            recent.extend(lines)
            if recent:
                live.update(live_table(recent, results))
            for path, page in pages.items():
                keep_page(page, path)
            if not is_over:
                time.sleep(POLL_S)
    return results


def read_lines(path: Path, offset: int) -> tuple[list[dict[str, Any]], int]:
    """Return the whole lines of a growing file from `offset` on, and where the next begins."""
    if not path.exists():
        return [], offset
    with path.open("rb") as file:
        file.seek(offset)
        data = file.read()
    end = data.rfind(b"\n") + 1
    return [json.loads(line) for line in data[:end].splitlines()], offset + end


def live_table(recent: deque[dict[str, Any]], results: list[dict[str, Any]]) -> Table:
    """Return the table of what came last."""
    table = Table(title=f"{len(results)} windows", title_justify="left")
    for heading in ("last beats", "where", "latency p50", "edge energy", "sent", "labels so far"):
        table.add_column(heading)
    share = sum(r["where"] == "fog" for r in recent) / len(recent)
    energy = np.mean([r["energy_j"]["compute"] + r["energy_j"]["tx"] for r in recent])
    counts = Counter(r["label"] for r in results)
    table.add_row(
        " ".join(r["label"] for r in list(recent)[-12:]),
        f"{share:.0%} fog",
        f"{np.percentile([r['latency_s'] for r in recent], 50) * 1e3:.2f} ms",
        f"{energy * 1e6:.1f} uJ",
        f"{np.mean([r['tx_bytes'] for r in recent]):.0f} B",
        "  ".join(f"{label} {n}" for label, n in sorted(counts.items())),
    )
    return table


def keep_page(page: str, path: Path) -> None:
    """Save a metrics page; the agent's goes away when its source ends."""
    try:
        with urllib.request.urlopen(page, timeout=5) as response:  # noqa: S310 - our own page
            path.write_bytes(response.read())
    except OSError:
        return


if __name__ == "__main__":
    sys.exit(main())
