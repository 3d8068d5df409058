from collections.abc import Sequence
from math import log, nan
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alise_operator.canary.quality import Mean, TokenScore, compare, top_divergence


def scores(*logprobs: float, drawn: bool = True) -> list[TokenScore]:
    return [TokenScore(one, {0: one}, drawn) for one in logprobs]


def test_the_same_scores_do_not_differ() -> None:
    found = compare([scores(-1.0, -2.0)], [scores(-1.0, -2.0)])
    assert (found.tokens, found.spread, found.broken) == (2, 0.0, 0)
    assert found.drawn_kl is not None
    assert found.loss.value == found.kl.value == found.drawn_kl.value == 0.0


def test_loss_is_what_the_changed_engine_gives_less() -> None:
    found = compare([scores(-1.0, -2.0, drawn=False)], [scores(-1.5, -2.1, drawn=False)])
    assert found.loss.value == pytest.approx(0.3)
    assert found.drawn_kl is None


def test_tokens_without_a_number_are_counted_where_the_other_engine_has_one() -> None:
    found = compare([scores(-1.0, nan, -1.0)], [scores(nan, nan, -1.0)])
    assert (found.tokens, found.broken) == (1, 1)


def test_what_is_impossible_stays_finite() -> None:
    found = compare([scores(-9_999.0, -1.0)], [scores(-1.0, -9_999.0)])
    assert abs(found.loss.value) < 100
    assert found.drawn_kl is not None
    assert found.drawn_kl.value < 1e22


def test_scores_of_other_tokens_are_refused() -> None:
    with pytest.raises(ValueError, match="zip"):
        compare([scores(-1.0)], [scores(-1.0, -1.0)])
    with pytest.raises(ValueError, match="zip"):
        compare([], [scores(-1.0)])


WEIGHTS = st.lists(st.floats(0.01, 1.0), min_size=6, max_size=6)


def logs(weights: Sequence[float]) -> dict[int, float]:
    return {at: log(weight / sum(weights)) for at, weight in enumerate(weights)}


@given(WEIGHTS, WEIGHTS, st.sets(st.integers(0, 5)), st.sets(st.integers(0, 5)))
def test_top_divergence_is_a_lower_bound(
    ours: list[float], theirs: list[float], left: set[int], right: set[int]
) -> None:
    p, q = logs(ours), logs(theirs)
    true = sum(2.718281828459045 ** p[at] * (p[at] - q[at]) for at in p)
    told = top_divergence(
        {at: value for at, value in p.items() if at not in left},
        {at: value for at, value in q.items() if at not in right},
    )
    assert 0.0 <= told <= true + 1e-5


def test_drawn_tokens_tell_the_divergence() -> None:
    draw = Random(3)  # noqa: S311  a fixed sample
    p, q = logs([5, 3, 1, 1]), logs([3, 3, 3, 1])
    true = sum(2.718281828459045 ** p[at] * (p[at] - q[at]) for at in p)
    drawn = draw.choices(range(4), [5, 3, 1, 1], k=20_000)
    found = compare(
        [[TokenScore(p[at], {}, drawn=True) for at in drawn]],
        [[TokenScore(q[at], {}, drawn=True) for at in drawn]],
    )
    assert found.drawn_kl is not None
    assert found.drawn_kl.value == pytest.approx(true, abs=4 * found.drawn_kl.error)
    assert found.drawn_kl.error < found.loss.error


def test_a_mean_near_its_bound_is_not_judged() -> None:
    assert Mean(0.03, 0.001, 900).exceeds(0.02) is True
    assert Mean(0.01, 0.001, 900).exceeds(0.02) is False
    assert Mean(0.019, 0.001, 900).exceeds(0.02) is None
