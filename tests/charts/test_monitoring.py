"""Alerts and dashboards speak of metrics that exist, and every alert has a runbook."""

import json
import re
from collections.abc import Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any

import pytest
import yaml

import dashboards
from alise_core.outcome import Outcome
from alise_core.wire import engine_metrics
from alise_gateway.domain.drop_reason import DropReason
from alise_gateway.domain.prediction import FallbackCause
from alise_gateway.measure.labels import BackendState, Success
from alise_operator.canary.plan import State
from alise_operator.workers import WorkResult
from architecture.repository import ROOT
from charts.helm import CHART, Helm, read_values

NAME = re.compile(r"\b((?:alise|vllm|process)(?:_[a-z0-9_]+|:[a-z0-9_]+))(?:\{([^}]*)\})?")
LABEL = re.compile(r"(\w+)\s*(?:=~|!~|!=|=)")
OF_SCRAPES = {"namespace", "pod", "le"}
OF_ENGINES = {"model_name", "engine"}
VALUE = re.compile(r'(\w+)=~?"([^"$]*)"')
VALUES: Mapping[tuple[str, str], type[StrEnum]] = {
    ("alise_gateway_backends", "state"): BackendState,
    ("alise_gateway_config_reloads_total", "result"): Success,
    ("alise_gateway_drops_total", "reason"): DropReason,
    ("alise_gateway_prediction_fallbacks_total", "reason"): FallbackCause,
    ("alise_gateway_requests_total", "outcome"): Outcome,
    ("alise_operator_reconciles_total", "result"): WorkResult,
    ("alise_operator_restart_steps_total", "state"): State,
}
"""Labels whose values expressions choose from, and the set that they are of."""
RUNBOOKS = ROOT / "docs/runbooks"


def catalogue() -> dict[str, set[str]]:
    """Every metric that exists, with its labels."""
    known: dict[str, set[str]] = {
        value: OF_ENGINES
        for name, value in vars(engine_metrics).items()
        if name.isupper() and str(value).startswith("vllm:")
    }
    for page in ("docs/metrics.md", "docs/operator.md"):
        path = ROOT / page
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
        for name, labels in re.findall(r"^\| `(\w+)` \| \w+ \|([^|]*)\|", text, re.MULTILINE):
            known[name] = set(re.findall(r"\w+", labels))
    return known


def problems(expression: str, known: Mapping[str, set[str]]) -> Iterator[str]:
    """What an expression names that does not exist."""
    labels = set(OF_SCRAPES)
    found = NAME.findall(expression)
    if not found:
        yield f"no metric in {expression}"
    for written, selector in found:
        plain = re.sub(r"_(bucket|sum|count)$", "", written)
        name = plain if plain in known else written
        if name not in known:
            yield f"no metric {name}"
            continue
        labels |= known[name]
        yield from (
            f"{name} has no {label} {value}"
            for label, pattern in VALUE.findall(selector)
            for value in pattern.split("|")
            if label != "namespace" and not chosen(name, label, value)
        )
        for label in LABEL.findall(selector):
            if label not in known[name] | OF_SCRAPES:
                yield f"{name} has no label {label}"
    for group in re.findall(r"\b(?:by|without|on) \(([^)]*)\)", expression):
        yield from (f"no label {label}" for label in set(re.findall(r"\w+", group)) - labels)


def chosen(name: str, label: str, pattern: str) -> bool:
    """Whether some value of a label of a metric is what a selector asks for."""
    return any(re.fullmatch(pattern, value) for value in VALUES[name, label])


def alerts() -> dict[str, dict[str, Any]]:
    groups = yaml.safe_load((CHART / "files/alerts.yaml").read_text(encoding="utf-8"))["groups"]
    return {rule["alert"]: rule for group in groups for rule in group["rules"]}


def board_files() -> list[Path]:
    return sorted((CHART / "files/dashboards").glob("*.json"))


@pytest.mark.parametrize("name", alerts())
def test_alerts_name_what_exists(name: str) -> None:
    expression = alerts()[name]["expr"]
    expression = expression.replace("$GATEWAY", "namespace=").replace("$OPERATOR", "namespace=")

    assert list(problems(expression, catalogue())) == []


