"""Finished requests once more: what is predicted, what is learned when, and what is timed."""

from collections.abc import Sequence
from math import log1p
from pathlib import Path

import numpy as np
import pytest

from alise_core.prediction import LEVELS, LengthDistribution, PredictionSource
from alise_predictor.artifact import Description
from alise_predictor.evaluation.replay import Learner, Replayed, replay
from alise_predictor.evaluation.samples import Sample
from alise_predictor.features import extract
from alise_predictor.online import Corrected, OnlineLearner, RequestFacts
from alise_predictor.prediction import RawPrediction
from alise_predictor.request import PredictionRequest, from_prompt
from alise_predictor.serving import LengthPredictor, PredictorError
from fakes.clock import FakeClock
from fakes.predictor_bundle import HIGHEST, LOWEST, BundleOptions, description, tiny_bundle

MEDIAN = LEVELS.index(0.5)


class Teller:
    """Predicts the number that the prompt says, and refuses prompts that say none.

    Each call takes so many seconds, the first ten times as many.
    """

    def __init__(self, clock: FakeClock, predict_seconds: float = 0.0) -> None:
        self._clock = clock
        self._seconds = 10 * predict_seconds
        self._usual_seconds = predict_seconds

    @property
    def manifest(self) -> Description:
        return description()

    def predict(self, request: PredictionRequest) -> RawPrediction:
        self._clock.advance(self._seconds)
        self._seconds = self._usual_seconds
        if not request.prompt.isdigit():
            raise PredictorError("no number")
        return _raw(float(request.prompt), PredictionSource.TIER0, request)

    def refine(self, request: PredictionRequest, first: RawPrediction) -> RawPrediction:
        return _raw(2 * float(request.prompt), PredictionSource.TIER1, request)


class Diary:
    """A learner that writes down what it is told and leaves predictions alone."""

    def __init__(self) -> None:
        self.entries: list[str] = []
        self.times: list[float] = []
        self.censored: list[bool] = []

    def correct(
        self, tenant: str, model: str, raw: RawPrediction | None, facts: RequestFacts, now: float
    ) -> Corrected:
        said = "nothing" if raw is None else raw.source.value
        self.entries.append(f"correct {tenant} {model} {said}")
        self.times.append(now)
        quantiles = description().prior.log_quantiles if raw is None else raw.log_quantiles
        return Corrected(quantiles, PredictionSource.TIER0, is_trusted=True)

    def observe(  # noqa: PLR0913  OnlineLearner's
        self,
        tenant: str,
        model: str,
        raw: RawPrediction | None,
        corrected: Corrected,
        facts: RequestFacts,
        output_tokens: int,
        *,
        censored: bool,
        now: float,
    ) -> None:
        self.entries.append(f"observe {tenant} {model} {output_tokens}")
        self.censored.append(censored)


def test_the_static_model_is_what_serving_says(tmp_path: Path) -> None:
    predictor = LengthPredictor.open(tiny_bundle(tmp_path / "b"), tier1=False)
    samples = _samples(["write an essay", "list of cats", "why is the sea"])

    found = replay(samples, predictor, FakeClock())

    for row, sample in zip(found.static, samples, strict=True):
        raw = predictor.predict(sample.request)
        served = LengthDistribution.of(raw.log_quantiles, LOWEST, HIGHEST, None)
        assert row.tolist() == [log1p(served.quantile(level)) for level in LEVELS]
    assert found.learned is None
    assert found.served is found.static


def test_tier_1_refines_where_it_is_asked_for(tmp_path: Path) -> None:
    bundle = tiny_bundle(tmp_path / "b", BundleOptions(tier1=True))
    predictor = LengthPredictor.open(bundle, tier1=True)
    samples = _samples(["write an essay", "list of cats"])

    refined = replay(samples, predictor, FakeClock(), refine=True)

    raw = predictor.refine(samples[0].request, predictor.predict(samples[0].request))
    assert refined.static[0, MEDIAN] == pytest.approx(raw.log_median)
    assert (refined.static != replay(samples, predictor, FakeClock()).static).any()


def test_nothing_is_predicted_beyond_max_tokens() -> None:
    clock = FakeClock()
    samples = [Sample(from_prompt("800", "m", max_tokens=100), 100, "", None)]

    found = replay(samples, Teller(clock), clock)

    assert found.static[0, MEDIAN] == log1p(100)
    assert found.static.max() == log1p(100)


