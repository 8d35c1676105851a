"""A measured profile for people: tables, bars and the figures as JSON."""

import msgspec
import numpy as np

from headtail.layer_shape import KINDS
from headtail.profile_fit import LAYER_TERMS, RUN_TERMS, Fit, Row
from headtail.profile_kit import Kit
from headtail.profile_measure import Timing
from headtail.surrogate import Agreement

BAR = 32  # characters of the longest bar


def format_fit(kit: Kit, timing: Timing, fit: Fit) -> str:
    """Return both tables of agreement, the rates, and bars of the layers held out."""
    share = float(np.median(timing.layer_s / timing.run_s))
    return "\n".join(
        [
            f"{len(kit.manifest.layers)} layers, {timing.rounds} rounds; a call's own overhead"
            f" {1e6 * fit.overhead_s:.1f} us, the layer is {share:.0%} of a call (medians)",
            "",
            "whole calls, predicted by the profile (a time for each run, one rate for each kind of"
            " MAC)",
            *_table(fit.run_rows),
            "",
            "whole calls, predicted by the rates by kind below and the call's overhead",
            *_table(fit.whole_rows),
            "",
            "time above the overhead, predicted by kind (layer, MACs, rows, patch values)",
            *_table(fit.layer_rows),
            "",
            *_rates(fit),
            "",
            "layers held out, time above the overhead, us: measured #, predicted =",
            *_bars(kit, timing, fit),
            "",
        ]
    )


def encode_figures(kit: Kit, timing: Timing, fit: Fit, source: str) -> bytes:
    """Return every figure as one JSON object, times in seconds."""
    return msgspec.json.encode(
        {
            "source": source,
            "kit": kit.digest,
            "rounds": timing.rounds,
            "run": {"rates": _named(RUN_TERMS, fit.run.rates, fit.run.uncertainties)},
            "layer": {
                kind: {"rates": _named(LAYER_TERMS, s.rates, s.uncertainties)}
                for kind, s in fit.layers.items()
            },
            "run_agreement": fit.run_rows,
            "overhead_s": fit.overhead_s,
            "layer_agreement": fit.layer_rows,
            "whole_agreement": fit.whole_rows,
            "layers": [
                {
                    "name": layer.name,
                    "is_held_out": layer.is_held_out,
                    "run_s": float(timing.run_s[i]),
                    "predicted_run_s": float(fit.run_s[i]),
                    "layer_s": float(timing.layer_s[i]),
                    "predicted_layer_s": float(fit.layer_s[i]),
                    "spread": float(timing.spread[i]),
                }
                for i, layer in enumerate(kit.manifest.layers)
            ],
        }
    )


def _named(
    terms: tuple[str, ...], rates: tuple[float, ...], uncertainties: tuple[float, ...]
) -> dict[str, dict[str, float]]:
    return {
        term: {"seconds": rate, "uncertainty": uncertainty}
        for term, rate, uncertainty in zip(terms, rates, uncertainties, strict=True)
    }


def _table(rows: tuple[Row, ...]) -> list[str]:
    head = f"{'':<15}{'fitted':>35}{'held out':>35}"
    names = f"{'layers':>7}{'R2':>7}{'log R2':>7}{'median':>7}{'worst':>7}"
    body = [f"{row.kind:<15}{_cells(row.fitted)}{_cells(row.held_out)}" for row in rows]
    return [head, f"{'':<15}{names}{names}", *body]


def _cells(agreement: Agreement) -> str:
    r2, r2_log = (
        f"{'-' if value is None else f'{value:.3f}':>7}"
        for value in (agreement.r2, agreement.r2_log)
    )
    errors = f"{agreement.median_error:>7.0%}{agreement.worst_error:>7.0%}"
    return f"{agreement.count:>7}{r2}{r2_log}{errors}"


def _rates(fit: Fit) -> list[str]:
    lines = [f"{'':<15}{'us/layer':>18}{'ns/MAC':>18}{'ns/row':>18}{'ns/patch value':>18}"]
    for kind in KINDS:
        surrogate, cells = fit.layers[kind], ""
        for i, factor in enumerate((1e6, 1e9, 1e9, 1e9)):
            rate, apart = factor * surrogate.rates[i], factor * surrogate.uncertainties[i]
            cells += f"{f'{rate:.3g} +- {apart:.2g}':>18}"
        lines.append(f"{kind:<15}{cells}")
    return lines


def _bars(kit: Kit, timing: Timing, fit: Fit) -> list[str]:
    chosen = [i for i, layer in enumerate(kit.manifest.layers) if layer.is_held_out]
    low = 0.5 * min(float(timing.layer_s[chosen].min()), float(fit.layer_s[chosen].min()))
    high = max(float(timing.layer_s[chosen].max()), float(fit.layer_s[chosen].max()))
    lines = []
    for i in sorted(chosen, key=lambda i: float(timing.layer_s[i])):
        for mark, seconds, name in (
            ("#", timing.layer_s[i], kit.manifest.layers[i].name),
            ("=", fit.layer_s[i], ""),
        ):
            # Logarithmic: the layers span several orders of magnitude.
            length = round(BAR * float(np.log(seconds / low) / np.log(high / low)))
            lines.append(f"{name:<20}{1e6 * seconds:>9.2f} {mark * max(length, 1)}")
    return lines
