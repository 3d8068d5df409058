import copy
import functools
import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alise_gateway.domain.cost_model import CostModel, Served

ENGINES = {
    "as assumed": (0.02, 1e-4, 0.012, 1e-4),
    "large model": (0.05, 2e-4, 0.03, 5e-4),
    "small model": (0.005, 1e-5, 0.002, 1e-5),
    "without accelerator": (1.0, 5e-3, 0.3, 5e-3),
}


class _Engine:
    """Serves as two straight lines say, with 5 % noise.

    Args:
        coefficients: Of prefill (base, slope) and step (base, slope).
        seed: Of everything random.
    """

    def __init__(self, coefficients: tuple[float, float, float, float], seed: int = 1) -> None:
        self.a0, self.a1, self.b0, self.b1 = coefficients
        self.random = random.Random(seed)  # noqa: S311  a reproducible stream

    def serve(self, outliers: float = 0.0, cached: float = 0.0, streamed: bool = True) -> Served:
        """One request; ``outliers`` is the share of its times that are grossly wrong."""
        choose = self.random
        prompt = int(10 ** choose.uniform(1, 4))
        held = int(prompt * cached)
        steps, batch = choose.randint(1, 800), choose.uniform(1, 200)
        ttft = self._off(self.a0 + self.a1 * (prompt - held), outliers)
        decode = self._off(self.b0 + self.b1 * batch, outliers) * steps
        total = ttft + decode
        if not streamed:
            return Served(prompt, held, steps + 1, None, None, total, batch)
        return Served(prompt, held, steps + 1, ttft, decode, total, batch)

    def _off(self, seconds: float, outliers: float) -> float:
        wrong = self.random.random() < outliers
        gross = self.random.choice([0.05, 10.0, 50.0]) if wrong else 1.0
        return seconds * gross * max(0.5, self.random.gauss(1.0, 0.05))

    def assert_known_by(self, model: CostModel, within: float = 0.1) -> None:
        for tokens in (0, 100, 2_000, 10_000):
            expected = pytest.approx(self.a0 + self.a1 * tokens, rel=within)
            assert model.prefill_seconds(tokens) == expected
        for batch in (0, 10, 60, 200):
            assert model.step_seconds(batch) == pytest.approx(self.b0 + self.b1 * batch, rel=within)


def _first_token(ttft: float, prompt: int = 200) -> Served:
    return Served(prompt, 0, 1, ttft, None, ttft, 5.0)


@functools.cache
def _taught(count: int, seed: int = 1) -> CostModel:
    engine, model = _Engine(ENGINES["as assumed"], seed), CostModel()
    for _ in range(count):
        model.observe(engine.serve())
    return model


def test_before_the_first_request_an_ordinary_engine_is_assumed() -> None:
    model = CostModel()
    assert model.observations == 0
    assert model.prefill_seconds(1_000) == pytest.approx(0.12)
    assert model.step_seconds(30) == pytest.approx(0.015)


@pytest.mark.parametrize("engine", ENGINES.values(), ids=ENGINES)
@pytest.mark.parametrize("seed", range(3))
def test_finds_the_lines_of_an_engine_in_spite_of_gross_outliers(
    engine: tuple[float, float, float, float], seed: int
) -> None:
    there, model = _Engine(engine, seed), CostModel()
    for _ in range(2_000):
        model.observe(there.serve(outliers=0.1))
    there.assert_known_by(model)
    assert model.observations == 2_000


def test_an_ordinary_engine_is_known_after_a_hundred_requests() -> None:
    _Engine(ENGINES["as assumed"]).assert_known_by(_taught(100))


def test_follows_an_engine_that_becomes_slower() -> None:
    model = copy.deepcopy(_taught(1_000))
    slower = _Engine((0.02, 1e-4, 0.048, 4e-4))
    for _ in range(200):
        model.observe(slower.serve())
    assert model.step_seconds(60) == pytest.approx(0.072, rel=0.1)


def test_only_tokens_that_no_cache_holds_are_prefilled() -> None:
    engine, model = _Engine(ENGINES["large model"]), CostModel()
    for _ in range(1_500):
        model.observe(engine.serve(cached=0.9))
    engine.assert_known_by(model)


