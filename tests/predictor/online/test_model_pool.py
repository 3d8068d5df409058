"""What all tenants of a model have shown is summed up as they answer; none dominates it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alise_core.prediction import PredictionSource
from alise_predictor.online import Limits, OnlineLearner
from alise_predictor.online.histogram import BINS, Mass
from alise_predictor.online.model_pool import PRIOR_WEIGHT, TENANT_WEIGHT, ModelPool
from fakes.online_traffic import PRIOR, Traffic, learner

EVEN = np.full(BINS, 1.0 / BINS)

_counts = st.lists(st.integers(0, 100), min_size=BINS, max_size=BINS)
_steps = st.lists(
    st.tuples(st.sampled_from("abcd"), st.none() | st.integers(0, 2**32 - 1)), max_size=30
)


def mass_of(seed: int) -> Mass:
    rng = np.random.default_rng(seed)
    return rng.random(BINS) * float(rng.choice([1e-9, 0.01, 1.0, 1e6]))


def pool_of(*parts: Mass) -> ModelPool:
    here = ModelPool(EVEN)
    for tenant, mass in enumerate(parts):
        here.put(str(tenant), mass)
    return here


@given(_steps)
def test_running_total_is_exactly_that_of_the_tenants_left(
    steps: list[tuple[str, int | None]],
) -> None:
    here, left = ModelPool(EVEN), dict[str, Mass]()
    for tenant, seed in steps:
        if seed is None:
            here.drop(tenant)
            left.pop(tenant, None)
        else:
            left[tenant] = mass_of(seed)
            here.put(tenant, left[tenant])
        # Asked in between, so that a remembered figure would show.
        assert here.quantiles() == pool_of(*left.values()).quantiles()

    assert len(here) == len(left)
    assert np.array_equal(here.mass, pool_of(*left.values()).mass)


def test_tenants_count_by_their_answers_up_to_a_bound() -> None:
    few, many = np.zeros(BINS), np.zeros(BINS)
    few[3], many[7] = 10.0, 1_000.0

    found = pool_of(few, many).mass - PRIOR_WEIGHT * EVEN

    assert (found[3], found[7]) == pytest.approx((10.0, TENANT_WEIGHT))
    assert found.sum() == pytest.approx(10.0 + TENANT_WEIGHT)


@given(st.lists(st.floats(0, 1e6), min_size=BINS, max_size=BINS), st.lists(_counts, max_size=3))
def test_one_tenant_moves_a_models_histogram_by_a_bounded_share(
    attack: list[float], others: list[list[int]]
) -> None:
    honest = [np.array(mass, float) for mass in others]

    without, with_ = pool_of(*honest).mass, pool_of(*honest, np.array(attack)).mass

    moved = 0.5 * np.abs(without / without.sum() - with_ / with_.sum()).sum()
    counted = sum(min(mass.sum(), TENANT_WEIGHT) for mass in honest)
    assert moved <= TENANT_WEIGHT / (TENANT_WEIGHT + PRIOR_WEIGHT + counted) + 1e-9


def test_new_tenant_sees_every_answer_at_once() -> None:
    here = learner()
    told = []
    for _ in range(5):
        Traffic(here, tenant="taught").finish(None, 3_000)
        told.append(Traffic(here, tenant="new").ask(None).log_quantiles[5])

    assert told == sorted(set(told))


def test_forgotten_tenants_leave_their_models_histogram() -> None:
    here = OnlineLearner(PRIOR, limits=Limits(keys=1))
    Traffic(here, tenant="forgotten").finish(None, 3_000)

    Traffic(here, model="other").finish(None, 3_000)

    assert Traffic(here, tenant="new").ask(None).source is PredictionSource.PRIOR


@pytest.mark.parametrize("keys", [2, 512])
def test_restored_learner_tells_a_new_tenant_the_same(keys: int) -> None:
    limits = Limits(keys=keys)
    before, after = (OnlineLearner(PRIOR, limits=limits) for _ in range(2))
    for turn, tenant in enumerate("abcb"):
        for _ in range(60):
            Traffic(before, tenant=tenant).finish(None, 10 ** (turn + 1))
    Traffic(after, tenant="gone").finish(None, 50_000)

    after.restore(before.snapshot())

    asked = [Traffic(here, tenant="new").ask(None) for here in (before, after)]
    assert asked[0] == asked[1]
    assert asked[0].source is PredictionSource.MODEL_HISTOGRAM
