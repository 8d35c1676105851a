"""The figures of a report for machines: `report.json`, in SI units and shares from 0 to 1."""

import dataclasses
from typing import Any

import msgspec

from optimizer.partition import Row
from optimizer.report.comparison import noise
from optimizer.report.field import field_figures
from optimizer.report.layers import every_cut, genome, layers_on_edge
from optimizer.report.printed import best_totals
from optimizer.report.radio import radio_rows
from optimizer.report.summary import RunSummary, Summary
from optimizer.report.tables import class_figures
from optimizer.report.text import trivial
from optimizer.scores import Scores


def figures(summary: RunSummary) -> bytes:
    """Return `report.json`: what the page shows as numbers; parts without data are left out."""
    network, known = genome(summary), noise(summary)
    told: dict[str, Any] = {
        "name": summary.recipe.name,
        "version": summary.recipe.version,
        "digest": summary.packed.digest,
        "is_synthetic": summary.is_synthetic,
        "data": summary.data,
        "seed": summary.recipe.seed,
        "network": {
            "lengths": network.lengths,
            "channels": network.channels,
            "kernels": network.kernels,
            "classes": network.classes,
            "parameters": summary.parameters,
            "layers_on_edge": layers_on_edge(summary),
        },
        "test": score_figures(summary.training.test_scores)
        | {
            "standard_error": known.error,
            "standard_error_of_difference": known.difference,
            "commonest_class": trivial(summary),
            "classes": [dataclasses.asdict(c) for c in class_figures(summary)],
        },
        "validation": score_figures(summary.training.validation_scores),
        "epochs": [msgspec.to_builtins(e) for e in summary.training.epochs],
        "best_epoch": summary.training.best_epoch,
        "device_profile": summary.chosen.cost.device_profile,
        "link_profile": summary.chosen.cost.link_profile,
        "mode": summary.chosen.cost.mode,
        "fog_factor": summary.recipe.partition.fog_factor,
        "chosen": row_figures(summary, summary.chosen),
        "points": [row_figures(summary, row) for row in summary.rows],
        "every_cut": [
            {
                "layers_on_edge": cut.layers,
                "point": cut.point,
                "encoding": cut.row.encoding,
                "payload_bytes": cut.payload_bytes,
                "head_j": cut.row.cost.head_j,
                "tx_j": cut.row.cost.tx_j,
                "fog_j": cut.row.fog_j,
            }
            for cut in every_cut(summary)
        ],
        "best_totals": [
            {
                "fog_factor": factor,
                "total_j": total_j,
                "layers_on_edge": cut.layers,
                "encoding": cut.row.encoding,
            }
            for factor, cut, total_j in best_totals(summary)
        ],
        "radio": [dataclasses.asdict(r) | {"edge_j": r.edge_j} for r in radio_rows(summary)],
        "verified_windows": summary.verified_windows,
        "verified_error": summary.verified_error,
    }
    if summary.found is not None:
        told["search"] = {
            "goals": summary.found.goals,
            "winner": summary.found.winner,
            "front": summary.found.front,
            "generations": summary.found.generations,
            "stuck": summary.found.stuck,
        }
    if summary.statistics is not None:
        kinds = {"seed": summary.statistics.figures("seed")}
        kinds |= {"split": summary.statistics.figures("split")}
        told["statistics"] = {
            "protocol": summary.statistics.protocol,
            **{kind: known for kind, known in kinds.items() if known is not None},
            "repeats": summary.statistics.repeats,
        }
    if summary.comparison is not None:
        told["comparison"] = summary.comparison.rows
    if summary.field is not None:
        told["field"] = field_figures(summary.field)
    if summary.seconds:
        told["seconds"] = summary.seconds
    if summary.cut_costs:
        told["cut_costs"] = summary.cut_costs
    return msgspec.json.format(msgspec.json.encode(told), indent=2) + b"\n"


def score_figures(scores: Scores) -> dict[str, Any]:
    """Return what a confusion matrix comes to."""
    return {
        "windows": int(scores.confusion.sum()),
        "accuracy": scores.accuracy,
        "macro_f1": scores.macro_f1,
        "confusion": scores.confusion.tolist(),
    }


def row_figures(summary: Summary, row: Row) -> dict[str, Any]:
    """Return the figures of a point with an encoding."""
    return {
        "point": row.point,
        "encoding": row.encoding,
        "payload_bytes": summary.wire_bytes(row),
        "head_j": row.cost.head_j,
        "tx_j": row.cost.tx_j,
        "edge_j": row.edge_j,
        "fog_j": row.fog_j,
        "total_j": row.total_j,
        "latency_s": row.latency_s,
        "flash_bytes": row.flash_bytes,
        "ram_bytes": row.ram_bytes,
        "validation_accuracy": summary.accuracy(row),
        "excesses": row.reason,
    }
