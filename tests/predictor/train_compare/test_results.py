"""Results as JSON, and the files that are written."""

import json
from pathlib import Path

from alise_core.prediction import LEVELS
from alise_predictor.evaluation.metrics import Figures
from alise_predictor.train.compare.results import (
    CandidateResult,
    PartResult,
    RegimeResult,
    Results,
    as_json,
)
from alise_predictor.train.compare.writing import summary, write_card, write_report
from fakes.length_corpus import make_corpus


def _results() -> Results:
    figures = Figures(n=50, tau_b=0.371234567, mae=40.0)
    curve = [(level, level) for level in LEVELS]
    part = PartResult(figures, figures, {"set": figures}, curve)
    candidates = [
        CandidateResult(name, name, {"in": part}, 1_000, 10.0, 1.0)
        for name in ("constant", "tier0", "tier0_float")
    ]
    regime = RegimeResult("shipped", "all", {"set": 9}, {"in": {"set": (50, 1, 50)}}, candidates,
                          {}, "tier0")  # fmt: skip
    return Results({"kind": "full"}, [regime], [], [], [])


def test_json_has_the_regimes_by_name_and_rounded_figures() -> None:
    document = json.loads(json.dumps(as_json(_results()), allow_nan=False))
    assert set(document) == {"conditions", "regimes", "held_out", "ceilings", "latency",
                             "adaptation"}  # fmt: skip
    part = document["regimes"]["shipped"]["candidates"][1]["parts"]["in"]
    assert part["macro"]["tau_b"] == 0.37123
    assert part["macro"]["spearman"] is None
    assert part["macro"]["n"] == 50


def test_the_document_its_json_and_the_pictures_are_written(tmp_path: Path) -> None:
    write_report(_results(), tmp_path / "new")
    text = (tmp_path / "new/predictor.md").read_text()
    assert json.loads((tmp_path / "new/predictor.json").read_text())["conditions"]
    pictures = sorted(path.name for path in (tmp_path / "new").glob("*.svg"))
    assert pictures == ["predictor-calibration.svg", "predictor-cost.svg",
                        "predictor-tau-by-source.svg"]  # fmt: skip
    assert all(f"]({name})" in text for name in pictures)


def test_the_same_results_write_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_report(_results(), tmp_path / name)
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


def test_the_summary_names_every_candidate() -> None:
    text = summary(_results())
    assert all(name in text for name in ("shipped, in", "constant", "tier0_float", "0.371"))


def test_the_card_is_written_with_its_json(tmp_path: Path) -> None:
    write_card(make_corpus({"made": (True, True)}), tmp_path / "docs/data-card.md")
    assert "made" in (tmp_path / "docs/data-card.md").read_text()
    assert json.loads((tmp_path / "docs/data-card.json").read_text())