def test_each_answer_is_learned_after_its_prediction() -> None:
    diary = _diary([10, 20, 30], delay=0)

    assert diary.entries == [
        "correct t m tier0",
        "observe t m 10",
        "correct t m tier0",
        "observe t m 20",
        "correct t m tier0",
        "observe t m 30",
    ]


def test_a_delay_lets_so_many_requests_pass_first() -> None:
    diary = _diary([10, 20, 30, 40], delay=2)

    assert [entry.split()[0] for entry in diary.entries] == [
        *("correct", "correct", "correct", "observe", "correct", "observe")
    ]
    assert [entry for entry in diary.entries if entry.startswith("observe")] == [
        "observe t m 10",
        "observe t m 20",
    ]


def test_an_answer_cut_at_its_limit_is_learned_as_such() -> None:
    clock, diary = FakeClock(), Diary()
    samples = [
        Sample(from_prompt("5", "m", max_tokens=limit), 50, "", None) for limit in (None, 50, 51)
    ]

    replay(samples, Teller(clock), clock, learner=diary)

    assert diary.censored == [False, True, False]


def test_time_follows_the_file_and_never_runs_back() -> None:
    clock, diary = FakeClock(), Diary()
    stamps = [100.0, 160.0, 130.0, None, 161.5]
    samples = [Sample(from_prompt("5", "m"), 5, "", stamp) for stamp in stamps]

    replay(samples, Teller(clock), clock, learner=diary)

    assert diary.times == [100.0, 160.0, 160.0, 161.0, 161.5]


@pytest.mark.parametrize("delay", [0, 7])
def test_what_comes_later_does_not_reach_back(tmp_path: Path, delay: int) -> None:
    predictor = LengthPredictor.open(tiny_bundle(tmp_path / "b"), tier1=False)
    words = ["write an essay", "list of cats", "why is the sea", "code in python"]
    samples = _samples([words[index % 4] + f" {index}" for index in range(150)])
    samples = [
        Sample(s.request, 30 + 40 * (index % 4), "t", None) for index, s in enumerate(samples)
    ]

    whole = _learned(samples, predictor, delay)
    part = _learned(samples[:90], predictor, delay)

    assert whole.learned is not None
    assert part.learned is not None
    assert (whole.learned[:90] == part.learned).all()
    assert (whole.learned[100:] != whole.static[100:]).any()


def test_a_failed_prediction_falls_back_and_is_counted() -> None:
    clock, diary = FakeClock(), Diary()
    samples = _samples(["7", "words", "9"])

    found = replay(samples, Teller(clock), clock, learner=diary)

    assert found.failed == 1
    assert found.static[1] == pytest.approx(description().prior.log_quantiles)
    assert [entry for entry in diary.entries if entry.startswith("correct")] == [
        "correct  m tier0",
        "correct  m nothing",
        "correct  m tier0",
    ]


def test_every_request_is_timed_and_the_first_call_is_not() -> None:
    clock = FakeClock()

    found = replay(_samples(["1", "2", "3"]), Teller(clock, predict_seconds=0.25), clock)

    assert found.seconds.tolist() == [0.25, 0.25, 0.25]


@pytest.mark.parametrize("learner", [None, Diary()], ids=["static", "learning"])
def test_no_requests_are_no_rows(learner: Learner | None) -> None:
    clock = FakeClock()

    found = replay([], Teller(clock), clock, learner=learner)

    assert found.served.shape == (0, len(LEVELS))
    assert found.models == ()
    assert len(found.seconds) == 0


def _samples(prompts: Sequence[str]) -> list[Sample]:
    return [Sample(from_prompt(prompt, "m"), 40, "", None) for prompt in prompts]


def _diary(lengths: Sequence[int], delay: int) -> Diary:
    clock, diary = FakeClock(), Diary()
    samples = [Sample(from_prompt(str(length), "m"), length, "t", None) for length in lengths]
    replay(samples, Teller(clock), clock, learner=diary, delay=delay)
    return diary


def _learned(samples: Sequence[Sample], predictor: LengthPredictor, delay: int) -> Replayed:
    learner = OnlineLearner(predictor.manifest.prior.log_quantiles)
    return replay(samples, predictor, FakeClock(), learner=learner, delay=delay)


def _raw(tokens: float, source: PredictionSource, request: PredictionRequest) -> RawPrediction:
    middle = np.clip(log1p(tokens) + np.linspace(-1, 1, len(LEVELS)), log1p(LOWEST), log1p(HIGHEST))
    return RawPrediction(tuple(middle.tolist()), source, extract(request))
