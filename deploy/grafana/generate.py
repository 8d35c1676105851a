"""Write Grafana's JSON of every dashboard; `--check` only compares."""

import json
import sys
from pathlib import Path
from typing import Any

from agent import AGENT
from fleet import FLEET
from jobs import JOBS
from panels import Dashboard, Panel

from fog import FOG

DASHBOARDS = (FLEET, AGENT, FOG, JOBS)

FOLDER = Path(__file__).parent / "dashboards"
SCHEMA_VERSION = 39  # Grafana 11; newer ones read it
COLUMNS, STAT_HEIGHT, PLOT_HEIGHT = 24, 4, 8
SOURCE = {"type": "prometheus", "uid": "${source}"}


def main(arguments: list[str]) -> int:
    """Write or compare; return the exit status."""
    stale = []
    for dashboard in DASHBOARDS:
        path = FOLDER / f"{dashboard.uid.removeprefix('headtail-')}.json"
        text = json.dumps(render(dashboard), indent=2) + "\n"
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            stale.append(path.name)
            if "--check" not in arguments:
                path.write_text(text, encoding="utf-8")
    if stale and "--check" in arguments:
        sys.stderr.write(f"{', '.join(stale)}: not as generate.py writes it\n")
        return 1
    return 0


def render(dashboard: Dashboard) -> dict[str, Any]:
    """Return a dashboard as Grafana imports it, panels left to right and top to bottom."""
    panels, x, y, height = [], 0, 0, 0
    for number, panel in enumerate(dashboard.panels, 1):
        if x + panel.width > COLUMNS:
            x, y = 0, y + height
        height = STAT_HEIGHT if panel.kind == "stat" else PLOT_HEIGHT
        place = {"x": x, "y": y, "w": panel.width, "h": height}
        panels.append(render_panel(panel, number, place))
        x += panel.width
    return {
        "uid": dashboard.uid,
        "title": dashboard.title,
        "tags": ["headtail"],
        "schemaVersion": SCHEMA_VERSION,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {
            "list": [{"name": "source", "type": "datasource", "query": "prometheus"}]
            + [render_variable(name, query) for name, query in dashboard.variables.items()]
        },
        "links": [
            {"type": "dashboards", "title": "headtail", "tags": ["headtail"], "asDropdown": True,
             "includeVars": True, "keepTime": True}
        ],
        "annotations": {"list": []},
        "panels": panels,
    }  # fmt: skip


def render_variable(name: str, query: str) -> dict[str, Any]:
    """Return a variable that takes one or several of a label's values."""
    return {
        "name": name,
        "type": "query",
        "datasource": SOURCE,
        "query": {"query": query, "refId": name},
        "refresh": 2,
        "sort": 1,
        "multi": True,
        "includeAll": True,
    }


def render_panel(panel: Panel, number: int, place: dict[str, int]) -> dict[str, Any]:
    """Return a panel at its place."""
    steps: list[dict[str, Any]] = [{"color": "green", "value": None}]
    if panel.limit is not None:
        steps.append({"color": "red", "value": panel.limit})
    defaults: dict[str, Any] = {
        "unit": panel.unit,
        "min": 0,
        "thresholds": {"mode": "absolute", "steps": steps},
    }
    options: dict[str, Any]
    if panel.kind == "stat":
        options = {"reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False}}
    else:
        stacking = {"mode": "normal" if panel.is_stacked else "none", "group": "A"}
        defaults["custom"] = {"fillOpacity": 15, "showPoints": "never", "stacking": stacking}
        options = {
            "legend": {
                "displayMode": "table",
                "placement": "bottom",
                "calcs": ["lastNotNull", "max"],
            },
            "tooltip": {"mode": "multi", "sort": "desc"},
        }
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.text,
        "gridPos": place,
        "datasource": SOURCE,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": options,
        "targets": [
            {
                "refId": chr(ord("A") + i),
                "datasource": SOURCE,
                "expr": query,
                "legendFormat": legend,
            }
            for i, (legend, query) in enumerate(panel.queries.items())
        ],
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
