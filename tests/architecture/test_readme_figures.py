"""Figures in the README are those of the published results, to the letter."""

import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "docs/results"


@pytest.mark.parametrize(
    ("section", "documents"),
    [
        ("What it costs", ["overhead.md"]),
        ("What scheduling gains", ["scheduling.md"]),
        ("What the engine plugin gains", ["engine-slots.md", "tier.md", "engine-changes.md"]),
    ],
)
def test_every_measured_row_stands_in_the_results(section: str, documents: list[str]) -> None:
    results = [
        line for document in documents for line in (RESULTS / document).read_text().splitlines()
    ]
    text = (ROOT / "README.md").read_text().partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    rows = [line for line in text.splitlines() if line.startswith("| ")][2:]
    assert rows
    assert [row for row in rows if row not in results] == []


def test_how_well_lengths_are_predicted_stands_in_the_results() -> None:
    found = json.loads((RESULTS / "predictor.json").read_text())
    latency = (RESULTS / "predictor-latency.md").read_text().splitlines()
    candidates = {one["name"]: one for one in found["regimes"]["shipped"]["candidates"]}
    readme = (ROOT / "README.md").read_text()
    tiers = (
        ("tier 0, every request", "tier0", 0, "| tier 0, 1 KiB, p50"),
        ("tier 1, requests that wait", "blend_int8", 1, "| tier 1, 128 pieces, p50"),
    )

    for title, name, place, goal in tiers:
        parts = candidates[name]["parts"]
        spans = found["adaptation"][place]["spans"]
        learned = next(span["learned"] for span in spans if span["first"] == 1_000)
        measured = next(line for line in latency if line.startswith(goal)).split("|")[3].split()[0]
        cells = (
            title,
            f"{parts['in']['macro']['tau_b']:.3f}",
            f"{parts['out']['macro']['tau_b']:.3f}",
            f"{learned['tau_b']:.3f}",
            f"{learned['cov80']:.2f}",
            measured,
        )
        assert f"| {' | '.join(cells)} |" in readme
