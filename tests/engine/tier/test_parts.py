"""Sizes, prices, paces and predictions: the small parts of the tier."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alise_vllm.tier.levels import EXTENTS, ChunkShape, Level
from alise_vllm.tier.pace import Pace
from alise_vllm.tier.remaining import Remaining
from alise_vllm.tier.worth import FEWEST, Line, Worth
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


@given(st.floats(1e-6, 1), st.floats(0, 1), st.lists(st.integers(1, 9_999), min_size=3))
def test_a_line_finds_what_one_more_costs(each: float, fixed: float, sizes: list[int]) -> None:
    line = Line()
    for size in sizes:
        line.observe(size, fixed + each * size)

    assert line.each is not None
    if max(sizes) > 2 * min(sizes) and fixed < each * max(sizes):
        assert math.isclose(line.each, each, rel_tol=1e-3)
    assert line.each >= each * 0.999


def test_a_line_without_observations_knows_nothing_and_nonsense_gives_the_mean() -> None:
    line = Line()
    assert line.each is None
    line.observe(0, 1)
    assert line.each is None
    for size, cost in ((10, 10.0), (20, 1.0)):
        line.observe(size, cost)
    assert line.each is not None
    assert 0.3 < line.each < 0.5


def test_a_line_follows_a_load_that_changes() -> None:
    line = Line()
    for each in (1.0, 5.0):
        for size in range(1, 500):
            line.observe(size, each * size)

    assert line.each == pytest.approx(5, rel=0.01)


def worth(copy: float, compute: float, count: int = FEWEST) -> Worth:
    found = Worth(Line(), Line())
    for _ in range(count):
        found.copies.observe(1_000, 1_000 * copy)
        found.steps.observe(10, 10 * compute)
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
    assert Worth(Line(), Line()).to_load(10, 10)
    no_size = Worth(Line(FEWEST), Line(FEWEST))
    assert no_size.to_load(10, 10)


def test_a_step_lasts_until_the_next_unless_there_was_nothing_to_do() -> None:
    clock, steps = FakeClock(), Line()
    pace = Pace(clock, steps)
    pace.arrives()
    pace.begins(100)
    clock.advance(2)
    pace.begins(0)
    clock.advance(50)
    pace.begins(10)
    assert (steps.count, steps.each) == (1, 0.02)

    pace.leaves()
    clock.advance(1_000)
    pace.arrives()
    pace.begins(7)
    assert steps.count == 1
    pace.leaves()
    pace.leaves()
    pace.arrives()
    pace.begins(1)
    clock.advance(1)
    pace.begins(1)
    assert steps.count == 2


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
