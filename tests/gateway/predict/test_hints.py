"""Hints of clients: where they stand, and how far they move a prediction."""

from math import expm1, log1p
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alise_gateway.domain.content import ContentFields
from alise_gateway.predict.hints import MOST_FACTOR, hinted_tokens, moved

_fields = msgspec.json.Decoder(ContentFields).decode
QUANTILES = tuple(log1p(tokens) for tokens in (10, 40, 100, 200, 400, 800, 1_600))


def hinted(**body: Any) -> int | None:
    return hinted_tokens(_fields(msgspec.json.encode(body)))


def test_either_extension_is_read() -> None:
    assert hinted(nvext={"agent_hints": {"osl": 300, "priority": 1}}) == 300
    assert hinted(vllm_xargs={"agentic_context": {"expected_output_length": 40}}) == 40
    assert (
        hinted(nvext={"x": 1}, vllm_xargs={"agentic_context": {"expected_output_length": 4}}) == 4
    )


@pytest.mark.parametrize("osl", [0, -5, "300", 3.5, None, 2**70, [], True])
def test_what_is_no_number_of_tokens_is_no_hint(osl: object) -> None:
    assert hinted(nvext={"agent_hints": {"osl": osl}}) is None


@pytest.mark.parametrize("nvext", [None, 1, "x", [], {}, {"agent_hints": 3}, {"a": "b" * 10_000}])
def test_any_shape_of_the_extension_is_survived(nvext: object) -> None:
    assert hinted(nvext=nvext) is None


def test_nobody_who_says_nothing_is_heard() -> None:
    assert hinted() is None


@given(st.integers(1, 10**9))
def test_a_hint_moves_everything_by_the_same_bounded_factor(tokens: int) -> None:
    result = moved(QUANTILES, tokens)
    shifts = [new - old for new, old in zip(result, QUANTILES, strict=True)]
    assert max(shifts) - min(shifts) < 1e-9
    factor = (1 + expm1(result[3])) / 201
    assert 1 / MOST_FACTOR - 1e-9 <= factor <= MOST_FACTOR + 1e-9
    if 201 / MOST_FACTOR <= tokens + 1 <= 201 * MOST_FACTOR:
        assert expm1(result[3]) == pytest.approx(tokens)
