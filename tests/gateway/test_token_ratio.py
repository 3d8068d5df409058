"""Prompt tokens by bytes, and what answers teach of the ratio."""

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alise_gateway.domain.token_ratio import TokenRatios


def test_four_bytes_are_a_token_until_answers_say_otherwise() -> None:
    ratios = TokenRatios()
    assert ratios.estimate("m", 400) == 100
    assert ratios.estimate("m", 0) == 1


def test_the_answers_of_a_model_teach_its_ratio_and_no_other() -> None:
    ratios = TokenRatios()
    for _ in range(300):
        ratios.learn("dense", 800, 400)
    assert ratios.estimate("dense", 400) == pytest.approx(200, rel=0.02)
    assert ratios.estimate("other", 400) == 100


def test_one_answer_moves_little() -> None:
    ratios = TokenRatios()
    ratios.learn("m", 1_000, 1_000)
    assert 100 <= ratios.estimate("m", 400) < 104


@pytest.mark.parametrize(
    ("text_bytes", "tokens"), [(10, 5), (1_000, 0), (1_000, -3), (1_000, 10_000), (100_000, 2)]
)
def test_what_cannot_be_a_ratio_of_text_teaches_nothing(text_bytes: int, tokens: int) -> None:
    ratios = TokenRatios()
    ratios.learn("m", text_bytes, tokens)
    assert ratios.estimate("m", 400) == 100


@given(
    st.lists(st.tuples(st.integers(0, 10**9), st.integers(-10, 10**9)), max_size=50),
    st.integers(0, 10**9),
)
def test_estimates_stay_within_what_is_possible(
    answers: list[tuple[int, int]], text_bytes: int
) -> None:
    ratios = TokenRatios()
    for answer in answers:
        ratios.learn("m", *answer)
    found = ratios.estimate("m", text_bytes)
    assert 1 <= found < inf
    assert text_bytes / 16 - 1 <= found <= max(1, text_bytes * 4)
