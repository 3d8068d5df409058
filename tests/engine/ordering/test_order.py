import pytest

from alise_vllm.ordering.forecast import Forecast
from alise_vllm.ordering.hints import Hints
from alise_vllm.ordering.order import RequestOrder
from alise_vllm.ordering.policies import PolicyName
from alise_vllm.ordering.settings import OrderingSettings, changed
from alise_vllm.ordering.work import Work


def order(**changes: object) -> RequestOrder:
    return RequestOrder(changed(OrderingSettings(), changes))


def admitted(made: RequestOrder, p50: float | None, rank: int = 0, now: float = 0.0) -> Work:
    hints = Hints() if p50 is None else Hints(Forecast(p50, p50))
    return made.admit(hints, rank, 10, 4_096, now)


def test_a_request_s_own_class_is_taken_before_vllms_priority() -> None:
    made = order()

    assert made.admit(Hints(rank=2), 9, 10, 100, 0.0).rank == 2
    assert made.admit(Hints(), 9, 10, 100, 0.0).rank == 9


def test_what_is_said_of_no_use_and_what_is_not_said_are_counted() -> None:
    made = order()

    made.admit(Hints(ignored=2), 0, 10, 100, 0.0)
    made.admit(Hints(Forecast(10, 20)), 0, 10, 100, 0.0)

    state = made.state()
    assert state["ignored_hints_total"] == 2
    assert state["without_forecast_total"] == 1


def test_where_nobody_gave_way_only_the_cheaper_ask_again_for_some_steps() -> None:
    made = order()
    waiting, running = admitted(made, 500), admitted(made, 400)
    running.generated = 1
    made.begin_step(0.0)
    assert made.asks(waiting)

    assert not made.exchanges(waiting, running)
    assert not made.asks(waiting)
    assert not made.asks(admitted(made, 600))
    assert made.asks(admitted(made, 400))
    assert made.asks(admitted(made, 9_000, rank=-1))
    asked = []
    for step in range(1, 40):
        made.begin_step(step * 0.01)
        asked.append(made.asks(waiting))
        if asked[-1]:
            made.exchanges(waiting, None)
    assert [step for step, asks in enumerate(asked, 1) if asks] == [16, 32]


def test_nobody_is_asked_where_it_is_switched_off() -> None:
    for made in (order(policy="fcfs"), order(preemption_limit=0)):
        assert not made.asks(admitted(made, 5))


def test_who_gave_way_waits_anew_and_is_counted_against() -> None:
    made = order()
    work = admitted(made, 1_000)
    made.wait(work, 0.0)
    assert made.line.take() is work
    work.generated = 70

    made.gives_way(work)
    made.wait(work, 9.0)

    assert (work.preemptions, work.gave_way_at, work.waiting_since) == (1, 70, 9.0)


def test_tokens_that_were_found_again_are_told_from_those_computed_anew() -> None:
    made = order()

    made.resumed(100, 96)
    made.resumed(50, 64)

    state = made.state()
    assert (state["resumed_total"], state["restored_tokens_total"]) == (2, 146)
    assert state["recomputed_tokens_total"] == 4


def test_where_a_request_stands_is_forgotten_when_it_waits_or_the_policy_changes() -> None:
    made = order()
    work = admitted(made, 900)
    made.stand(work)
    assert work.standing_until

    made.change(changed(made.settings, {"policy": "fcfs"}), [work])
    assert not work.standing_until
    made.stand(work)
    assert work.standing == 0

    made.wait(work, 0.0)
    assert not work.standing_until


def test_the_state_shows_the_best_classes_and_the_others_together() -> None:
    made = order()
    for rank in range(40):
        made.wait(admitted(made, 10, rank), 0.0)

    shown = made.state()["waiting_by_class"]

    assert isinstance(shown, dict)
    assert shown["0"] == shown["15"] == 1
    assert shown["others"] == 24
    assert made.state()["waiting"] == 40


def test_other_settings_order_those_that_wait() -> None:
    made = order()
    long, short = admitted(made, 900), admitted(made, 9)
    for work in (long, short):
        made.wait(work, 0.0)
    assert made.line.first() is short

    made.change(changed(made.settings, {"policy": "fcfs"}), [long, short])

    assert made.line.first() is long
    assert made.settings.policy is PolicyName.FCFS


class Probe:
    """Knows the end of an answer, as a probe on hidden states would like to."""

    def __init__(self, length: int) -> None:
        self.p50 = float(length)

    def remaining(self, generated: int, most: int) -> float:
        return max(1.0, self.p50 - generated)

    def index(self, generated: int, most: int) -> float:
        return self.remaining(generated, most)


def test_a_probe_s_estimate_moves_a_request_that_waits() -> None:
    made = order()
    first, other, unknown = admitted(made, 100), admitted(made, 200), admitted(made, None)
    for work in (first, other, unknown):
        made.wait(work, 0.0)
    assert made.line.first() is first

    made.refine(other, Probe(20), 5.0)
    made.refine(unknown, Probe(10), 5.0)

    assert made.line.in_order() == [unknown, other, first]
    assert other.waiting_since == 0.0, "it has waited all the time"
    made.line.check()


def test_a_probe_s_estimate_counts_for_a_request_that_runs() -> None:
    made = order(preemption_limit=0.9)
    work = admitted(made, 1_000)
    work.generated = 100
    made.stand(work)
    before, left = work.standing, work.remaining_tokens()
    assert made.may_give_way(work)

    made.refine(work, Probe(120), 0.0)
    made.stand(work)

    assert work.remaining_tokens() == 20 < left
    assert made.may_give_way(work)
    assert work.standing < before
    made.refine(work, Probe(110), 0.0)
    assert not made.may_give_way(work), "its end is near"
    assert work not in made.line


def test_time_passing_promotes_and_the_engine_s_pace_is_seen() -> None:
    made = order(starvation_seconds=1.0, starvation_factor=0)
    made.wait(admitted(made, 900), 0.0)
    for step in range(300):
        made.begin_step(step * 0.005)
        made.end_step(step * 0.005, 2, 2)

    assert made.state()["promoted_total"] == 1
    assert made.state()["step_seconds"] == pytest.approx(0.005, rel=0.01)
    assert made.state()["steps_total"] == 300
