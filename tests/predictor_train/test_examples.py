"""From a corpus to what is learned from."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alise_predictor.features import extract
from alise_predictor.train.dataset.corpus import Corpus
from alise_predictor.train.dataset.split import TEST, TRAIN, UNUSED, VAL, in_distribution
from alise_predictor.train.examples import Examples, gather
from fakes.length_corpus import make_corpus


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return make_corpus({"one": (True, True), "two": (True, True)}, prompts=300, samples=2)


def _gather(corpus: Corpus, *wanted: int, **options: int) -> Examples:
    return gather(corpus, in_distribution(corpus), wanted, **options)


def test_only_the_wanted_side_is_there_and_all_of_it(corpus: Corpus) -> None:
    for side, name in ((TRAIN, "train"), (VAL, "val"), (TEST, "test")):
        found = _gather(corpus, side)
        expected = [i for i, prompt in enumerate(corpus.prompts) if prompt.split == name]
        assert found.prompts.tolist() == expected
    both = _gather(corpus, TRAIN, VAL)
    assert len(both) == len(_gather(corpus, TRAIN)) + len(_gather(corpus, VAL))


def test_unused_answers_are_never_taken(corpus: Corpus) -> None:
    splits = np.full(len(corpus.answers), UNUSED, np.int8)
    splits[corpus.answers.prompt == 5] = TRAIN
    found = gather(corpus, splits, [TRAIN, UNUSED])

    assert found.prompts.tolist() == [5]
    assert len(found.answers[0]) == 4


def test_nothing_wanted_gives_nothing(corpus: Corpus) -> None:
    found = gather(corpus, np.full(len(corpus.answers), UNUSED, np.int8), [TRAIN])

    assert len(found) == len(found.weight) == len(found.answers) == 0
    assert found.offsets == {}


@settings(max_examples=20)
@given(st.integers(1, 60), st.integers(0, 9))
def test_a_data_set_has_at_most_so_many_prompts(most: int, seed: int) -> None:
    corpus = make_corpus({"one": (True, True), "two": (True, True)}, prompts=60)
    found = _gather(corpus, TRAIN, most_prompts=most, seed=seed)
    everything = _gather(corpus, TRAIN)
    for source in (0, 1):
        there = int((everything.source == source).sum())
        assert int((found.source == source).sum()) == min(most, there)
    assert len(set(found.prompts.tolist())) == len(found)
    assert found.weight.mean() == pytest.approx(1.0)
    assert np.all(found.weight > 0)
    again = _gather(corpus, TRAIN, most_prompts=most, seed=seed)
    assert found.prompts.tolist() == again.prompts.tolist()


def test_answers_have_lost_their_models_offset(corpus: Corpus) -> None:
    found = _gather(corpus, TRAIN)
    offsets = found.offsets
    row = 7
    chosen = np.flatnonzero(corpus.answers.prompt == found.prompts[row])
    source = corpus.prompts[found.prompts[row]].source
    expected = [
        np.log1p(corpus.answers.tokens[i]) - offsets[source, corpus.models[corpus.answers.model[i]]]
        for i in chosen
    ]

    assert sorted(found.answers[row].tolist()) == pytest.approx(sorted(expected), abs=1e-5)
    assert found.level[row] == pytest.approx(np.mean(expected), abs=1e-3)
    assert set(offsets) == {(name, f"model-{i}") for name in ("one", "two") for i in (0, 1)}
    # The corpus has 0.4 between its models.
    assert offsets["one", "model-1"] - offsets["one", "model-0"] == pytest.approx(0.4, abs=0.06)


def test_features_are_those_of_the_prompts(corpus: Corpus) -> None:
    found = _gather(corpus, VAL)
    for index, features in zip(found.prompts, found.features, strict=True):
        expected = extract(corpus.prompts[index].request)
        assert np.array_equal(features.ids, expected.ids)
        assert np.array_equal(features.scalars, expected.scalars)
    assert found.scalars().dtype == np.float32


def test_many_answers_weigh_more_but_not_in_proportion() -> None:
    corpus = make_corpus({"one": (True, True)}, prompts=100, models=1, samples=16)
    splits = in_distribution(corpus)
    splits[(corpus.answers.prompt % 2 == 0) & (corpus.answers.sample > 0)] = UNUSED
    found = gather(corpus, splits, [TRAIN])
    many = np.array([len(answers) == 16 for answers in found.answers])

    assert {len(answers) for answers in found.answers} == {1, 16}
    assert found.weight[many].mean() / found.weight[~many].mean() == pytest.approx(2.0)
