"""What a model adds to every answer is told apart from what a prompt asks for."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alise_predictor.train.targets import Levels, fit_levels


def _planted(
    seed: int, prompts: int, offsets: list[float], noise: float
) -> tuple[Levels, np.ndarray]:
    """Every model answers every prompt; two data sets of as many prompts and models."""
    random = np.random.default_rng(seed)
    groups = len(offsets)
    level = random.normal(4.0, 1.0, 2 * prompts)
    prompt = np.repeat(np.arange(2 * prompts), groups).astype(np.int32)
    group = np.tile(np.arange(groups), 2 * prompts) + groups * (prompt >= prompts)
    planted = np.array([*offsets, *(-value for value in offsets)])
    logs = level[prompt] + planted[group] + random.normal(0, noise, len(prompt))
    family = np.repeat([0, 1], groups).astype(np.int32)
    return fit_levels(prompt, group.astype(np.int32), family, logs, 2 * prompts), level


@given(
    st.integers(0, 10**6),
    st.integers(30, 60),
    st.lists(st.floats(-1.5, 1.5), min_size=2, max_size=4),
)
def test_planted_offsets_come_back(seed: int, prompts: int, offsets: list[float]) -> None:
    found, level = _planted(seed, prompts, offsets, 0.0)
    expected = np.array(offsets) - np.mean(offsets)
    shrunk = prompts / (prompts + 3.0)
    tolerance = np.abs(expected) * (1 - shrunk) + 1e-3
    for part, sign in ((found.offset[: len(offsets)], 1), (found.offset[len(offsets) :], -1)):
        assert np.all(np.abs(part - sign * expected) <= tolerance)
        assert abs(part.sum()) < 1e-9
    # Levels take up the mean that offsets cannot have.
    mean = np.repeat([np.mean(offsets), -np.mean(offsets)], prompts)
    assert np.allclose(found.level, level + mean, atol=1e-6)
    assert found.answers.tolist() == [len(offsets)] * (2 * prompts)


def test_noise_averages_out() -> None:
    found, level = _planted(0, 400, [0.5, 0.0, -0.5], 0.3)

    assert found.offset[:3] == pytest.approx([0.5, 0.0, -0.5], abs=0.06)
    assert np.abs(found.level - level).mean() < 0.2


def test_offsets_of_few_answers_are_shrunk() -> None:
    # The second model answered one prompt only, far longer than the first.
    prompt = np.array([*range(50), 0], np.int32)
    group = np.array([0] * 50 + [1], np.int32)
    logs = np.array([4.0] * 50 + [8.0])
    found = fit_levels(prompt, group, np.zeros(2, np.int32), logs, 50)

    assert 0 < found.offset[1] - found.offset[0] < 2.0
    assert np.average(found.offset, weights=[50, 1]) == pytest.approx(0.0, abs=1e-9)


def test_prompts_without_answers_have_no_level() -> None:
    found = fit_levels(
        np.array([0, 2], np.int32), np.zeros(2, np.int32), np.zeros(1, np.int32),
        np.array([3.0, 5.0]), 4,
    )  # fmt: skip

    assert np.isnan(found.level).tolist() == [False, True, False, True]
    assert found.answers.tolist() == [1, 0, 1, 0]
    assert found.level[[0, 2]] == pytest.approx([3.0, 5.0])
