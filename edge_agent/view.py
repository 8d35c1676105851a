"""The live view on a terminal; rich is imported here and nowhere else."""

import logging
import sys
from collections.abc import Callable
from types import TracebackType
from typing import TextIO

from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from edge_agent.running import Running
from edge_agent.tally import PARTS, Figures, Tally

REFRESHES_PER_S = 4


class View:
    """Shows a tally until left; log lines scroll above it."""

    def __init__(self, now: Callable[[], Running], tally: Tally) -> None:
        self._now = now
        self._tally = tally
        self._live = Live(
            get_renderable=self._render, refresh_per_second=REFRESHES_PER_S, redirect_stdout=False
        )
        self._streams: list[tuple[logging.StreamHandler[TextIO], TextIO]] = []

    def __enter__(self) -> "View":
        self._live.start()
        # Live has put itself in the place of stderr; the log must go through it.
        for handler in logging.getLogger().handlers:
            if isinstance(handler, logging.StreamHandler):
                self._streams.append((handler, handler.stream))
                handler.setStream(sys.stderr)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for handler, stream in self._streams:
            handler.setStream(stream)
        self._live.stop()

    def _render(self) -> Group:
        figures = self._tally.figures()
        return Group(self._title(), self._latency(figures), *self._lines(figures))

    def _title(self) -> Text:
        running = self._now()
        plan, digest = running.agent.plan, running.loaded.digest
        manifest = plan.manifest
        title = Text()
        title.append(f"{manifest.name} {manifest.version} ", style="bold")
        title.append(f"{digest[:12]}  ", style="dim")
        title.append(f"point {plan.point.index} of {len(manifest.segments)}, ")
        title.append(plan.encoding.value)
        if manifest.lineage.is_synthetic:
            title.append("  synthetic", style="yellow")
        title.append("   fog ")
        title.append(*self._fog())
        return title

    def _fog(self) -> tuple[str, str]:
        """Return the fog's state and its colour."""
        link = self._now().link
        if link is None:
            return "not needed", "dim"
        return ("connected", "green") if link.is_up else ("away", "bold red")

    def _latency(self, figures: Figures) -> Table:
        table = Table(box=None, pad_edge=False, header_style="dim")
        table.add_column("ms", justify="right", style="dim")
        for part in PARTS:
            table.add_column(part, justify="right", min_width=8)
        for row, name in enumerate(("p50", "p99")):
            cells = []
            for part in PARTS:
                seconds = figures.percentiles_s.get(part)
                cells.append("-" if seconds is None else f"{1e3 * seconds[row]:.2f}")
            table.add_row(name, *cells)
        return table

    def _lines(self, figures: Figures) -> list[Text]:
        windows = max(1, figures.windows)
        fog = figures.where.get("fog", 0) / windows
        counts = f"{figures.windows} windows, {figures.windows_per_s:.1f}/s, {fog:.1%} in the fog"
        if figures.judged:
            counts += f", accuracy {figures.correct / figures.judged:.3f}"
        lines = [Text(counts)]
        if figures.fallbacks:
            reasons = ", ".join(f"{r} {n}" for r, n in sorted(figures.fallbacks.items()))
            lines.append(Text(f"finished here because of the fog: {reasons}", style="yellow"))
        cost = f"per window {figures.tx_bytes / windows:.0f} B sent"
        if figures.compute_j is not None and figures.tx_j is not None:
            cost += (
                f"; modelled energy {1e6 * figures.compute_j / windows:.1f} uJ compute"
                f" + {1e6 * figures.tx_j / windows:.1f} uJ sending"
            )
        lines.append(Text(cost))
        lines.append(Text("last  " + " ".join(figures.last_labels), style="cyan"))
        return lines
