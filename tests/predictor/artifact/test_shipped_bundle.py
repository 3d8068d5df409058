"""What comes with the package: whole, free to use, small enough, and good enough."""

import pytest

from alise_core.prediction import PredictionSource
from alise_predictor.artifact import load_bundle, shipped_bundle
from alise_predictor.artifact.manifest import Manifest
from alise_predictor.request import from_prompt
from alise_predictor.serving import LengthPredictor

MOST_BYTES = 30_000_000
"""Of the wheel; nearly all of it is the bundle."""


@pytest.fixture(scope="module")
def manifest() -> Manifest:
    return load_bundle(shipped_bundle()).manifest


def test_everything_it_learned_from_may_be_used_by_anyone(manifest: Manifest) -> None:
    assert manifest.licence == "Apache-2.0"
    assert manifest.training.datasets
    assert [one.name for one in manifest.training.datasets if not one.permissive] == []
    assert manifest.base_model is not None
    assert manifest.base_model.licence == "Apache-2.0"


def test_it_fits_into_the_wheel(manifest: Manifest) -> None:
    assert sum(facts.bytes for facts in manifest.files.values()) < MOST_BYTES


def test_it_says_how_good_it_is_and_is_as_good_as_it_has_to_be(manifest: Manifest) -> None:
    tau = {name: figures.get("tau_b") for name, figures in manifest.metrics.items()}
    least = {"tier0.in": 0.37, "tier0.out": 0.20, "tier1.in": 0.42, "tier1.out": 0.25}

    for name, wanted in least.items():
        found = tau[name]
        assert isinstance(found, float)
        assert found >= wanted, name


def test_both_tiers_answer_and_tell_a_question_from_an_essay() -> None:
    predictor = LengthPredictor.open(shipped_bundle(), tier1=True)
    short = from_prompt("What is the capital of France? Answer in one word.", "m")
    long = from_prompt("Write a detailed essay about the history of the Roman Empire.", "m")
    first = [predictor.predict(request) for request in (short, long)]
    second = [
        predictor.refine(request, one) for request, one in zip((short, long), first, strict=True)
    ]

    assert first[0].log_median < first[1].log_median
    assert second[0].log_median < second[1].log_median
    assert {one.source for one in second} == {PredictionSource.TIER1}
    assert second[0].embedding is not None
    assert second[0].embedding.shape == (384,)
