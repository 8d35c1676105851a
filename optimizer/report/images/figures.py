"""The figures of a run on images for machines: `report.json`, SI units and shares from 0 to 1."""

import dataclasses
from typing import Any

import msgspec

from optimizer.freeze.record import FreezingRecord
from optimizer.prune.record import PruneRecord
from optimizer.report.figures import row_figures, score_figures
from optimizer.report.images.summary import ImageSummary
from optimizer.report.tables import class_figures
from optimizer.report.text import trivial
from optimizer.training.stage import StageRecord


def image_figures(summary: ImageSummary) -> bytes:
    """Return `report.json`; parts that the recipe does not ask for are left out."""
    test = score_figures(summary.training.test_scores)
    told: dict[str, Any] = {
        "name": summary.recipe.name,
        "version": summary.recipe.version,
        "digest": summary.packed.digest,
        "data": summary.data,
        "seed": summary.recipe.seed,
        "backbone": summary.recipe.backbone,
        "parameters": summary.parameters,
        "test": test
        | {
            "commonest_class": trivial(summary),
            "classes": [dataclasses.asdict(c) for c in class_figures(summary)],
        },
        "validation": score_figures(summary.training.validation_scores),
        "adapted": _stage(summary.adapted),
        "device_profile": summary.chosen.cost.device_profile,
        "link_profile": summary.chosen.cost.link_profile,
        "mode": summary.chosen.cost.mode,
        "chosen": row_figures(summary, summary.chosen),
        "points": [row_figures(summary, row) for row in summary.rows],
        "verified_windows": summary.verified_windows,
        "verified_error": summary.verified_error,
    }
    if summary.freezing is not None:
        told["freezing"] = _freezing(summary.freezing)
    if summary.pruned is not None:
        told["pruning"] = _pruning(summary.pruned)
    if summary.costs is not None:
        told["costs"] = summary.costs
    if summary.seconds:
        told["seconds"] = summary.seconds
    if summary.cut_costs:
        told["cut_costs"] = summary.cut_costs
    return msgspec.json.format(msgspec.json.encode(told), indent=2) + b"\n"


def _stage(record: StageRecord) -> dict[str, Any]:
    return {
        "test": score_figures(record.test_scores),
        "validation": score_figures(record.validation_scores),
        "epochs": record.epochs,
        "best_epoch": record.best_epoch,
        "training_s": record.training_s,
        "measured_j": record.measured_j,
    }


def _freezing(record: FreezingRecord) -> dict[str, Any]:
    told = {
        "layers": dict(zip(record.layers, record.trained, strict=True)),
        "trained_layers": sum(record.trained),
        "passes": record.passes,
        "cached_bytes": record.cached_bytes,
        "flops": record.flops,
        "flops_of_all_layers": record.whole_flops,
        "test": score_figures(record.test_scores),
        "validation": score_figures(record.validation_scores),
        "training_s": record.training_s,
        "measured_j": record.measured_j,
    }
    return told if record.selection is None else told | {"selection": record.selection}


def _pruning(record: PruneRecord) -> dict[str, Any]:
    return {
        "criterion": record.criterion,
        "macs": record.macs,
        "parameters": record.parameters,
        "channels": record.channels,
        "is_complete": record.is_complete,
        "steps": [
            {
                "macs": step.macs,
                "parameters": step.parameters,
                "channels": step.channels,
                "training": _stage(step.training),
            }
            for step in record.steps
        ],
        "trials": record.trials,
        "kept_channels": {name: len(kept) for name, kept in record.keep.items()},
        "kept_layers": record.kept_layers,
        "frozen": record.frozen,
    }
