"""What learning in place gains, from streams to tables and a picture."""

from pathlib import Path

import numpy as np
import pytest

from alise_predictor.prediction import RawPrediction
from alise_predictor.request import PredictionRequest
from alise_predictor.serving import LengthPredictor
from alise_predictor.train.compare.adaptation import AdaptationResult, adapt
from alise_predictor.train.compare.results import Results
from alise_predictor.train.compare.tables import adaptation_sources, adaptation_table
from alise_predictor.train.compare.writing import write_report
from fakes.clock import FakeClock
from fakes.length_corpus import make_corpus
from fakes.predictor_bundle import tiny_bundle

PROMPTS = 700


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> AdaptationResult:
    directory = tmp_path_factory.mktemp("bundle") / "bundle"
    tiny_bundle(directory)
    predictor = LengthPredictor.open(directory, tier1=False)
    corpus = make_corpus({"unseen": (False, True)}, prompts=PROMPTS, models=1)
    mask = np.ones(len(corpus.answers), np.bool_)
    (found,) = adapt(corpus, mask, predictor, FakeClock(), ("tier0",), lambda _: None)
    return found


def test_spans_reach_as_far_as_the_stream(result: AdaptationResult) -> None:
    assert [(span.first, span.last) for span in result.spans] == [(0, 100), (100, 500)]
    assert [span.static.n for span in result.spans] == [100, 400]
    assert all(span.streams == 1 for span in result.spans)


def test_lengths_that_words_decide_are_learned(result: AdaptationResult) -> None:
    last = result.spans[-1]

    assert (last.learned.tau_b or 0) > (last.static.tau_b or 0) + 0.1
    assert (last.learned.mae or 1e9) < (last.static.mae or 0)


def test_tables_and_picture_are_made_of_it(result: AdaptationResult, tmp_path: Path) -> None:
    rows = adaptation_table([result])
    assert rows[1][:3] == ["tier0", "0-100", "1"]
    assert adaptation_sources(result)[1][0] == "unseen"

    write_report(Results({"kind": "full"}, [], [], [], [], [result]), tmp_path)

    assert (tmp_path / "predictor-adaptation.svg").stat().st_size > 1_000
    assert "## Learning in place" in (tmp_path / "predictor.md").read_text()


class _Counting:
    """A predictor that counts how often it is asked."""

    def __init__(self, predictor: LengthPredictor) -> None:
        self._predictor = predictor
        self.manifest = predictor.manifest
        self.asked = 0

    def predict(self, request: PredictionRequest) -> RawPrediction:
        self.asked += 1
        return self._predictor.predict(request)

    def refine(self, request: PredictionRequest, first: RawPrediction) -> RawPrediction:
        raise AssertionError


def test_a_prompt_that_several_models_answer_is_asked_about_once(tmp_path: Path) -> None:
    tiny_bundle(tmp_path / "bundle")
    counting = _Counting(LengthPredictor.open(tmp_path / "bundle", tier1=False))
    corpus = make_corpus({"unseen": (False, True)}, prompts=520, models=3)
    mask = np.ones(len(corpus.answers), np.bool_)

    (found,) = adapt(corpus, mask, counting, FakeClock(), ("tier0",), lambda _: None)

    assert found.spans[0].streams == 3
    assert counting.asked <= 521
