"""Learning from finished answers: a few at a time, bounded, and never at a request's cost."""

from collections.abc import Callable

import pytest
from structlog.testing import capture_logs

from alise_core.prediction import LengthDistribution, PredictionSource
from alise_gateway.domain.prediction import Learning, Prediction
from alise_gateway.learn.answers import AnswerLearner, FinishedAnswer
from alise_gateway.learn.pace import LearningPace
from alise_predictor.online import OnlineLearner, RequestFacts
from alise_predictor.prediction import RawPrediction
from fakes.clock import FakeClock
from fakes.length_model import NO_FEATURES, FakeMeter, around


class Turns:
    """The loop's next turns."""

    def __init__(self) -> None:
        self.due: list[Callable[[], None]] = []

    def call_soon(self, callback: Callable[[], None]) -> object:
        self.due.append(callback)
        return None

    def turn(self) -> None:
        due, self.due = self.due, []
        for callback in due:
            callback()


class Bench:
    """A learner whose turns a test takes."""

    def __init__(self, backlog: int = 100, per_second: float = 1e5) -> None:
        self.turns = Turns()
        self.meter = FakeMeter()
        self.learner = OnlineLearner(around(50))
        self.clock = FakeClock()
        pace = LearningPace(self.clock, per_second)
        self.answers = AnswerLearner(self.clock, self.meter, backlog, pace, self.turns.call_soon)

    def prediction(self, tenant: str = "team") -> Prediction:
        facts = RequestFacts()
        raw = RawPrediction(around(50), PredictionSource.TIER0, NO_FEATURES)
        corrected = self.learner.correct(tenant, "m", raw, facts, 0.0)
        distribution = LengthDistribution.of(corrected.log_quantiles, 1, 4_000, None)
        learning = Learning(self.learner, raw, corrected, facts)
        return Prediction(
            tenant, "m", corrected.source, distribution, distribution.quantile(0.5), learning
        )

    def finish(self, count: int = 1, tokens: int = 20, tenant: str = "team") -> None:
        for _ in range(count):
            self.answers.add(FinishedAnswer(self.prediction(tenant), tokens, censored=False))

    def known(self, tenant: str = "team") -> int:
        return self.learner.statistics(tenant, "m").answers


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_nothing_is_learned_in_the_call_that_finishes_a_request(bench: Bench) -> None:
    bench.finish()
    assert (bench.known(), bench.answers.pending) == (0, 1)
    bench.turns.turn()
    assert (bench.known(), bench.answers.pending) == (1, 0)
    assert bench.turns.due == []


def test_a_burst_is_learned_from_over_several_turns(bench: Bench) -> None:
    bench.finish(9)
    assert len(bench.turns.due) == 1
    turns = 0
    while bench.turns.due:
        before = bench.known()
        bench.turns.turn()
        assert bench.known() - before <= 2
        turns += 1
    assert (bench.known(), turns) == (9, 5)
    assert bench.meter.lessons == {"learned": 9, "not_learned": 0, "spared": 0}


def test_what_there_is_no_room_for_is_counted() -> None:
    bench = Bench(backlog=3)
    bench.finish(5)
    assert bench.answers.pending == 3
    assert bench.meter.lessons["not_learned"] == 2


def test_answers_move_the_next_prediction_of_their_tenant_alone(bench: Bench) -> None:
    before = bench.prediction().median
    bench.finish(200, tokens=400)
    bench.answers.finish()
    assert bench.prediction().median > 4 * before
    assert bench.prediction("another").median == pytest.approx(before)


def test_a_pause_keeps_what_was_learned_as_it_is(bench: Bench) -> None:
    bench.finish()
    bench.answers.pause()
    bench.finish()
    bench.turns.turn()
    assert (bench.known(), bench.answers.pending, bench.turns.due) == (0, 2, [])
    bench.answers.resume()
    bench.turns.turn()
    assert bench.known() == 2


def test_resuming_with_nothing_to_do_takes_no_turn(bench: Bench) -> None:
    bench.answers.pause()
    bench.answers.resume()
    assert bench.turns.due == []


def test_a_prediction_that_teaches_nothing_is_left_out(bench: Bench) -> None:
    known = bench.prediction()
    silent = Prediction(known.tenant, "m", known.source, known.distribution, known.median, None)
    bench.answers.add(FinishedAnswer(silent, 5, censored=False))
    assert bench.answers.pending == 0


def test_a_defect_costs_one_lesson(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ValueError("secret")

    bench.finish(3)
    with monkeypatch.context() as patch, capture_logs() as logs:
        patch.setattr("alise_predictor.online.OnlineLearner.observe", broken)
        bench.turns.turn()
    bench.answers.finish()
    assert bench.meter.lessons == {"learned": 1, "not_learned": 2, "spared": 0}
    assert [line["event"] for line in logs] == ["learning_failed"]
    assert "secret" not in repr(logs)


def test_what_others_have_taught_is_spared_and_counted() -> None:
    bench = Bench(backlog=10_000, per_second=10)
    bench.finish(100)
    while bench.turns.due:
        bench.turns.turn()

    assert bench.meter.lessons["spared"] == 100 - bench.known() > 0
    bench.clock.advance(60)
    before = bench.known()
    bench.finish(5)
    bench.turns.turn()
    assert bench.known() > before
