"""Write the Grafana dashboards of the chart from the tables beside this module.

Usage: ``python tools/dashboards.py [--check]``. Grafana's JSON is long and says little; what is
looked at, and why, is in the tables.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dashboard_panels import Dashboard, Panel
from dashboard_queue import QUEUE
from dashboard_serving import SERVING

TARGET = Path(__file__).resolve().parent.parent / "charts/alise/files/dashboards"
COLUMNS = 24
HEIGHT = 8
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
SELECTORS = {
    "$GATEWAY": 'namespace=~"$namespace",pod=~"$pod"',
    "$MODEL": 'namespace=~"$namespace",pod=~"$pod",model=~"$model"',
    "$ENGINE": 'namespace=~"$namespace",model_name=~"$model"',
}


def main() -> int:
    """Write, or with ``--check`` compare; returns the exit code."""
    stale = [name for name, text in rendered().items() if current(name) != text]
    if "--check" in sys.argv[1:]:
        if stale:
            print(f"not up to date: {', '.join(stale)}: run python tools/dashboards.py")
        return int(bool(stale))
    for name in stale:
        (TARGET / name).write_text(rendered()[name], encoding="utf-8")
    return 0


def current(name: str) -> str:
    """The dashboard that is there; empty where there is none."""
    path = TARGET / name
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def rendered() -> dict[str, str]:
    """File name -> Grafana's JSON."""
    return {
        f"{board.name}.json": json.dumps(grafana(board), indent=1) + "\n"
        for board in (SERVING, QUEUE)
    }


def grafana(board: Dashboard) -> dict[str, Any]:
    """One dashboard as Grafana imports it."""
    return {
        "uid": f"alise-{board.name}",
        "title": f"ALISE / {board.title}",
        "description": board.about,
        "tags": ["alise"],
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "timezone": "browser",
        "templating": {"list": list(variables())},
        "annotations": {"list": []},
        "panels": list(panels(board)),
    }


def variables() -> Iterator[dict[str, Any]]:
    """What a reader chooses at the top."""
    yield {
        "name": "datasource",
        "label": "Data source",
        "type": "datasource",
        "query": "prometheus",
        "current": {},
        "hide": 0,
    }
    for name, query in (
        ("namespace", "label_values(alise_gateway_build_info, namespace)"),
        ("pod", 'label_values(alise_gateway_build_info{namespace=~"$namespace"}, pod)'),
        ("model", 'label_values(alise_gateway_requests_total{namespace=~"$namespace"}, model)'),
    ):
        yield {
            "name": name,
            "label": name.capitalize(),
            "type": "query",
            "datasource": SOURCE,
            "query": {"query": query, "refId": name},
            "definition": query,
            "refresh": 2,
            "sort": 1,
            "multi": True,
            "includeAll": True,
            "allValue": ".*",
            "current": {"text": ["All"], "value": ["$__all"]},
        }


def panels(board: Dashboard) -> Iterator[dict[str, Any]]:
    """Rows and panels with their places."""
    number = top = 0
    for row in board.rows:
        number += 1
        yield {
            "id": number,
            "type": "row",
            "title": row.title,
            "collapsed": False,
            "panels": [],
            "gridPos": {"x": 0, "y": top, "w": COLUMNS, "h": 1},
        }
        top += 1
        left = 0
        for panel in row.panels:
            if left + panel.width > COLUMNS:
                left, top = 0, top + HEIGHT
            number += 1
            place = {"x": left, "y": top, "w": panel.width, "h": HEIGHT}
            yield {"id": number, "gridPos": place, **drawn(panel)}
            left += panel.width
        top += HEIGHT


def drawn(panel: Panel) -> dict[str, Any]:
    """One panel without its place."""
    defaults: dict[str, Any] = {"unit": panel.unit, "min": 0}
    if panel.kind == "timeseries":
        stacking = "normal" if panel.stacked else "none"
        defaults["custom"] = {
            "lineWidth": 1,
            "fillOpacity": 30 if panel.stacked else 5,
            "showPoints": "never",
            "stacking": {"mode": stacking},
        }
    if panel.thresholds:
        steps: list[dict[str, Any]] = [{"color": "green", "value": None}]
        steps += [{"color": color, "value": value} for value, color in panel.thresholds]
        defaults["thresholds"] = {"mode": "absolute", "steps": steps}
    options = (
        {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}}
        if panel.kind == "timeseries"
        else {"reduceOptions": {"calcs": ["lastNotNull"]}}
    )
    return {
        "type": panel.kind,
        "title": panel.title,
        "description": panel.about,
        "datasource": SOURCE,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": options,
        "targets": [
            {
                "refId": chr(ord("A") + index),
                "datasource": SOURCE,
                "expr": with_selectors(expression),
                "legendFormat": legend,
            }
            for index, (legend, expression) in enumerate(panel.queries)
        ],
    }


def with_selectors(expression: str) -> str:
    """An expression of the tables with Grafana's variables in it."""
    for short, selector in SELECTORS.items():
        expression = expression.replace(short, selector)
    return expression


if __name__ == "__main__":
    sys.exit(main())
