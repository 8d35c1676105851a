"""From the times of a kit's layers to a device profile, and how far to trust it.

Two surrogates are fitted to the layers that are not held out:

- *run*: the profile's own model (`CpuTime`), a time for each run and one rate for each kind of MAC,
  compared with whole calls of onnxruntime;
- *layer*: for each kind of layer a fixed time and rates of MACs, and of rows and values of the
  matrix of patches (`LayerShape.rows`), over the time above the call's overhead.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from headtail.constant import Constant
from headtail.cost_model import CpuTime
from headtail.errors import DataError
from headtail.layer_shape import KINDS, Kind
from headtail.operations import Operations
from headtail.profile import DeviceProfile
from headtail.profile_domain import Domain
from headtail.profile_kit import Kit, KitLayer
from headtail.profile_measure import Timing
from headtail.surrogate import Agreement, Surrogate, fit_surrogate, measure_agreement
from headtail.tensor import Array

RUN_TERMS = ("run", "conv_mac", "depthwise_mac", "dense_mac")
LAYER_TERMS = ("layer", "mac", "row", "patch_value")
ALL = "all"


@dataclass(frozen=True, slots=True)
class Row:
    """Agreement over one kind of layer."""

    kind: str
    fitted: Agreement
    held_out: Agreement


@dataclass(frozen=True, slots=True)
class Fit:
    """Both surrogates with what they predict; arrays of shape (layers,), in the kit's order."""

    run: Surrogate
    """Over `RUN_TERMS`."""
    layers: Mapping[Kind, Surrogate]
    """Over `LAYER_TERMS`, by kind."""
    run_s: Array
    """Predicted time of a call with the layer alone."""
    layer_s: Array
    """Predicted time of the layer above that."""
    overhead_s: float
    """What a call takes beside its layer: median over the layers fitted."""
    run_rows: tuple[Row, ...]
    """Whole calls, predicted by *run*."""
    layer_rows: tuple[Row, ...]
    """Time above the overhead, predicted by *layer*."""
    whole_rows: tuple[Row, ...]
    """Whole calls, predicted by *layer* and the overhead."""
    domain: Domain
    """What *run* was fitted to."""


@dataclass(frozen=True, slots=True)
class Power:
    """What the whole board draws."""

    idle: Constant
    full: Constant
    cores: int


def fit_kit(kit: Kit, timing: Timing, rng: np.random.Generator) -> Fit:
    """Fit both surrogates and compare them with the layers fitted and those held out.

    Raises:
        DataError: If a kind has too few layers to fit, or none held out.
    """
    layers = kit.manifest.layers
    held_out = np.array([layer.is_held_out for layer in layers])
    kinds = np.array([layer.shape.kind for layer in layers])
    for kind in KINDS:
        count, held = int(((kinds == kind) & ~held_out).sum()), int(held_out[kinds == kind].sum())
        if count < len(LAYER_TERMS) or held < 1:
            raise DataError(
                "profile kit",
                f"expected at least {len(LAYER_TERMS)} layers of kind {kind} to fit and one held"
                f" out, received {count} and {held}",
            )
    run_features = np.array([_run_features(layer.operations) for layer in layers], dtype=float)
    run = _fit_run(run_features[~held_out], timing.run_s[~held_out], timing.layer_s[~held_out], rng)
    features = np.array([_layer_features(layer) for layer in layers], dtype=float)
    layer_s = np.zeros(len(layers))
    surrogates: dict[Kind, Surrogate] = {}
    for kind in KINDS:
        chosen = (kinds == kind) & ~held_out
        surrogates[kind] = fit_surrogate(features[chosen], timing.layer_s[chosen], rng)
        layer_s[kinds == kind] = surrogates[kind].predict_s(features[kinds == kind])
    run_s = run.predict_s(run_features)
    overhead_s = float(np.median((timing.run_s - timing.layer_s)[~held_out]))
    return Fit(
        run,
        surrogates,
        run_s,
        layer_s,
        overhead_s,
        _rows(kinds, held_out, timing.run_s, run_s),
        _rows(kinds, held_out, timing.layer_s, layer_s),
        _rows(kinds, held_out, timing.run_s, overhead_s + layer_s),
        Domain(*(int(n) for n in run_features[~held_out, 1:].max(axis=0))),
    )


def make_profile(name: str, description: str, fit: Fit, power: Power, source: str) -> DeviceProfile:
    """Return the device profile of the *run* surrogate.

    Args:
        name: Of the profile.
        description: One line about the device.
        fit: Rates in seconds.
        power: Of the whole board.
        source: Where, when and with what the times were measured.
    """
    constants = [
        Constant(rate * factor, unit, "fitted", f"{source}; least squares", uncertainty * factor)
        for rate, uncertainty, (factor, unit) in zip(
            fit.run.rates, fit.run.uncertainties, ((1e6, "us"), *[(1e9, "ns/MAC")] * 3), strict=True
        )
    ]
    run_time, conv_time, depthwise_time, dense_time = constants
    model = CpuTime(
        full_power=power.full,
        idle_power=power.idle,
        cores=power.cores,
        conv_time=conv_time,
        depthwise_time=depthwise_time,
        dense_time=dense_time,
        run_time=run_time,
    )
    return DeviceProfile(name=name, description=description, model=model, domain=fit.domain)


def _run_features(operations: Operations) -> tuple[int, ...]:
    return (1, operations.conv_macs, operations.depthwise_macs, operations.dense_macs)


def _layer_features(layer: KitLayer) -> tuple[int, ...]:
    return (1, layer.operations.macs, layer.shape.rows, layer.shape.patch_values)


def _fit_run(features: Array, run_s: Array, layer_s: Array, rng: np.random.Generator) -> Surrogate:
    """Return a time for each run and one rate for each kind of MAC, over `RUN_TERMS`.

    A kind's rate is fitted beside a fixed time of its own over the time above the overhead: calls
    of different kinds differ by more than the MACs of small layers take, which over whole calls
    would make a rate zero. The time of a run is the median of what the rates leave.
    """
    rates, uncertainties = [], []
    for column in range(1, len(RUN_TERMS)):
        chosen = features[:, column] > 0
        part = fit_surrogate(features[chosen][:, [0, column]], layer_s[chosen], rng)
        rates.append(part.rates[1])
        uncertainties.append(part.uncertainties[1])
    low, rest, high = np.percentile(run_s - features[:, 1:] @ np.array(rates), (25, 50, 75))
    return Surrogate((max(float(rest), 0.0), *rates), (float(high - low) / 2, *uncertainties))


def _rows(kinds: Array, held_out: Array, measured: Array, predicted: Array) -> tuple[Row, ...]:
    rows = []
    for kind in (*KINDS, ALL):
        chosen = np.ones(len(kinds), dtype=bool) if kind == ALL else kinds == kind
        fitted, held = (
            measure_agreement(measured[part], predicted[part])
            for part in (chosen & ~held_out, chosen & held_out)
        )
        rows.append(Row(kind, fitted, held))
    return tuple(rows)
