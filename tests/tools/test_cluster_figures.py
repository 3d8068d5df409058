"""What scenarios measured on a real API server, as a document."""

import json
from pathlib import Path
from typing import Any

import pytest

import cluster_figures

FIGURES: dict[str, Any] = {
    "conditions": {"started": "2026-01-02T03:04:05+00:00", "cores": 2},
    "leader_change_seconds": 12.5,
    "policy_change_to_in_force": {"p50_ms": 10.5, "p99_ms": 1_020.0, "number": 6},
    "pod_ready_to_in_use": {"p50_ms": 7.0, "p99_ms": 8.0, "number": 25},
    "scale_gateway_more_mib": 37,
}


def test_figures_of_one_shape_share_a_table() -> None:
    text = cluster_figures.render(FIGURES)

    assert "| leader change | 12.5 | s |" in text
    assert "|  | p50, ms | p99, ms | number |" in text
    assert "| policy change to in force | 10.5 | 1,020 | 6 |\n| pod ready to in use |" in text
    scale = text.partition("## Scale")[2].partition("\n## ")[0]
    assert "| gateway more | 37 | MiB |" in scale
    assert "leader" not in scale
    assert "on 2026-01-02" in text


def test_what_was_measured_is_published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measured, published = tmp_path / "figures.json", tmp_path / "kubernetes.json"
    monkeypatch.setattr(cluster_figures, "MEASURED", measured)
    monkeypatch.setattr(cluster_figures, "PUBLISHED", published)
    monkeypatch.setattr("sys.argv", ["cluster_figures.py"])
    assert cluster_figures.main() == 1
    measured.write_text(json.dumps(FIGURES), encoding="utf-8")
    assert cluster_figures.main() == 0
    assert json.loads(published.read_text(encoding="utf-8")) == FIGURES
    # A run of one scenario leaves the others' figures.
    part = {"conditions": {"started": "2026-01-03"}, "leader_change_seconds": 9.0}
    measured.write_text(json.dumps(part), encoding="utf-8")

    assert cluster_figures.main() == 0

    found = {**FIGURES, **part}
    assert json.loads(published.read_text(encoding="utf-8")) == found
    document = published.with_suffix(".md").read_text(encoding="utf-8")
    assert document == cluster_figures.render(found)


def test_the_published_document_is_that_of_the_published_figures() -> None:
    figures = json.loads(cluster_figures.PUBLISHED.read_text(encoding="utf-8"))
    document = cluster_figures.PUBLISHED.with_suffix(".md").read_text(encoding="utf-8")
    assert document == cluster_figures.render(figures)
