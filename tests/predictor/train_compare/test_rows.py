"""The rows everything is scored on."""

import numpy as np
import pytest

from alise_predictor.train.compare.options import Limits
from alise_predictor.train.compare.rows import draw_rows, used_prompts
from alise_predictor.train.dataset.corpus import Corpus
from fakes.length_corpus import make_corpus

_LIMITS = Limits(prompts=70, models=2, smallest=40, calibration=20)


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    sources = {"one": (True, True), "two": (True, True)}
    return make_corpus(sources, prompts=100, models=3, samples=2)


def _everything(corpus: Corpus) -> np.ndarray:
    return np.ones(len(corpus.answers), np.bool_)


def test_no_prompt_is_twice_in_a_group_nor_both_scored_and_set_aside(corpus: Corpus) -> None:
    groups = draw_rows(corpus, _everything(corpus), _LIMITS, calibrate=True, seed=0)
    assert groups
    for group in groups:
        together = np.concatenate((group.prompts, group.calibration))
        assert len(np.unique(together)) == len(together)
        assert len(group.calibration) == 20
        assert len(group.prompts) == len(group.tokens) == 50


def test_a_data_set_has_at_most_so_many_prompts_and_models(corpus: Corpus) -> None:
    groups = draw_rows(corpus, _everything(corpus), _LIMITS, calibrate=False, seed=0)
    for source in ("one", "two"):
        members = [group for group in groups if group.source == source]
        assert len(members) == 2
        assert len(used_prompts(members)) == 70


def test_the_first_of_several_answers_counts(corpus: Corpus) -> None:
    group = draw_rows(corpus, _everything(corpus), _LIMITS, calibrate=False, seed=0)[0]
    answers = corpus.answers
    model = corpus.models.index(group.model)
    first = (answers.model == model) & (answers.sample == 0)
    expected = dict(zip(answers.prompt[first].tolist(), answers.tokens[first].tolist(),
                        strict=True))  # fmt: skip
    assert group.tokens.tolist() == [expected[prompt] for prompt in group.prompts.tolist()]


def test_only_wanted_answers_are_drawn_and_small_groups_are_not(corpus: Corpus) -> None:
    few = np.isin(corpus.answers.prompt, np.arange(39))
    assert not draw_rows(corpus, few, _LIMITS, calibrate=False, seed=0)
    enough = np.isin(corpus.answers.prompt, np.arange(40))
    groups = draw_rows(corpus, enough, _LIMITS, calibrate=False, seed=0)
    assert {group.source for group in groups} == {"one"}
    assert set(used_prompts(groups).tolist()) == set(range(40))
    assert not draw_rows(corpus, enough, _LIMITS, calibrate=True, seed=0)


def test_models_that_answered_different_prompts_all_find_room(corpus: Corpus) -> None:
    answers = corpus.answers
    half = np.where(answers.model == 0, answers.prompt < 50, answers.prompt >= 50)
    wanted = half & (corpus.prompt_source[answers.prompt] == 0)
    limits = Limits(prompts=100, models=3, smallest=40)
    groups = draw_rows(corpus, wanted, limits, calibrate=False, seed=0)
    assert {group.model: len(group.prompts) for group in groups} == {
        "model-0": 50, "model-1": 50, "model-2": 50
    }  # fmt: skip


def test_the_draw_is_the_same_for_the_same_seed(corpus: Corpus) -> None:
    drawn = [draw_rows(corpus, _everything(corpus), _LIMITS, calibrate=True, seed=seed)
             for seed in (3, 3, 4)]  # fmt: skip
    assert used_prompts(drawn[0]).tolist() == used_prompts(drawn[1]).tolist()
    assert used_prompts(drawn[0]).tolist() != used_prompts(drawn[2]).tolist()
