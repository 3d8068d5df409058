"""The losses reward what they are for."""

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from hypothesis import given
from hypothesis import strategies as st

from alise_predictor.train.losses import list_mle, margin_rank, pinball


@pytest.mark.parametrize("level", [0.02, 0.1, 0.5, 0.9, 0.98])
def test_pinball_is_least_at_the_true_quantile(level: float) -> None:
    answers = torch.linspace(0.0, 10.0, 1001)[None]
    tried = np.linspace(0.0, 10.0, 101)
    losses = [
        float(pinball(torch.tensor([[value]], dtype=torch.float32), answers, torch.tensor([level])))
        for value in tried
    ]

    assert tried[int(np.argmin(losses))] == pytest.approx(10 * level, abs=0.11)


def test_pinball_of_known_numbers() -> None:
    quantiles, levels = torch.tensor([[2.0, 5.0]]), torch.tensor([0.25, 0.75])

    # 1 lies below both: 0.75 * 1 and 0.25 * 4; 4 above one and below the other: 0.25 * 2, 0.25 * 1.
    expected = ((0.75 + 1.0) / 2 + (0.5 + 0.25) / 2) / 2
    assert float(pinball(quantiles, torch.tensor([[1.0, 4.0]]), levels)) == pytest.approx(expected)


@given(st.lists(st.floats(0, 9, width=16), min_size=1, max_size=6), st.integers(1, 5))
def test_absent_answers_do_not_count(answers: list[float], absent: int) -> None:
    quantiles, levels = torch.tensor([[1.0, 3.0, 6.0]]), torch.tensor([0.1, 0.5, 0.9])
    padded = torch.tensor([[*answers, *[float("nan")] * absent]])

    assert float(pinball(quantiles, padded, levels)) == pytest.approx(
        float(pinball(quantiles, torch.tensor([answers]), levels)), rel=1e-5
    )


def test_absent_answers_give_no_gradient() -> None:
    quantiles = torch.tensor([[1.0, 3.0], [1.0, 3.0]], requires_grad=True)
    target = torch.tensor([[float("nan")] * 2, [2.0, float("nan")]])
    pinball(quantiles, target, torch.tensor([0.1, 0.9])).backward()
    gradient = quantiles.grad

    assert gradient is not None
    assert torch.equal(gradient[0], torch.zeros(2))
    assert bool(torch.isfinite(gradient).all())
    assert bool((gradient[1] != 0).all())


@given(st.permutations(range(6)))
def test_the_true_order_has_the_least_list_loss(order: list[int]) -> None:
    target = torch.arange(6.0)[None]
    scores = torch.tensor([order], dtype=torch.float32)
    best = float(list_mle(target.clone(), target))

    assert float(list_mle(scores, target)) >= best - 1e-6
    if order != sorted(order):
        assert float(list_mle(scores, target)) > best


def test_list_loss_of_equal_scores_is_the_log_of_all_orders() -> None:
    loss = float(list_mle(torch.zeros(2, 4), torch.randn(2, 4)))

    assert loss == pytest.approx(float(np.log([4, 3, 2, 1]).mean()), abs=1e-6)


def test_margin_wants_a_distance_between_clear_pairs_only() -> None:
    target = torch.tensor([[0.0, 0.1, 2.0]])

    def loss(*scores: float) -> float:
        return float(margin_rank(torch.tensor([scores]), target, 0.3, 0.25))

    assert loss(0.0, 0.0, 0.3) == 0.0
    assert loss(0.0, -1.0, 0.3) == 0.0  # 0.1 and 0.0 are too close to count
    assert loss(0.0, 0.0, 0.0) == pytest.approx(0.3)
    assert loss(0.0, 0.0, -1.0) == pytest.approx(1.3)
    assert float(margin_rank(torch.zeros(1, 3), torch.zeros(1, 3), 0.3, 0.25)) == 0.0
