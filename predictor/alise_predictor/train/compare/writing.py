"""Files of a comparison: the document, its JSON, the pictures, the data card."""

import json
from pathlib import Path

from alise_predictor.evaluation.plots import (
    AdaptationPoint,
    Candidate,
    SourceTaus,
    adaptation,
    calibration,
    cost,
    tau_by_source,
)
from alise_predictor.evaluation.text import table
from alise_predictor.train.compare.adaptation import AdaptationResult
from alise_predictor.train.compare.regimes import IN, OUT
from alise_predictor.train.compare.report import render, shown_candidates
from alise_predictor.train.compare.results import RegimeResult, Results, as_json
from alise_predictor.train.compare.tables import main_table
from alise_predictor.train.dataset import card
from alise_predictor.train.dataset.corpus import Corpus

NAME = "predictor"
_SHIPPED = ("tier0", "fine_tuned_int8", "blend_int8")
_CURVES = ("tier0", "tier0_undistilled", "blend_int8")
_DRAWN = (*_SHIPPED, "prompt_length", "hand_boosting", "tier0_undistilled", "bag_mlp",
          "frozen_pinball", "fine_tuned")  # fmt: skip
"""Candidates in the picture of costs: more points than these cannot be told apart."""


def write_report(results: Results, directory: Path) -> None:
    """Write ``predictor.md``, ``predictor.json`` and pictures.

    Args:
        results: What was measured.
        directory: Created when needed.
    """
    directory.mkdir(parents=True, exist_ok=True)
    pictures = [name for regime in results.regimes[:1] for name in _draw(regime, directory)]
    if results.adaptation:
        pictures.append(f"{NAME}-adaptation.svg")
        adaptation(_gains(results.adaptation[0]), directory / pictures[-1])
    (directory / f"{NAME}.md").write_text(render(results, pictures), encoding="utf-8")
    text = json.dumps(as_json(results), indent=1, sort_keys=False)
    (directory / f"{NAME}.json").write_text(text + "\n", encoding="utf-8")


def write_card(corpus: Corpus, file: Path) -> None:
    """Write the data card of a corpus, and the same as JSON beside it."""
    described = card.describe(corpus)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(card.render_markdown(described), encoding="utf-8")
    file.with_suffix(".json").write_text(card.render_json(described), encoding="utf-8")


def summary(results: Results) -> str:
    """The main tables for a terminal."""
    parts = []
    for regime in results.regimes:
        for part in regime.tests:
            parts += [f"{regime.name}, {part}", table(main_table(regime, part)), ""]
    return "\n".join(parts).rstrip()


def _draw(regime: RegimeResult, directory: Path) -> list[str]:
    shown = shown_candidates(regime)
    names = []
    curves = {
        f"{one.name}, {part}": [(level, share) for level, share in one.parts[part].curve]
        for one in shown
        for part in (IN, OUT)
        if part in one.parts and one.name in _CURVES
    }
    if curves:
        names.append(f"{NAME}-calibration.svg")
        calibration(curves, directory / names[-1])
    sources = [
        SourceTaus(source, part == IN, {
            one.name: one.parts[part].by_source[source].tau_b
            for one in reversed(shown) if one.name != "constant"
        })
        for part in (IN, OUT)
        for source in regime.tests.get(part, {})
    ]  # fmt: skip
    if sources and len(sources[0].taus):
        names.append(f"{NAME}-tau-by-source.svg")
        tau_by_source(sources, directory / names[-1])
    points = _points(regime)
    if points:
        names.append(f"{NAME}-cost.svg")
        cost(points, directory / names[-1])
    return names


def _gains(found: AdaptationResult) -> dict[str, list[AdaptationPoint]]:
    curves: dict[str, list[AdaptationPoint]] = {}
    for span in found.spans:
        for source, (old, new) in span.by_source.items():
            tau = None if old.tau_b is None or new.tau_b is None else new.tau_b - old.tau_b
            mae = None if not old.mae or new.mae is None else new.mae / old.mae - 1.0
            curves.setdefault(source, []).append(AdaptationPoint(span.last, tau, mae))
    return curves


def _points(regime: RegimeResult) -> list[Candidate]:
    points = []
    for one in regime.candidates:
        if one.name not in _DRAWN:
            continue
        tau = one.parts[IN].macro.tau_b if IN in one.parts else None
        if tau is not None and one.one_us is not None:
            points.append(
                Candidate(one.name, tau, one.one_us, one.size_bytes, one.name in _SHIPPED)
            )
    return points
