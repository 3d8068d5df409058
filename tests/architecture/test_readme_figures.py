"""Figures in the README are those of the published results, to the letter."""

from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_measured_row_stands_in_the_results() -> None:
    results = (ROOT / "docs/results/overhead.md").read_text().splitlines()
    section = (
        (ROOT / "README.md").read_text().partition("## What it costs")[2].partition("\n## ")[0]
    )
    rows = [line for line in section.splitlines() if line.startswith("| ")][2:]
    assert rows
    assert [row for row in rows if row not in results] == []
