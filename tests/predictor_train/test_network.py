"""Tier 1's network: ordered quantiles, and nothing but the request decides."""

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from alise_predictor.features import SCALARS
from alise_predictor.train.network import monotone
from predictor_train.builders import SHAPE, SPAN, small_network


def _inputs(seed: int, rows: int, pieces: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    random = np.random.default_rng(seed)
    ids = torch.from_numpy(random.integers(0, SHAPE.vocabulary, (rows, pieces)))
    scalars = torch.from_numpy(random.normal(0, 3, (rows, len(SCALARS))).astype(np.float32))
    return ids, torch.ones_like(ids), scalars


@given(st.integers(0, 10**6), st.integers(1, 4), st.integers(1, 30))
def test_quantiles_are_ordered_and_in_the_span(seed: int, rows: int, pieces: int) -> None:
    network = small_network(seed=seed % 7)
    with torch.no_grad():
        # Far larger outputs than a trained head has: the range still holds.
        network.out.weight.mul_(float(1 + seed % 500))
        quantiles, embedding = network(*_inputs(seed, rows, pieces))

    assert quantiles.shape == (rows, 7)
    assert bool((quantiles.diff(dim=1) >= 0).all())
    assert SPAN.low <= float(quantiles.min()) <= float(quantiles.max()) <= SPAN.high
    assert torch.allclose(embedding.norm(dim=1), torch.ones(rows), atol=1e-5)
    assert embedding.shape == (rows, SHAPE.hidden)


@given(st.integers(0, 10**6), st.integers(1, 20), st.integers(1, 15))
def test_padding_does_not_change_a_row(seed: int, pieces: int, padding: int) -> None:
    network = small_network()
    ids, mask, scalars = _inputs(seed, 2, pieces)
    rubbish = torch.full((2, padding), seed % SHAPE.vocabulary)
    with torch.no_grad():
        plain = network(ids, mask, scalars)
        padded = network(
            torch.cat((ids, rubbish), 1), torch.cat((mask, torch.zeros_like(rubbish)), 1), scalars
        )

    for one, other in zip(plain, padded, strict=True):
        assert torch.allclose(one, other, atol=1e-5)


def test_the_untrained_head_starts_at_the_centre() -> None:
    with torch.no_grad():
        quantiles, _ = small_network()(*_inputs(0, 3, 5))

    assert torch.allclose(quantiles[:, 3], torch.full((3,), 4.0), atol=0.5)


@given(st.lists(st.floats(-20, 20, width=32), min_size=7, max_size=7))
def test_monotone_keeps_the_median_and_adds_every_step(values: list[float]) -> None:
    raw = torch.tensor([values])
    quantiles = monotone(raw, 3)
    steps = functional.softplus(torch.cat((raw[:, :3], raw[:, 4:]), 1))

    assert float(quantiles[0, 3]) == float(raw[0, 3])
    assert torch.allclose(quantiles.diff(dim=1), steps, atol=1e-4)
