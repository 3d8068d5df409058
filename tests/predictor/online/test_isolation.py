"""What one tenant sends, or one answer says, cannot move others further than stated."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alise_core.prediction import PredictionSource
from fakes.online_traffic import Traffic, learner, log_tokens, raw, tokens, words

_answers = st.lists(
    st.tuples(st.sampled_from(["a b c", "tell me more", "x"]), st.integers(0, 50_000)), max_size=25
)


@pytest.mark.slow
@given(_answers, _answers)
def test_tenants_do_not_see_each_other(
    mine: list[tuple[str, int]], others: list[tuple[str, int]]
) -> None:
    alone, beside = Traffic(learner()), Traffic(learner())
    stranger = Traffic(beside.to, tenant="stranger")

    for index in range(max(len(mine), len(others))):
        for prompt, length in others[index : index + 1]:
            stranger.finish(raw(prompt), length)
        for prompt, length in mine[index : index + 1]:
            alone.finish(raw(prompt), length)
            beside.finish(raw(prompt), length)

    assert [c.log_quantiles for c in alone.corrections] == [
        c.log_quantiles for c in beside.corrections
    ]


@pytest.mark.slow
@given(_answers)
def test_models_of_one_tenant_are_kept_apart(others: list[tuple[str, int]]) -> None:
    here = learner()
    other = Traffic(here, model="other")
    for prompt, length in others:
        other.finish(raw(prompt), length)

    assert (
        Traffic(here).ask(raw("a b c")).log_quantiles
        == Traffic(learner()).ask(raw("a b c")).log_quantiles
    )


@pytest.mark.slow
@given(_answers, _answers)
def test_order_of_independent_keys_does_not_matter(
    first: list[tuple[str, int]], second: list[tuple[str, int]]
) -> None:
    forth, back = learner(), learner()
    for here, order in ((forth, ("one", "two")), (back, ("two", "one"))):
        for tenant in order:
            traffic = Traffic(here, tenant=tenant)
            for prompt, length in first if tenant == "one" else second:
                traffic.finish(raw(prompt), length)

    for tenant in ("one", "two"):
        found = [Traffic(here, tenant).ask(raw("a b c")).log_quantiles for here in (forth, back)]
        assert found[0] == found[1]


def test_million_answers_of_one_tenant_leave_a_new_ones_fallback_near_the_prior() -> None:
    here = learner()
    flood = Traffic(here, tenant="flood")
    for _ in range(2_000):
        flood.finish(None, 100_000)

    found = Traffic(here, tenant="new").ask(None)

    assert found.source is PredictionSource.MODEL_HISTOGRAM
    assert found.log_quantiles[1] < 5.0


@pytest.mark.parametrize("outlier", [0, 10_000_000])
def test_one_wild_answer_hardly_moves_a_settled_key(outlier: int) -> None:
    rng = np.random.default_rng(0)
    traffic = Traffic(learner())
    for _ in range(300):
        traffic.finish(raw(words(rng)), tokens(rng.normal(5.5, 0.5)))
    probes = [raw(words(rng)) for _ in range(20)]
    before = [traffic.ask(probe).log_quantiles for probe in probes]

    traffic.finish(raw(words(rng)), outlier)

    after = [traffic.ask(probe).log_quantiles for probe in probes]
    assert np.abs(np.array(after) - before)[:, 1:6].max() < 0.15


def test_same_wild_answer_moves_a_new_key_by_a_bounded_step() -> None:
    traffic = Traffic(learner())
    traffic.finish(raw("a b c"), 10_000_000)

    moved = traffic.ask(raw("quite another thing")).log_quantiles[3] - 5.0

    assert 0.0 < moved < 1.0
    assert log_tokens(10_000_000) - 5.0 > 10.0
