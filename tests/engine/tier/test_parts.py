"""Sizes, prices, paces and predictions: the small parts of the tier."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alise_vllm.tier.levels import EXTENTS, ChunkShape, Level
from alise_vllm.tier.pace import Pace
from alise_vllm.tier.remaining import Remaining
from alise_vllm.tier.worth import FEWEST, Curve, Worth
from fakes.clock import FakeClock


@given(st.integers(1, 4_096))
def test_levels_of_16_bit_values_are_whole_numbers_of_extents(groups: int) -> None:
    shape = ChunkShape(groups * 64 * EXTENTS * 2, 2)

    assert [shape.extents_at(level) for level in Level] == [64, 33, 17]
    for level in Level:
        assert shape.extents_at(level) * shape.extent_bytes == shape.bytes_at(level)


@given(st.integers(1, 10**6), st.sampled_from([0, 1, 2, 4, 8]))
def test_what_is_packed_fits_and_takes_no_more_than_raw(raw: int, element: int) -> None:
    shape = ChunkShape(raw, element)

    assert shape.levels[0] is Level.NONE
    for level in shape.levels:
        assert shape.bytes_at(level) <= shape.extents_at(level) * shape.extent_bytes
        assert shape.extents_at(level) <= EXTENTS


@pytest.mark.parametrize("shape", [ChunkShape(4_096, 0), ChunkShape(4_096, 1), ChunkShape(130, 2)])
def test_what_is_no_plain_float_or_no_whole_group_is_not_packed(shape: ChunkShape) -> None:
    assert shape.levels == (Level.NONE,)


@given(st.lists(st.tuples(st.integers(-2, 10**9), st.floats(-1, 10)), min_size=1))
def test_a_curve_stays_between_what_it_saw(observed: list[tuple[int, float]]) -> None:
    curve = Curve()
    for size, cost in observed:
        curve.observe(size, cost)
    valid = [cost / size for size, cost in observed if size > 0 and cost >= 0]

    found = curve.of(1_000)
    assert curve.count == len(valid)
    if valid:
        assert found is not None
        assert min(valid) * 999 <= found <= max(valid) * 1_001
    else:
        assert found is None


def test_many_small_copies_say_nothing_of_large_ones() -> None:
    curve = Curve()
    curve.observe(1_000_000, 0.001)
    for _ in range(10_000):
        curve.observe(1_000, 0.001)

    assert curve.of(900_000) == pytest.approx(0.0009)
    assert curve.of(700) == pytest.approx(0.0007)
    # The nearest, of two that are equally near the smaller.
    assert curve.of(1 << 30) == pytest.approx(0.001 * (1 << 30) / 1_000_000)


def test_a_curve_follows_a_load_that_changes() -> None:
    curve = Curve()
    for each in (1.0, 5.0):
        for _ in range(100):
            curve.observe(10, each * 10)

    assert curve.of(10) == pytest.approx(50, rel=0.01)


def worth(copy: float, compute: float, count: int = FEWEST) -> Worth:
    found = Worth()
    for _ in range(count):
        found.copies.observe(1_000, 1_000 * copy)
        found.prefills.observe(10, 10 * compute)
    return found


@given(st.floats(1e-9, 1e3), st.floats(1e-9, 1e3), st.integers(1, 10**5), st.integers(1, 10**9))
def test_loading_is_worth_it_when_twice_the_copy_costs_less(
    copy: float, compute: float, tokens: int, size: int
) -> None:
    found = worth(copy, compute)
    margin = 2 * copy * size / (compute * tokens)

    if abs(margin - 1) > 1e-6:
        assert found.to_load(tokens, size) == (margin < 1)
        assert found.declined_tokens == (0 if margin < 1 else tokens)


def test_nothing_is_declined_before_both_were_measured() -> None:
    assert worth(1e3, 1e-6, FEWEST - 1).to_load(10, 10)
    assert Worth().to_load(10, 10)
    assert Worth(Curve(FEWEST), Curve(FEWEST)).to_load(10, 10)


def test_a_prompt_costs_what_its_step_takes_longer_than_one_that_generates() -> None:
    clock, prefills = FakeClock(), Curve()
    pace = Pace(clock, prefills, 8_192)
    pace.arrives()
    for tokens, requests, seconds in ((2, 2, 1), (2, 2, 1), (102, 2, 3), (0, 0, 50), (1, 1, 1)):
        pace.begins(tokens, requests)
        clock.advance(seconds)

    assert prefills.count == 1
    assert prefills.of(100) == pytest.approx(2)


def test_it_costs_its_share_of_a_step_where_steps_are_always_as_long() -> None:
    clock, prefills = FakeClock(), Curve()
    pace = Pace(clock, prefills, 64)
    pace.arrives()
    for tokens, requests in ((4, 4), (36, 4), (200, 4), (4, 4)):
        pace.begins(tokens, requests)
        clock.advance(1.0)

    assert prefills.of(32) == pytest.approx(0.5)
    # More than one step can take counts as one, not as more time than went by.
    assert prefills.of(196) == pytest.approx(1.0)


def test_a_pause_is_no_step() -> None:
    clock, prefills = FakeClock(), Curve()
    pace = Pace(clock, prefills, 8_192)
    for _ in range(2):
        pace.arrives()
        pace.begins(100, 1)
        pace.leaves()
        clock.advance(1_000)
    # One that was not seen to come.
    pace.leaves()
    assert prefills.count == 0

    pace.arrives()
    pace.begins(100, 1)
    clock.advance(1)
    pace.begins(100, 1)
    assert prefills.count == 1


def test_what_remains_falls_as_tokens_come_and_never_below_one() -> None:
    remaining, generated = Remaining(), [0]
    remaining.arrived("a", {"alise_p50": 10}, lambda: generated[0])
    assert remaining.of("a") == 10
    generated[0] = 4
    assert remaining.of("a") == 6
    generated[0] = 99
    assert remaining.of("a") == 1

    remaining.ended("a")
    remaining.ended("a")
    assert remaining.of("a") is None


@pytest.mark.parametrize(
    "told", ["9", -1, float("nan"), float("inf"), 10**30, True, [1], {"p": 1}, 1e12]
)
def test_a_prediction_that_is_none_is_ignored_and_counted(told: Any) -> None:
    remaining = Remaining()
    remaining.arrived("a", {"alise_p50": told}, lambda: 0)

    assert remaining.of("a") is None
    assert remaining.ignored == 1


@pytest.mark.parametrize("extra", [None, {}, {"alise_p90": 3}, {"alise_p50": None}, "alise_p50"])
def test_no_prediction_is_no_mistake(extra: Any) -> None:
    remaining = Remaining()
    remaining.arrived("a", extra, lambda: 0)

    assert remaining.of("a") is None
    assert remaining.ignored == 0
