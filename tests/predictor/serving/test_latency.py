"""Times are read from the clock that is passed in, and rows say what was timed."""

from pathlib import Path

import pytest

from alise_core.prediction import PredictionSource
from alise_core.units import Seconds
from alise_predictor.serving import LengthPredictor, measure_latency, measure_refinement
from alise_predictor.serving.latency import sample_prompt
from fakes.clock import FakeClock
from fakes.predictor_bundle import BundleOptions, tiny_bundle


class SlowingClock(FakeClock):
    """The first call takes 1 ms, the second 2 ms, and so on."""

    def __init__(self) -> None:
        super().__init__()
        self._readings = 0

    def now(self) -> Seconds:
        self._readings += 1
        if self._readings % 2 == 0:
            self.advance_quietly(self._readings / 2 / 1_000)
        return super().now()

    def advance_quietly(self, seconds: float) -> None:
        self._now += seconds


@pytest.fixture
def predictor(tmp_path: Path) -> LengthPredictor:
    return LengthPredictor.open(
        tiny_bundle(tmp_path / "bundle", BundleOptions(tier1=True)), tier1=True
    )


def test_a_row_for_every_size(predictor: LengthPredictor) -> None:
    first, second = measure_latency(predictor, [5, 1_024], 3, FakeClock())

    assert (first.prompt_bytes, second.prompt_bytes) == (5, 1_024)
    assert first.source is PredictionSource.TIER0
    assert first.calls == 3


def test_percentiles_are_of_single_calls(predictor: LengthPredictor) -> None:
    (row,) = measure_latency(predictor, [5], 200, SlowingClock())

    assert row.p50_seconds == pytest.approx(0.101)
    assert row.p99_seconds == pytest.approx(0.199)
    assert row.calls_per_second == pytest.approx(200 / sum(n / 1_000 for n in range(1, 201)))


def test_one_call_is_enough(predictor: LengthPredictor) -> None:
    (row,) = measure_latency(predictor, [5], 1, SlowingClock())

    assert row.p50_seconds == row.p99_seconds == pytest.approx(0.001)


def test_a_clock_that_stands_still_does_not_divide_by_zero(predictor: LengthPredictor) -> None:
    (row,) = measure_latency(predictor, [5], 2, FakeClock())

    assert row.calls_per_second == 0


def test_refinement_is_timed_apart(predictor: LengthPredictor) -> None:
    (row,) = measure_refinement(predictor, [5], 2, SlowingClock())

    assert row.source is PredictionSource.TIER1
    assert row.p50_seconds == pytest.approx(0.002)


def test_without_tier1_there_is_nothing_to_time(tmp_path: Path) -> None:
    predictor = LengthPredictor.open(tiny_bundle(tmp_path / "bundle"), tier1=True)

    assert measure_refinement(predictor, [5], 2, FakeClock()) == []


@pytest.mark.parametrize("size", [0, 1, 5, 1_024, 65_536])
def test_sample_prompts_have_their_size(size: int) -> None:
    prompt = sample_prompt(size, 0)

    assert len(prompt.encode()) == size
    assert prompt == sample_prompt(size, 0)


def test_sample_prompts_differ() -> None:
    assert len({sample_prompt(100, seed) for seed in range(16)}) == 16
