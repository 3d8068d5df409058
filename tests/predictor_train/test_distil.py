"""Tier 1's opinion in the targets of tier 0."""

from collections.abc import Sequence

import numpy as np
import pytest

pytest.importorskip("torch")

from alise_predictor.features import Features
from alise_predictor.request import PredictionRequest
from alise_predictor.train.dataset.corpus import Corpus
from alise_predictor.train.dataset.split import TRAIN, in_distribution
from alise_predictor.train.distil import DistilSettings, distil
from alise_predictor.train.examples import Examples, gather
from fakes.length_corpus import make_corpus


class _Teacher:
    """Says seven times the number of words."""

    def log_quantiles(
        self, requests: Sequence[PredictionRequest], features: Sequence[Features]
    ) -> np.ndarray:
        assert len(requests) == len(features)
        return np.array([[len(one.prompt.split())] * 7 for one in requests], np.float32)


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return make_corpus({"one": (True, True), "two": (True, True)}, prompts=60)


@pytest.fixture(scope="module")
def examples(corpus: Corpus) -> Examples:
    return gather(corpus, in_distribution(corpus), [TRAIN])


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_the_teacher_has_its_share_of_every_level(
    examples: Examples, corpus: Corpus, share: float
) -> None:
    settings = DistilSettings(share=share)
    taught = distil(examples, corpus, _Teacher(), settings)  # type: ignore[arg-type,unused-ignore]
    opinion = [len(corpus.prompts[index].request.prompt.split()) for index in examples.prompts]

    expected = (1 - share) * examples.level + share * np.array(opinion)
    assert taught.level == pytest.approx(expected)


def test_nothing_else_changes(examples: Examples, corpus: Corpus) -> None:
    before = examples.level.copy()

    taught = distil(examples, corpus, _Teacher(), DistilSettings())  # type: ignore[arg-type,unused-ignore]

    assert taught.answers is examples.answers
    assert taught.features is examples.features
    assert taught.weight is examples.weight
    assert examples.level.tolist() == before.tolist()
