"""Pictures: all names are in them, gaps do not break them, the same data give the same file."""

from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest

from alise_core.prediction import LEVELS
from alise_predictor.evaluation.plots import (
    AdaptationPoint,
    Candidate,
    SourceTaus,
    adaptation,
    calibration,
    cost,
    tau_by_source,
)

CURVES: dict[str, list[tuple[float, float | None]]] = {
    "static": [(level, level / 2) for level in LEVELS],
    "learning": [(level, None) for level in LEVELS],
}
SOURCES = [
    SourceTaus("stories", is_known=True, taus={"tier 0": 0.4, "prompt length": -0.1}),
    SourceTaus("recipes", is_known=True, taus={"tier 0": 0.6, "prompt length": None}),
    SourceTaus("exams", is_known=False, taus={"tier 0": 0.2, "prompt length": 0.0}),
]
ADAPTATION = {
    "exams": [AdaptationPoint(500, 0.1, -0.2), AdaptationPoint(1_000, 0.12, -0.3)],
    "robots": [AdaptationPoint(500, 0.2, None), AdaptationPoint(1_000, None, -0.1)],
}
CANDIDATES = [
    Candidate("nothing", tau=0.0, latency_us=0.0, size_bytes=0.0),
    Candidate("tier 0", tau=0.37, latency_us=60.0, size_bytes=2.6e5, is_shipped=True),
]
PICTURES: dict[str, tuple[Callable[[Path], None], list[str]]] = {
    "calibration": (lambda file: calibration(CURVES, file), ["static", "learning", "honest"]),
    "tau_by_source": (
        lambda file: tau_by_source(SOURCES, file),
        [
            *("stories", "recipes", "exams", "tier 0", "prompt length"),
            *("in distribution", "absent from training"),
        ],
    ),
    "adaptation": (
        lambda file: adaptation(ADAPTATION, file),
        ["exams", "robots", "mean of all", "requests finished"],
    ),
    "cost": (lambda file: cost(CANDIDATES, file), ["nothing: 0.000", "tier 0: 0.370"]),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_names_everything_and_is_the_same_every_time(name: str, tmp_path: Path) -> None:
    draw, parts = PICTURES[name]
    first, second = tmp_path / "first.svg", tmp_path / "second.svg"

    draw(first)
    draw(second)

    words = "\n".join(ElementTree.parse(first).getroot().itertext())  # noqa: S314  ours
    assert [part for part in parts if part not in words] == []
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.slow
def test_sources_stand_by_kind_and_from_best_to_worst(tmp_path: Path) -> None:
    file = tmp_path / "tau.svg"

    tau_by_source(SOURCES, file)

    assert _heights(file, ["recipes", "stories", "exams"]) == ["recipes", "stories", "exams"]


@pytest.mark.slow
@pytest.mark.parametrize("is_known", [True, False])
def test_sources_of_one_kind_alone_have_a_picture(is_known: bool, tmp_path: Path) -> None:
    file = tmp_path / "tau.svg"

    tau_by_source([SourceTaus("only", is_known=is_known, taus={"tier 0": None})], file)

    assert "only" in file.read_text(encoding="utf-8")


@pytest.mark.slow
def test_one_workload_needs_no_mean(tmp_path: Path) -> None:
    file = tmp_path / "adaptation.svg"

    adaptation({"exams": ADAPTATION["exams"]}, file)

    assert "mean of all" not in file.read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_picture_may_be_a_bitmap(tmp_path: Path) -> None:
    file = tmp_path / "calibration.png"

    calibration(CURVES, file)

    assert file.read_bytes().startswith(b"\x89PNG")


def _heights(file: Path, names: list[str]) -> list[str]:
    """The names from top to bottom of the picture."""
    found: dict[str, float] = {}
    for text in ElementTree.parse(file).iter("{http://www.w3.org/2000/svg}text"):  # noqa: S314  ours
        if text.text in names:
            found[text.text] = float(text.get("y") or text.get("transform", "").split()[-1][:-1])
    return sorted(found, key=lambda name: found[name])
