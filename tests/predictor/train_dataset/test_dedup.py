"""Near-duplicate clusters are exactly the components of the similarity graph."""

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alise_predictor.train.dataset import dedup
from alise_predictor.train.dataset.dedup import (
    SIMILARITY,
    find_clusters,
    name_clusters,
    normalise,
)

WORDS = st.sampled_from(["a", "b", "c", "d", "Ä", "1", "2"])
TEXTS = st.lists(st.lists(WORDS, max_size=9).map(" ".join), max_size=24)


def _grams(text: str) -> set[tuple[str, ...]]:
    words = normalise(text).split()
    return {tuple(words[i : i + 3]) for i in range(max(1, len(words) - 2))}


def _similar(one: str, other: str) -> bool:
    left, right = _grams(one), _grams(other)
    return len(left & right) >= SIMILARITY * len(left | right) - 1e-9


def _components(texts: list[str]) -> list[int]:
    label = list(range(len(texts)))
    for i in range(len(texts)):
        for j in range(i):
            if label[i] != label[j] and _similar(texts[i], texts[j]):
                low, high = sorted((label[i], label[j]))
                label = [low if value == high else value for value in label]
    return label


@given(TEXTS)
def test_clusters_are_those_of_comparing_all_pairs(texts: list[str]) -> None:
    assert find_clusters(texts).tolist() == _components(texts)


@given(TEXTS)
def test_clusters_are_the_same_when_pairs_are_compared_a_few_at_a_time(texts: list[str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dedup, "_PAIRS_AT_ONCE", 3)
        patch.setattr(dedup, "_ELEMENTS_AT_ONCE", 5)
        assert find_clusters(texts).tolist() == _components(texts)


@given(TEXTS, st.randoms(use_true_random=False))
def test_names_do_not_depend_on_order(texts: list[str], rng: random.Random) -> None:
    names = dict(zip(texts, name_clusters(texts, find_clusters(texts)), strict=True))
    shuffled = rng.sample(texts, len(texts))
    assert (
        dict(zip(shuffled, name_clusters(shuffled, find_clusters(shuffled)), strict=True)) == names
    )


def test_case_spacing_and_punctuation_do_not_count_but_digits_do() -> None:
    texts = ["Add 2 and 3!", "add  2\nand 3", "Add 2 and 4!", "ADD 2, AND 3"]
    assert find_clusters(texts).tolist() == [0, 0, 2, 0]


def test_signs_without_words_are_compared_as_they_are() -> None:
    assert find_clusters(["?", " ? ", "!", ""]).tolist() == [0, 0, 2, 3]


def test_a_changed_word_in_a_long_text_makes_a_near_duplicate_and_many_do_not() -> None:
    words = [str(i * i) for i in range(60)]
    near, far = list(words), list(words)
    near[30] = "changed"
    far[::4] = ["changed"] * len(far[::4])
    assert find_clusters([" ".join(w) for w in (words, near, far)]).tolist() == [0, 0, 2]


def test_similarity_of_exactly_the_limit_counts() -> None:
    # Three of five 3-grams: what one text has alone is rarer, so it leads the order of rarity.
    assert find_clusters(["a b c d e f g", "a b c d e", "a b c d"]).tolist() == [0, 0, 0]
    assert find_clusters(["a b c d e f g", "a b c d"]).tolist() == [0, 1]


def test_similarity_carries_over_a_chain() -> None:
    words = [str(i) for i in range(40)]
    steps = [" ".join(words[i : i + 24]) for i in (0, 4, 8, 12)]
    assert not _similar(steps[0], steps[3])
    assert find_clusters(steps).tolist() == [0, 0, 0, 0]


def test_hundreds_of_prompts_from_one_template_are_one_cluster_if_it_is_most_of_them() -> None:
    apart = [f"Please translate {i} to French" for i in range(500)]
    assert len(np.unique(find_clusters(apart))) == 500
    alike = [f"Please translate the following short word to French now: {i}" for i in range(500)]
    assert len(np.unique(find_clusters(alike))) == 1


def test_no_texts_have_no_clusters() -> None:
    assert find_clusters([]).tolist() == []
