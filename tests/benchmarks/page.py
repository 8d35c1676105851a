"""docs/benchmarks/README.md: what was measured, on what, and which bounds hold.

Run as a program, it writes the page and the drawings anew from the records beside them.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import tasks  # noqa: F401 - sets the path for what follows
from bounds import Verdict, judge
from lanes import TITLES
from measure import BATCHED, LOADS, MANY, ONE
from paired import known, spread
from plots import COLORS, draw
from record import FOLDER, Record, read_record, values

RUNS = {
    "bench": ("Against the floors", "make bench"),
    "peers": ("Against other servers", "make bench-peers"),
}
PEER_SENTENCE = (
    "Triton's C++ onnxruntime backend cannot be had here: it comes in NVIDIA's container images,"
    " not in a wheel. The peer measured is Triton's core from the wheel `nvidia-pytriton` with its"
    " **Python backend**, which runs the same graph in onnxruntime."
)
METHOD = """\
Server and clients are pinned to a core each. Every server runs the same tail in onnxruntime with
one thread and gives the same outputs, which is checked before anything is timed. All are up at
once, and blocks of about half a second go round over all of them and all loads, so that whatever
drifts hits everybody alike; a ratio is the median over pairs of neighbouring blocks, with the
quartiles in brackets. Everybody is called by the same client, our agent's: a cached
header and the tensor, on one long stream that has a connection of its own (`headtail.http2`), or as
unary calls by grpcio, whose stream the bare floor is. MLServer and
KServe are called as they answer best, unary. Agents are connections with one request each, spread
over 8 processes. CPU is the kernel's count for the server's processes and for the clients, the
way through the kernel's sockets included; peak memory is the sum over a server's processes
(VmHWM), of our fog with every point and encoding of the bundle, of a peer with the one tail.
Triton stands twice: as it comes, and with its batcher on (`dynamic_batching`), with which this
version's Python backend may end with a segmentation fault under load and is then left out from
there; MLServer runs without its pool of workers.
"""


def write_page(folder: Path = FOLDER) -> Path:
    """Write page and drawings from the records of a folder; return the page."""
    records = {name: record for name in RUNS if (record := read_record(name, folder))}
    lines = ["# Benchmarks", ""]
    lines += ["Written by `make bench` and `make bench-peers`; the numbers behind every figure are"]
    found = ", ".join(f"[{name}.json]({name}.json)" for name in records)
    lines += [f"in {found}. What ran, how, and what must hold:", ""]
    lines += _bounds(judge(records))
    lines += ["", PEER_SENTENCE, "", METHOD]
    for name, record in records.items():
        title, command = RUNS[name]
        lines += [f"## {title}: `{command}`", "", *_run(record)]
        for file, svg in draw(name, record).items():
            (folder / file).write_text(svg + "\n", encoding="utf-8")
            lines += [f"![{file.removesuffix('.svg')}]({file})", ""]
        for task in record["tasks"]:
            lines += _task(record, task)
        lines += _edge(record)
    if (folder / "regret.md").exists():
        lines += ["The live choice of the partition point is measured in [regret.md](regret.md)."]
    path = folder / "README.md"
    path.write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")
    return path


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return a Markdown table; all columns but the first are right-aligned."""
    rule = "|---|" + "---:|" * (len(head) - 1)
    return [f"| {' | '.join(row)} |" if row is not None else rule for row in (head, None, *rows)]


def _bounds(verdicts: Sequence[Verdict]) -> list[str]:
    rows = []
    for verdict in verdicts:
        bound, found = verdict.bound, verdict.found
        figure = f"{found.text(bound.digits)}{bound.unit}" if found else "-"
        rows.append([bound.text, figure, bound.limit_text, verdict.answer])
    return table(["what must hold", "measured: median (quartiles)", "bound", "holds"], rows)


def _run(record: Record) -> list[str]:
    machine = record["machine"]
    lines = [
        f"{record['date']}, {record['seconds'] / 60:.1f} minutes. {machine['cpu']},"
        f" {machine['cores']} cores, {machine['memory_bytes'] / 2**30:.0f} GiB,"
        f" {machine['system']}, Python {machine['python']}; load average"
        f" {machine['load_average']:.1f} at the start."
    ]
    for name, versions in record["versions"].items():
        listed = ", ".join(f"{package} {version}" for package, version in versions.items())
        lines.append(f"{TITLES.get(name, 'Ours')}: {listed}.")
    for name, reason in record["skipped"].items():
        lines.append(f"**Skipped: {TITLES.get(name, name)}** ({reason}).")
    return [*lines, ""]


