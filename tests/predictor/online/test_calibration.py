"""Offset and slope: what the base gets wrong by a constant or a factor is put right."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alise_predictor.online.affine import (
    KEEP,
    MOST_SLOPE,
    MOST_STEP,
    SLOPE_FROM_ANSWERS,
    AffineCalibration,
)

_values = st.floats(0.0, 12.0)


def fitted(pairs: list[tuple[float, float]]) -> AffineCalibration:
    found = AffineCalibration()
    for base, observed in pairs:
        found.update(base, observed)
    return found


def test_first_answers_move_the_offset_a_little() -> None:
    assert fitted([(5.0, 6.0)]).apply(5.0) == pytest.approx(5.0 + 1 / 9)


def test_offset_is_learned_before_any_slope() -> None:
    found = fitted([(4.0 + i % 3, 5.0 + 0.5 * (i % 3)) for i in range(int(SLOPE_FROM_ANSWERS) - 1)])

    assert found.slope == 1.0
    assert found.apply(5.0) == pytest.approx(5.5, abs=0.1)


def test_slope_shrinks_to_what_the_traffic_shows() -> None:
    rng = np.random.default_rng(0)
    bases = rng.normal(5.0, 0.7, 1_500)

    found = fitted(
        [
            (b, 6.0 + 0.4 * (b - 5.0) + n)
            for b, n in zip(bases, rng.normal(0, 0.3, 1_500), strict=True)
        ]
    )

    assert found.slope == pytest.approx(0.4, abs=0.05)
    assert found.apply(5.0) == pytest.approx(6.0, abs=0.05)


def test_base_that_says_nothing_becomes_one_value() -> None:
    rng = np.random.default_rng(0)

    found = fitted([(b, 6.0) for b in rng.normal(5.0, 0.7, 3_000)])

    assert found.slope == 0.0
    assert found.apply(2.0) == found.apply(8.0) == pytest.approx(6.0, abs=0.02)


def test_drift_is_followed() -> None:
    found = fitted([(5.0, 5.0)] * 3_000 + [(5.0, 7.0)] * 3_000)

    assert found.apply(5.0) == pytest.approx(7.0, abs=0.15)


@given(st.lists(st.tuples(_values, _values), max_size=80))
def test_slope_stays_in_its_range(pairs: list[tuple[float, float]]) -> None:
    found = fitted(pairs)

    assert 0.0 <= found.slope <= MOST_SLOPE
    assert np.isfinite(found.apply(5.0))


@given(st.lists(_values, min_size=1, max_size=40), st.floats(-50, 50), st.floats(-50, 50))
def test_one_answer_moves_the_offset_by_a_bounded_step(
    history: list[float], one: float, other: float
) -> None:
    pairs = [(5.0, value) for value in history]
    weight = sum(KEEP**i for i in range(len(pairs) + 1))

    difference = abs(
        fitted([*pairs, (5.0, one)]).apply(5.0) - fitted([*pairs, (5.0, other)]).apply(5.0)
    )

    assert difference <= 2 * MOST_STEP / weight + 1e-9


@given(st.lists(st.tuples(_values, _values), max_size=70), _values)
def test_state_survives_a_snapshot(pairs: list[tuple[float, float]], base: float) -> None:
    before, after = fitted(pairs), AffineCalibration()

    after.load(before.state())

    assert after.apply(base) == before.apply(base)