def test_learns_the_step_from_answers_that_are_not_streamed() -> None:
    engine, model = _Engine(ENGINES["large model"]), CostModel()
    model.observe(engine.serve())
    prefill = model.prefill_seconds(500)
    for _ in range(1_500):
        model.observe(engine.serve(streamed=False))
    assert model.step_seconds(60) == pytest.approx(0.06, rel=0.1)
    assert model.prefill_seconds(500) == prefill


def test_an_answer_of_one_token_that_is_not_streamed_shows_its_prefill() -> None:
    model = CostModel()
    for _ in range(300):
        model.observe(Served(1_000, 0, 1, None, None, 0.4, 1.0))
    assert model.prefill_seconds(1_000) == pytest.approx(0.4, rel=0.05)
    assert model.step_seconds(1) == CostModel().step_seconds(1)


@pytest.mark.parametrize("share", [0.1, 0.3])
def test_first_tokens_that_waited_inside_the_engine_do_not_ruin_the_prefill(share: float) -> None:
    choose, model = random.Random(3), CostModel()  # noqa: S311
    for _ in range(1_500):
        prompt = int(10 ** choose.uniform(1, 3.5))
        queued = choose.expovariate(0.5) if choose.random() < share else 0.0
        ttft = (0.03 + 1e-4 * prompt) * choose.gauss(1, 0.05) + queued
        model.observe(_first_token(ttft, prompt))
    assert model.prefill_seconds(0) == pytest.approx(0.03, rel=0.1)
    assert model.prefill_seconds(2_000) == pytest.approx(0.23, rel=0.1)


def test_a_busy_minute_is_not_taken_for_a_slow_engine() -> None:
    model = CostModel()
    for _ in range(500):
        model.observe(_first_token(0.05))
    for _ in range(200):
        model.observe(_first_token(5.0))
    assert model.prefill_seconds(200) < 0.1


def test_requests_that_are_all_alike_leave_the_rest_of_the_line_in_place() -> None:
    model = CostModel()
    for _ in range(20_000):
        model.observe(Served(500, 0, 101, 0.07, 1.5, 1.57, 8.0))
    assert model.step_seconds(8) == pytest.approx(0.015, rel=0.02)
    assert 0.015 < model.step_seconds(64) < 0.04


def test_a_line_that_seems_to_fall_is_taken_for_level() -> None:
    choose, model = random.Random(2), CostModel()  # noqa: S311  a reproducible stream
    for _ in range(2_000):
        batch = choose.uniform(1, 100)
        seconds = 0.04 - 3e-4 * batch
        model.observe(Served(100, 0, 101, 0.03, 100 * seconds, 0.03 + 100 * seconds, batch))
    assert model.step_seconds(100) == model.step_seconds(0)
    assert 0.01 < model.step_seconds(50) < 0.04


@pytest.mark.parametrize(
    "served",
    [
        Served(10, 0, 10, math.nan, 1.0, 2.0, 1.0),
        Served(10, 0, 10, 1.0, math.inf, 2.0, 1.0),
        Served(10, 0, 10, 1.0, 1.0, math.nan, 1.0),
        Served(10, 0, 10, 1.0, 1.0, 2.0, math.nan),
        Served(10, 0, 10, -1.0, 1.0, 2.0, 1.0),
        Served(10, 0, 10, 1.0, 1.0, 2.0, -1.0),
        Served(10, 0, 10, 3.0, 1.0, 2.0, 1.0),
        Served(10, 0, 10, 1.0, 3.0, 2.0, 1.0),
        Served(10, 11, 10, 1.0, 1.0, 2.0, 1.0),
        Served(-1, 0, 10, 1.0, 1.0, 2.0, 1.0),
        Served(10, -1, 10, 1.0, 1.0, 2.0, 1.0),
        Served(10, 0, -1, 1.0, 1.0, 2.0, 1.0),
        Served(10**12, 0, 10, 1.0, 1.0, 2.0, 1.0),
        Served(10, 0, 10**12, 1.0, 1.0, 2.0, 1.0),
        Served(10, 0, 10, 1.0, 1.0, 1e9, 1.0),
        Served(10, 0, 10, 0.0, 0.0, 0.0, 1.0),
    ],
)
def test_what_cannot_have_happened_teaches_nothing(served: Served) -> None:
    model, untouched = CostModel(), CostModel()
    model.observe(served)
    assert model.observations == 0
    assert model.service_seconds(300, 300, 8) == untouched.service_seconds(300, 300, 8)


