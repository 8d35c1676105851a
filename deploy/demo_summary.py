"""What the demo measured: right answers, equality, latency, bytes and modelled energy."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from rich.console import Console
from rich.table import Table

from headtail.bundle import Bundle
from headtail.preprocess.pipeline import Pipeline
from headtail.segment import Chain, relative_error
from optimizer.data.aami import LABELS
from optimizer.data.match import match
from optimizer.data.mitbih import Record

PARTS = ("head", "network and queue", "tail", "end to end")


@dataclass(frozen=True, slots=True)
class Replay:
    """What the agent wrote while it replayed the record, and where metrics were to be seen."""

    results: Sequence[Mapping[str, Any]]
    edge_metrics: str
    fog_metrics: str


@dataclass(frozen=True, slots=True)
class Summary:
    """Every figure of the demo; seconds, joules and bytes are per window."""

    record: str
    lead: str
    is_synthetic: bool
    windows: int
    windows_in_fog: int
    annotated_beats: int
    sensitivity: float
    positive_predictivity: float
    accuracy: float
    recall: Mapping[str, tuple[float, int]]
    """Share of right answers and number of matched beats, by annotated class."""
    partition_point: int
    encoding: str
    chain_error: float
    """Head then tail at float32 against the uncut model, relative to its largest output."""
    wire_error: float
    """The same for the answers over the wire, with the encoding used."""
    same_label_ratio: float
    latency_s: Mapping[str, tuple[float, float]]
    """p50 and p99 by part."""
    tx_bytes: float
    payload_bytes: int
    compute_j: float
    tx_j: float
    profiles: str
    edge_metrics: str
    fog_metrics: str


def summarise(replay: Replay, record: Record, bundle: Bundle, whole_model: Path) -> Summary:
    """Compare the replay with the annotations and with the uncut model."""
    results, manifest = replay.results, bundle.manifest
    beats = match(record.samples, [r["sample"] for r in results], record.rate_hz)
    truth = [LABELS[record.classes[i]] for i, _ in beats.pairs]
    said = [results[j]["label"] for _, j in beats.pairs]
    first = results[0]
    point = manifest.points[first["partition_point"]]
    wire = next(e for e in point.encodings if e.encoding == first["encoding"])
    cost = point.costs[0]
    chain_error, wire_error, same = _compare(results, record, bundle, whole_model)
    return Summary(
        record=record.name,
        lead=record.lead,
        is_synthetic=manifest.lineage.is_synthetic,
        windows=len(results),
        windows_in_fog=sum(r["where"] == "fog" for r in results),
        annotated_beats=len(record.samples),
        sensitivity=beats.sensitivity,
        positive_predictivity=beats.positive_predictivity,
        accuracy=float(np.mean([t == s for t, s in zip(truth, said, strict=True)])),
        recall=_recall(truth, said),
        partition_point=point.index,
        encoding=wire.encoding.value,
        chain_error=chain_error,
        wire_error=wire_error,
        same_label_ratio=same,
        latency_s=_latencies(results),
        tx_bytes=float(np.mean([r["tx_bytes"] for r in results])),
        payload_bytes=wire.bytes,
        compute_j=float(np.mean([r["energy_j"]["compute"] for r in results])),
        tx_j=float(np.mean([r["energy_j"]["tx"] for r in results])),
        profiles=f"{cost.device_profile} and {cost.link_profile}, mode {cost.mode}",
        edge_metrics=replay.edge_metrics,
        fog_metrics=replay.fog_metrics,
    )


def write_summary(summary: Summary, path: Path) -> None:
    """Write the figures as JSON."""
    path.write_text(json.dumps(asdict(summary), indent=2) + "\n", encoding="utf-8")


def describe(summary: Summary, console: Console) -> None:
    """Print the figures for a person."""
    if summary.is_synthetic:
        console.print("[bold red]synthetic[/] ECG: these figures say nothing about hearts")
    console.print(_answers(summary))
    console.print(_latency_table(summary))
    edge_j = summary.compute_j + summary.tx_j
    console.print(
        f"A window sends {summary.tx_bytes:.0f} B ({summary.payload_bytes} B of activation as"
        f" {summary.encoding}) and costs the edge {edge_j * 1e6:.1f} uJ, modelled: compute"
        f" {summary.compute_j * 1e6:.1f}, transmission {summary.tx_j * 1e6:.1f}"
        f" ({summary.profiles})."
    )
    console.print(
        f"Head then tail equals the uncut model within {summary.chain_error:.1e} of its largest"
        f" output (float32); over the wire as {summary.encoding} within {summary.wire_error:.1e},"
        f" with the same label for {summary.same_label_ratio:.2%} of the windows."
    )
    console.print(f"Metrics pages while it ran: {summary.edge_metrics} and {summary.fog_metrics}")


def _compare(
    results: Sequence[Mapping[str, Any]], record: Record, bundle: Bundle, whole_model: Path
) -> tuple[float, float, float]:
    """Return the errors of the chain and of the wire against the uncut model, and equal labels."""
    stream = Pipeline(bundle.manifest.preprocess).stream(record.rate_hz)
    windows = [w.values for w in [*stream.push(record.signal), *stream.flush()]]
    x = np.stack(windows)
    (spec,), (output, *_) = bundle.manifest.inputs, bundle.manifest.outputs
    whole = ort.InferenceSession(whole_model, providers=["CPUExecutionProvider"])
    (expected,) = whole.run([whole.get_outputs()[0].name], {whole.get_inputs()[0].name: x})
    chain, point = Chain(bundle), results[0]["partition_point"]
    cut = chain.tail(chain.head({spec.name: x}, point), point)[output.name]
    answers = np.array([r["output"] for r in results], np.float32).reshape(expected.shape)
    same = np.mean(answers.argmax(axis=1) == expected.argmax(axis=1))
    return relative_error(expected, cut), relative_error(expected, answers), float(same)


def _recall(truth: Sequence[str], said: Sequence[str]) -> dict[str, tuple[float, int]]:
    right: dict[str, list[bool]] = {}
    for expected, received in zip(truth, said, strict=True):
        right.setdefault(expected, []).append(expected == received)
    return {k: (float(np.mean(right[k])), len(right[k])) for k in LABELS if k in right}


def _latencies(results: Sequence[Mapping[str, Any]]) -> dict[str, tuple[float, float]]:
    head, tail, total = (
        np.array([r[key] for r in results]) for key in ("head_s", "tail_s", "latency_s")
    )
    columns = (head, np.maximum(total - head - tail, 0), tail, total)
    return {
        part: (float(np.percentile(c, 50)), float(np.percentile(c, 99)))
        for part, c in zip(PARTS, columns, strict=True)
    }


def _answers(summary: Summary) -> Table:
    table = Table(title=f"Record {summary.record}, lead {summary.lead}", title_justify="left")
    for heading in ("annotated class", "beats matched within 150 ms", "classified right"):
        table.add_column(heading, justify="right")
    for label, (recall, count) in summary.recall.items():
        table.add_row(label, str(count), f"{recall:.1%}")
    table.add_section()
    matched = round(summary.sensitivity * summary.annotated_beats)
    table.add_row("all", f"{matched} of {summary.annotated_beats}", f"{summary.accuracy:.1%}")
    table.caption = (
        f"detector: sensitivity {summary.sensitivity:.2%}, positive predictivity"
        f" {summary.positive_predictivity:.2%}; {summary.windows} windows,"
        f" {summary.windows_in_fog} finished in the fog, partition point {summary.partition_point}"
    )
    table.caption_justify = "left"
    return table


def _latency_table(summary: Summary) -> Table:
    table = Table(title="Latency of one window", title_justify="left")
    for heading in ("part", "p50, ms", "p99, ms"):
        table.add_column(heading, justify="right")
    for part, (p50, p99) in summary.latency_s.items():
        table.add_row(part, f"{p50 * 1e3:.3f}", f"{p99 * 1e3:.3f}")
    return table