def _task(record: Record, task: Record) -> Iterator[str]:
    yield f"### {task['name']}"
    yield ""
    size = task["activation_bytes"]
    yield f"{size:,} bytes cross; {task['about']}; {task['rounds']} rounds."
    for lane, reason in task["left_out"].items():
        yield f"**Left out: {lane}** ({reason})."
    if task["lost_blocks"]:
        yield f"Lost blocks: {'; '.join(task['lost_blocks'])}."
    yield ""
    name = task["name"]
    measured = task["loads"].get(ONE.name, {})
    lanes = [lane for lane in COLORS if lane in measured]
    head = ["", "p50, us", "p95, us", "p99, us", "CPU server", "CPU client", "peak, MiB"]
    rows = []
    for lane in lanes:
        series = task["loads"][ONE.name][lane]
        latency = series.get("latency_us", {})
        row = [lane, *(f"{latency.get(p, 0):.0f}" for p in ("p50", "p95", "p99"))]
        row += [_median(series["server_us"], 1e-3, 3), _median(series["client_us"], 1e-3, 3)]
        rows.append([*row, f"{task['peak_bytes'].get(lane, 0) / 2**20:.0f}"])
    yield "One in flight; CPU seconds per 1,000 windows:"
    yield ""
    yield from table(head, rows)
    yield ""
    yield "Windows per second (CPU seconds of the server per 1,000):"
    yield ""
    loads = [load.name for load in (*LOADS, BATCHED) if load.name in task["loads"]]
    shares = any(values(record, name, MANY.name, lane, "least_share") for lane in lanes)
    rows = []
    for lane in lanes:
        row = [lane]
        for load in loads:
            found = task["loads"][load].get(lane)
            row.append(
                f"{_median(found['rate'])} ({_median(found['server_us'], 1e-3, 3)})"
                if found
                else "-"
            )
        if shares:
            least = values(record, name, MANY.name, lane, "least_share")
            row.append(spread(least).text() if least else "-")
        rows.append(row)
    yield from table(["", *loads, *(["least of 64, of the mean"] if shares else [])], rows)
    yield ""


def _median(blocks: Sequence[float | None], scale: float = 1.0, digits: int = 0) -> str:
    if not known(blocks):
        return "-"
    value = spread(known(blocks)).median * scale
    return f"{value:.{digits if digits or value >= 10 else 1}f}"


def _edge(record: Record) -> Iterator[str]:
    edge = record.get("edge")
    if not edge:
        return
    latency = " / ".join(f"{value:.0f}" for value in edge["latency_us"].values())
    yield "### The edge agent"
    yield ""
    yield (
        f"`edge-agent run` on a core of its own, our fog on the other, an activation of"
        f" {edge['activation_bytes'] >> 10} KB made by the head of each window of 64 numbers;"
        f" windows come as JSON lines and results leave as JSON lines, one in flight,"
        f" {edge['windows']} windows."
    )
    yield ""
    rows = [
        ["window to outputs, p50 / p95 / p99", latency, "us"],
        ["CPU of a window", spread(edge["cpu_us"]).text(0), "us"],
        ["of it the head, alone in onnxruntime", spread(edge["head_us"]).text(0), "us"],
        ["outside the head", spread(edge["outside_head_us"]).text(0), "us"],
        ["CPU of a window, file to file, as fast as it can", f"{edge['rush_cpu_us']:.0f}", "us"],
        ["windows per second, file to file", f"{edge['rush_windows_per_s']:.0f}", "1/s"],
        ["peak memory", f"{edge['peak_bytes'] / 1e6:.0f}", "MB"],
        ["resident memory at rest", f"{edge['resident_bytes'] / 1e6:.0f}", "MB"],
        ["at rest, share of a core", f"{edge['idle_cpu_ratio']:.4f}", ""],
        ["at rest, switches of its threads", f"{edge['idle_switches_per_s']:.0f}", "1/s"],
        ["the fog at rest, share of a core", f"{edge['fog_idle_cpu_ratio']:.4f}", ""],
    ]  # fmt: skip
    yield from table(["", "measured", "unit"], rows)
    yield ""


def main() -> None:
    """Write it."""
    print(f"wrote {write_page()}")


if __name__ == "__main__":
    main()
