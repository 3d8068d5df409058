"""Memory has a bound, whatever the traffic."""

import numpy as np
import pytest

from alise_predictor.online import Limits, OnlineLearner
from fakes.online_traffic import PRIOR, Traffic, raw, words


def test_pair_unused_for_longest_goes_first() -> None:
    here = OnlineLearner(PRIOR, limits=Limits(keys=3))
    for tenant in ("a", "b", "c", "a", "d"):
        Traffic(here, tenant=tenant).finish(raw("x"), 10)

    assert here.keys() == [("c", "m"), ("a", "m"), ("d", "m")]
    assert here.statistics("b", "m").answers == 0


def test_total_bytes_are_bounded() -> None:
    limit = 1_000_000
    here = OnlineLearner(PRIOR, limits=Limits(total_bytes=limit))
    rng = np.random.default_rng(0)

    for turn in range(200):
        Traffic(here, tenant=f"t{turn % 40}").finish(raw(words(rng)), 10)

    assert here.size_bytes <= limit
    assert 1 < len(here) < 40


@pytest.mark.slow
def test_estimate_of_one_key_stays_below_the_stated_worst_case() -> None:
    here = OnlineLearner(PRIOR)
    rng, traffic = np.random.default_rng(0), Traffic(here)
    said = [raw(" ".join(f"w{v}" for v in rng.integers(0, 10**6, 400))) for _ in range(40)]

    for turn in range(1_600):
        traffic.finish(said[turn % 40], 10)

    assert here.size_bytes <= 4_000_000


@pytest.mark.parametrize("keys", [1, 2])
def test_estimate_follows_what_is_dropped(keys: int) -> None:
    here = OnlineLearner(PRIOR, limits=Limits(keys=keys))
    for turn in range(10):
        Traffic(here, tenant=f"t{turn}").finish(raw("x"), 10)
    alone = OnlineLearner(PRIOR)
    Traffic(alone).finish(raw("x"), 10)

    assert here.size_bytes == keys * alone.size_bytes