@pytest.mark.parametrize("name", alerts())
def test_alerts_say_what_is_wrong_and_what_to_do(name: str) -> None:
    rule = alerts()[name]
    runbook = (RUNBOOKS / f"{name}.md").read_text(encoding="utf-8")

    assert rule["labels"]["severity"] in {"critical", "warning", "info"}
    assert set(rule["annotations"]) == {"summary", "description"}
    assert runbook.startswith(f"# {name}\n")
    assert re.findall(r"^## (.*)$", runbook, re.MULTILINE) == ["Meaning", "Look", "Do"]


def test_every_runbook_is_of_an_alert() -> None:
    names = {path.stem for path in RUNBOOKS.glob("*.md")} - {"README"}

    assert names == set(alerts())


def test_values_that_are_shown_are_grouped() -> None:
    for rule in alerts().values():
        shown = set(re.findall(r"\$labels\.(\w+)", str(rule["annotations"])))
        grouped = set(re.findall(r"\w+", " ".join(re.findall(r"by \(([^)]*)\)", rule["expr"]))))
        assert shown <= grouped


@pytest.mark.parametrize("path", board_files(), ids=lambda path: path.stem)
def test_dashboards_name_what_exists(path: Path) -> None:
    board = json.loads(path.read_text(encoding="utf-8"))
    expressions = [
        target["expr"] for panel in board["panels"] for target in panel.get("targets", [])
    ]
    known = catalogue()

    assert len(expressions) > 15
    assert [found for text in expressions for found in problems(text, known)] == []


def test_the_check_of_names_finds_what_is_wrong() -> None:
    known = {"alise_a_seconds": {"model"}, "vllm:b": OF_ENGINES}
    reasons = 'alise_gateway_drops_total{reason=~"ttl|shedded"}'
    assert list(problems(reasons, {"alise_gateway_drops_total": {"reason"}})) == [
        "alise_gateway_drops_total has no reason shedded"
    ]
    wrong = "sum by (tenant) (rate(alise_a_seconds_bucket{model=~'x',foo='y'}[5m])) / vllm:c"

    assert list(problems(wrong, known)) == [
        "alise_a_seconds has no label foo",
        "no metric vllm:c",
        "no label tenant",
    ]
    assert list(problems("sum by (model, le) (alise_a_seconds_bucket) / vllm:b", known)) == []


@pytest.mark.parametrize("path", board_files(), ids=lambda path: path.stem)
def test_panels_are_told_apart_and_do_not_overlap(path: Path) -> None:
    panels = json.loads(path.read_text(encoding="utf-8"))["panels"]
    cells = [
        (x, y)
        for panel in panels
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]

    assert len({panel["id"] for panel in panels}) == len(panels)
    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) < 24
    assert all(panel.get("description") for panel in panels if panel["type"] != "row")


def test_dashboards_are_those_of_the_tables() -> None:
    for name, text in dashboards.rendered().items():
        assert dashboards.current(name) == text, "run: python tools/dashboards.py"
    assert {path.name for path in board_files()} == set(dashboards.rendered())


def test_the_chart_installs_the_dashboards(helm: Helm) -> None:
    rendered = helm.render(read_values("everything"))
    installed = [
        item for item in rendered.of("ConfigMap") if "-dashboard-" in item["metadata"]["name"]
    ]

    assert len(installed) == len(board_files())
    for item in installed:
        ((name, text),) = item["data"].items()
        assert item["metadata"]["labels"]["grafana_dashboard"] == "1"
        assert name.startswith("alise-")
        assert json.loads(text)["panels"]


def test_the_chart_installs_the_alerts(helm: Helm) -> None:
    (rule,) = helm.render(read_values("everything")).of("PrometheusRule")
    groups = {group["name"]: group["rules"] for group in rule["spec"]["groups"]}
    ours = {
        item["alert"]: item for name, items in groups.items() if name != "ours" for item in items
    }

    assert set(ours) == set(alerts()) - {"AliseQueueSlow"}
    assert groups["ours"] == [{"alert": "Ours", "expr": "vector(1)"}]
    for name, item in ours.items():
        assert "$GATEWAY" not in item["expr"]
        assert "$OPERATOR" not in item["expr"]
        assert re.search(r'namespace="llm",pod=~"alise-(gateway|operator)-\.\*"', item["expr"])
        assert item["labels"]["team"] == "ml"
        assert item["annotations"]["runbook_url"] == f"https://runbooks.example.com/alise/{name}.md"


def test_without_the_operator_nobody_is_called_about_it(helm: Helm) -> None:
    (rule,) = helm.render(read_values("no-operator")).of("PrometheusRule")

    assert "alise_operator" not in json.dumps(rule["spec"])
