"""What trains, what tests, and that neither knows the other."""

import numpy as np

from alise_predictor.train.compare.regimes import IN, OUT, TOOLS, regimes
from alise_predictor.train.dataset.corpus import Corpus
from alise_predictor.train.dataset.split import TRAIN, check_no_leak
from fakes.length_corpus import make_corpus

_SOURCES = {
    "gpteacher_code": (True, True),
    "mmlu_pro": (True, True),
    "tulu_eval": (True, True),
    "alpaca_eval": (False, True),
    "bfcl": (False, False),
}


def _names(corpus: Corpus, mask: np.ndarray) -> set[str]:
    return {corpus.prompts[prompt].source for prompt in np.unique(corpus.answers.prompt[mask])}


def test_permissive_data_trains_and_the_rest_is_out_of_distribution() -> None:
    corpus = make_corpus(_SOURCES)
    shipped, research = regimes(corpus)
    assert _names(corpus, shipped.splits == TRAIN) == {"gpteacher_code", "mmlu_pro"}
    assert _names(corpus, shipped.tests[IN]) == {"gpteacher_code", "mmlu_pro"}
    assert _names(corpus, shipped.tests[OUT]) == {"tulu_eval", "alpaca_eval"}
    assert _names(corpus, research.splits == TRAIN) == {"gpteacher_code", "tulu_eval",
                                                        "alpaca_eval"}  # fmt: skip
    assert _names(corpus, research.tests[OUT]) == {"mmlu_pro"}


def test_tool_calls_never_train_and_stand_apart() -> None:
    corpus = make_corpus(_SOURCES)
    for regime in regimes(corpus):
        assert _names(corpus, regime.tests[TOOLS]) == {"bfcl"}
        assert "bfcl" not in _names(corpus, regime.splits != -1)


def test_prompts_known_from_training_are_not_scored_as_unknown() -> None:
    corpus = make_corpus(_SOURCES, shared={"alpaca_eval": "gpteacher_code"})
    shipped, _ = regimes(corpus)
    assert _names(corpus, shipped.tests[OUT]) == {"tulu_eval"}


def test_no_near_duplicate_is_on_two_sides() -> None:
    corpus = make_corpus(_SOURCES, shared={"tulu_eval": "alpaca_eval", "bfcl": "gpteacher_code"})
    for regime in regimes(corpus):
        check_no_leak(corpus, regime.all_splits())


def test_own_workloads_are_out_of_distribution_for_what_is_shipped() -> None:
    corpus = make_corpus({"gpteacher_code": (True, True), "own:support": (False, True)})
    shipped, research = regimes(corpus)
    assert _names(corpus, shipped.tests[OUT]) == {"own:support"}
    assert _names(corpus, research.splits == TRAIN) == {"gpteacher_code", "own:support"}
