"""The document: every figure, what was not run, nothing that is not in the results."""

from dataclasses import replace

import pytest

from alise_core.prediction import LEVELS
from alise_predictor.evaluation.metrics import Figures
from alise_predictor.train.compare.bootstrap import Difference
from alise_predictor.train.compare.ceilings import Ceiling
from alise_predictor.train.compare.report import render, wrap
from alise_predictor.train.compare.results import (
    CandidateResult,
    HeldOut,
    LatencyResult,
    PartResult,
    RegimeResult,
    Results,
)


def _figures(tau: float) -> Figures:
    return Figures(n=120, tau_b=tau, spearman=tau, pairwise_accuracy=0.6, mae=43.21, pinball=0.1234)


def _part(tau: float, difference: Difference | None) -> PartResult:
    curve = [(level, level) for level in LEVELS]
    return PartResult(_figures(tau), _figures(tau + 0.2), {"set": _figures(tau)}, curve, difference)


def _candidate(name: str, tau: float, difference: Difference | None) -> CandidateResult:
    parts = {"in": _part(tau, difference), "out": _part(tau / 2, difference)}
    return CandidateResult(name, f"what {name} is", parts, 264_898, 53.2, 4.0, {"hit rate": 0.018})


@pytest.fixture
def results() -> Results:
    candidates = [
        _candidate("constant", 0.0, Difference(-0.3, -0.4, -0.2)),
        _candidate("tier0", 0.371, None),
        _candidate("like_tier0", 0.370, Difference(-0.001, -0.01, 0.01)),
        _candidate("fine_tuned", 0.425, Difference(0.05, 0.03, 0.07)),
    ]
    sizes = {"in": {"set": (600, 12, 7_200)}, "out": {"other": (550, 1, 550)}}
    train = {"set": 4_000, "tiny": 57}
    regime = RegimeResult("shipped", "permissive data sets train", train, sizes, candidates,
                          {"blend": "no checkpoint"}, "tier0")  # fmt: skip
    return Results(
        {"date": "2026-11-23", "command": "alise predictor evaluate --all", "kind": "full"},
        [regime],
        [HeldOut("data set", "gsm8k", _figures(0.123), None)],
        [Ceiling("two models", "set", 60, 0.49, 0.36, 0.59), Ceiling("alone", "a", 1, 0.65, 1, 1)],
        [LatencyResult("tier0", "graph", 1, 4_096, 5_000, 12.3, 14.5, 400)],
    )  # fmt: skip


def test_every_figure_is_shown(results: Results) -> None:
    text = render(results, ["predictor-cost.svg"])
    for shown in ("0.371", "0.571", "43.2", "0.1234", "+0.050 [+0.030, +0.070]", "265 kB",
                  "53.2", "hit rate: 0.018", "0.123", "0.490", "0.360", "4,096", "12.3", "14.5",
                  "![predictor cost](predictor-cost.svg)", "7,200"):  # fmt: skip
        assert shown in text, shown


def test_candidates_are_sorted_by_their_interval_into_better_same_and_worse(
    results: Results,
) -> None:
    flat = " ".join(render(results, []).split())
    expected = ("better than tier0: fine_tuned; not told apart from it: like_tier0; "
                "worse: constant.")  # fmt: skip
    assert expected in flat


def test_what_was_not_run_and_what_could_not_be_scored_is_said(results: Results) -> None:
    flat = " ".join(render(results, []).split())
    assert "- `blend` (shipped): no checkpoint" in flat
    assert "Without a group of enough test rows in distribution: tiny." in flat


def test_a_first_look_says_so(results: Results) -> None:
    assert "not a result" not in render(results, [])
    quick = replace(results, conditions={**results.conditions, "kind": "a first look (--quick)"})
    assert "not a result" in render(quick, [])


def test_what_is_missing_has_no_heading(results: Results) -> None:
    bare = replace(results, held_out=[], ceilings=[], latency=[])
    text = render(bare, [])
    assert "## What is reachable" not in text
    assert "## Tier 0 without" not in text
    assert "ONNX on one thread" not in text


def test_an_undefined_figure_is_a_dash(results: Results) -> None:
    ceiling = next(line for line in render(results, []).splitlines() if "| alone" in line)
    assert [cell.strip() for cell in ceiling.split("|")[5:7]] == ["-", "-"]
    held_out = next(line for line in render(results, []).splitlines() if "| gsm8k" in line)
    assert [cell.strip() for cell in held_out.split("|")[3:5]] == ["0.123", "-"]


def test_prose_is_wrapped_and_tables_are_aligned(results: Results) -> None:
    blocks = render(results, []).split("\n\n")
    tables = [block.splitlines() for block in blocks if block.startswith("|")]
    assert len(tables) > 6
    for lines in tables:
        assert len({len(line) for line in lines}) == 1
    for block in blocks:
        if not block.startswith(("|", "- ", "!")):
            assert all(len(line) <= 100 for line in block.splitlines())


def test_the_same_results_give_the_same_text(results: Results) -> None:
    assert render(results, []) == render(results, [])


def test_words_are_never_broken() -> None:
    text = wrap("out-of-distribution " * 40)
    assert all(word == "out-of-distribution" for word in text.split())