def test_service_is_the_prefill_and_a_step_for_every_further_token() -> None:
    model = CostModel()
    assert model.service_seconds(100, 1, 4) == model.prefill_seconds(100)
    assert model.service_seconds(100, 0, 4) == model.prefill_seconds(100)
    assert model.service_seconds(100, 11, 4) == pytest.approx(
        model.prefill_seconds(100) + 10 * model.step_seconds(4)
    )


def test_memory_time_counts_the_prompt_throughout_and_each_token_from_its_step_on() -> None:
    model = CostModel()
    step = model.step_seconds(4)
    # Held after each of three steps: 101, 102 and 103 tokens.
    assert model.kv_token_seconds(100, 3, 4) == pytest.approx(
        step * (101 + 102 + 103) + model.prefill_seconds(100) * 100
    )


ANY_FLOAT = st.floats(allow_nan=True, allow_infinity=True)
ANY_SECONDS = ANY_FLOAT | st.floats(1e-9, 1e4)
ANY_TOKENS = st.integers(-10, 10**9) | st.integers(0, 5_000)
ANY_SERVED = st.builds(
    Served,
    ANY_TOKENS,
    ANY_TOKENS,
    ANY_TOKENS,
    st.none() | ANY_SECONDS,
    st.none() | ANY_SECONDS,
    ANY_SECONDS,
    ANY_FLOAT | st.floats(0, 500),
)
POSSIBLE = st.builds(
    lambda prompt, cached, output, ttft, decode, batch: Served(
        prompt, int(prompt * cached), output, ttft, decode, ttft + decode, batch
    ),
    st.integers(0, 10**8),
    st.floats(0, 1),
    st.integers(0, 10**8),
    st.floats(0, 4e4),
    st.floats(0, 4e4),
    st.floats(0, 1e5),
)
PROMPTS, OUTPUTS, BATCHES = st.floats(0, 1e6), st.floats(0, 1e6), st.floats(0, 1e4)


@given(st.lists(ANY_SERVED | POSSIBLE, max_size=60), ANY_FLOAT, ANY_FLOAT, ANY_FLOAT)
def test_costs_are_finite_and_positive_whatever_was_seen_and_is_asked(
    seen: list[Served], prompt: float, output: float, batch: float
) -> None:
    model = CostModel()
    for served in seen:
        model.observe(served)
    times = (
        model.prefill_seconds(prompt),
        model.step_seconds(batch),
        model.service_seconds(prompt, output, batch),
    )
    assert all(math.isfinite(value) and value > 0 for value in times)
    memory = model.kv_token_seconds(prompt, output, batch)
    assert math.isfinite(memory)
    assert memory >= 0


@given(st.lists(POSSIBLE, max_size=40), PROMPTS, PROMPTS, OUTPUTS, OUTPUTS, BATCHES)
def test_more_tokens_never_cost_less(
    seen: list[Served], prompt: float, more: float, output: float, longer: float, batch: float
) -> None:
    model = CostModel()
    for served in seen:
        model.observe(served)
    for cost in (model.service_seconds, model.kv_token_seconds):
        assert cost(prompt + more, output + longer, batch) >= cost(prompt, output, batch)
    assert model.step_seconds(batch + more) >= model.step_seconds(batch)


@given(POSSIBLE, st.sampled_from([0, 3, 50, 400]), st.integers(0, 3))
def test_one_observation_moves_no_prediction_far(served: Served, count: int, seed: int) -> None:
    model = copy.deepcopy(_taught(count, seed))
    probes = [(1, 2, 1), (1_000, 200, 20), (20_000, 2_000, 300)]
    before = [model.service_seconds(*probe) for probe in probes]
    model.observe(served)
    for probe, was in zip(probes, before, strict=True):
        ratio = model.service_seconds(*probe) / was
        most = 2.5 if count < 50 else 1.25
        assert 1 / most <= ratio <= most
