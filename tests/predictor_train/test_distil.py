"""Prompts that nobody wrote."""

from collections.abc import Sequence

import numpy as np
import pytest

pytest.importorskip("torch")

from hypothesis import given
from hypothesis import strategies as st

from alise_predictor.features import Features
from alise_predictor.request import PredictionRequest
from alise_predictor.train.dataset.corpus import Corpus
from alise_predictor.train.dataset.split import TRAIN, in_distribution
from alise_predictor.train.distil import DistilSettings, distil, make_up, whole_words
from alise_predictor.train.examples import Examples, gather
from fakes.length_corpus import make_corpus

WORDS = ["zebra", "violin", "harbour"]
SETTINGS = DistilSettings(prompts=40, weight=0.3, share=0.25)


class _Teacher:
    """Says seven times the number of words."""

    def __init__(self) -> None:
        self.asked: list[PredictionRequest] = []

    def log_quantiles(
        self, requests: Sequence[PredictionRequest], features: Sequence[Features]
    ) -> np.ndarray:
        assert len(requests) == len(features)
        self.asked = list(requests)
        return np.array([[len(one.prompt.split())] * 7 for one in requests], np.float32)


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return make_corpus({"one": (True, True), "two": (True, True)}, prompts=60)


@pytest.fixture(scope="module")
def examples(corpus: Corpus) -> Examples:
    return gather(corpus, in_distribution(corpus), [TRAIN])


def _distil(
    examples: Examples, corpus: Corpus, settings: DistilSettings = SETTINGS
) -> tuple[Examples, list[PredictionRequest]]:
    teacher = _Teacher()
    return distil(examples, corpus, teacher, WORDS, settings), teacher.asked  # type: ignore[arg-type,unused-ignore]


def test_the_made_up_follow_the_real_and_have_no_answers(
    examples: Examples, corpus: Corpus
) -> None:
    found, asked = _distil(examples, corpus)
    real = len(examples)

    assert len(found) == real + SETTINGS.prompts == len(asked)
    assert found.prompts[:real].tolist() == examples.prompts.tolist()
    assert set(found.prompts[real:].tolist()) == {-1}
    assert [len(one) for one in found.answers[real:]] == [0] * SETTINGS.prompts
    assert all(
        one is other for one, other in zip(found.answers[:real], examples.answers, strict=True)
    )
    assert found.weight[:real].tolist() == examples.weight.tolist()
    assert set(found.weight[real:].tolist()) == {SETTINGS.weight}
    assert all(one.prompt for one in asked)
    # A made-up prompt is held out together with the prompt it is made of.
    assert set(found.cluster[real:].tolist()) <= set(examples.cluster.tolist())
    owner = dict(zip(examples.cluster.tolist(), examples.source.tolist(), strict=True))
    assert [owner[cluster] for cluster in found.cluster.tolist()] == found.source.tolist()


def test_levels_are_the_teachers_where_nothing_was_measured(
    examples: Examples, corpus: Corpus
) -> None:
    found, asked = _distil(examples, corpus)
    real = len(examples)
    opinion = np.array([len(one.prompt.split()) for one in asked])

    assert found.level[real:] == pytest.approx(opinion[real:])
    assert found.level[:real] == pytest.approx(0.75 * examples.level + 0.25 * opinion[:real])


def test_the_same_seed_makes_up_the_same(examples: Examples, corpus: Corpus) -> None:
    _, first = _distil(examples, corpus)
    _, again = _distil(examples, corpus)
    _, other = _distil(examples, corpus, DistilSettings(prompts=40, seed=12))

    assert first == again
    assert first != other


def test_few_real_prompts_make_few_others(examples: Examples, corpus: Corpus) -> None:
    _, asked = _distil(examples, corpus, DistilSettings(prompts=10**6, per_prompt=2))

    assert len(asked) == 3 * len(examples)


@given(
    st.text(min_size=1, max_size=900).filter(str.split),
    st.text(min_size=1, max_size=900).filter(str.split),
    st.integers(0, 10**6),
)
def test_a_made_up_prompt_has_text_and_a_bounded_length(one: str, other: str, seed: int) -> None:
    made = make_up(one, other, WORDS, np.random.default_rng(seed))

    assert made
    # Each replaced word has at least four letters and becomes one of at most seven.
    assert len(made) <= 600 * 7 / 4 + 7


def test_words_are_replaced_and_spaces_kept() -> None:
    text = "explain  the\nengine now, please"
    made = {make_up(text, text, WORDS, np.random.default_rng(seed)) for seed in range(60)}
    kept = [one for one in made if "\n" in one and "  " in one]

    assert len(made) > 10
    assert kept
    assert any(word in one for one in made for word in WORDS)
    # Short words, and what is no word, stay.
    assert all("the" in one.split() and "now," in one.split() for one in kept)


def test_whole_words_do_not_depend_on_the_dictionarys_order() -> None:
    vocabulary = {"[CLS]": 0, "sea": 5, "##ing": 2, "be": 3, "zoo": 4, "été": 6, "abc1": 7}
    turned = dict(reversed(vocabulary.items()))

    assert whole_words(vocabulary) == whole_words(turned) == ["zoo", "sea"]
