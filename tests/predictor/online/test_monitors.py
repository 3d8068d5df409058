"""Concordance, coverage and drift say what they are named for."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alise_predictor.online.concordance import WINDOW as PAIR_WINDOW
from alise_predictor.online.concordance import RollingConcordance
from alise_predictor.online.coverage import WINDOW, RollingCoverage
from alise_predictor.online.drift import HALF, PopulationStability
from fakes.online_traffic import NORMAL


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=40))
def test_concordance_is_the_share_of_pairs_in_order(answers: list[tuple[int, int]]) -> None:
    here = RollingConcordance()
    for predicted, actual in answers:
        here.update(predicted, actual)

    agreeing = compared = 0.0
    for (p, a), (q, b) in combinations(answers, 2):
        if a != b:
            compared += 1
            agreeing += 0.5 if p == q else float((p < q) == (a < b))

    assert here.value() == (pytest.approx(agreeing / compared) if compared else None)


def test_concordance_forgets() -> None:
    rng = np.random.default_rng(0)
    here = RollingConcordance()
    for value in rng.normal(size=PAIR_WINDOW):
        here.update(-value, value)
    assert here.value() == pytest.approx(0.0)

    for value in rng.normal(size=2 * PAIR_WINDOW):
        here.update(value, value)

    assert here.value() == pytest.approx(1.0)


def test_coverage_of_nothing_is_unknown() -> None:
    here = RollingCoverage()

    assert here.p80 is None
    assert here.p90 is None


def test_coverage_counts_the_window_only() -> None:
    here = RollingCoverage()
    for _ in range(WINDOW):
        here.update(is_inside=False, is_below_p90=False)
    for turn in range(WINDOW):
        here.update(is_inside=turn % 2 == 0, is_below_p90=turn % 10 != 0)

    assert (here.p80, here.p90) == (0.5, 0.9)
    assert len(here) == WINDOW


def test_stable_traffic_has_no_drift() -> None:
    rng = np.random.default_rng(0)
    here = PopulationStability()
    for value in rng.normal(size=3 * HALF):
        here.update(NORMAL, value)

    found = here.value()
    assert found is not None
    assert found < 0.1


def test_changed_traffic_drifts_and_settles() -> None:
    rng = np.random.default_rng(0)
    here = PopulationStability()
    for value in rng.normal(size=2 * HALF - 1):
        here.update(NORMAL, value)
    assert here.value() is None
    for value in rng.normal(1.0, 1.0, HALF):
        here.update(NORMAL, value)
    changed = here.value()
    for value in rng.normal(1.0, 1.0, HALF):
        here.update(NORMAL, value)
    settled = here.value()

    assert changed is not None
    assert settled is not None
    assert changed > 0.25
    assert settled < 0.1
