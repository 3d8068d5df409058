from dataclasses import dataclass, field

import pytest

from alise_core.errors import ConfigError
from alise_vllm.ordering.forecast import Forecast
from alise_vllm.ordering.hints import Hints
from alise_vllm.ordering.order import RequestOrder
from alise_vllm.ordering.settings import OrderingSettings, changed
from alise_vllm.ordering.work import Work
from alise_vllm.scheduler_part import SchedulerPart
from alise_vllm.tunable import Tunable


@dataclass
class FakeEngine:
    """The limits that vLLM's scheduler has."""

    max_num_running_reqs: int = 8
    max_num_active_reqs: int = 8
    works: list[Work] = field(default_factory=list)

    def alise_works(self) -> list[Work]:
        return self.works


def part(engine: FakeEngine, **changes: object) -> tuple[RequestOrder, Tunable]:
    order = RequestOrder(changed(OrderingSettings(), changes))
    return order, SchedulerPart(order, engine)


def test_it_shows_settings_as_they_are_in_the_engine() -> None:
    _, made = part(FakeEngine(max_num_active_reqs=5))

    assert made.name == "scheduler"
    settings = made.state()["settings"]
    assert isinstance(settings, dict)
    assert (settings["policy"], settings["max_active_requests"]) == ("gittins", 5)
    assert made.state()["preemptions_total"] == {"slot": 0, "memory": 0, "forced": 0}


def test_a_plan_changes_nothing_until_it_is_carried_out() -> None:
    engine = FakeEngine()
    order, made = part(engine)
    for p50 in (900, 9):
        engine.works.append(order.admit(Hints(Forecast(p50, p50)), 0, 10, 4_096, 0.0))
        order.wait(engine.works[-1], 0.0)

    carry_out = made.plan({"policy": "fcfs", "max_active_requests": 3, "margin": 0.25})
    assert order.line.first() is engine.works[1]
    assert engine.max_num_active_reqs == 8

    assert carry_out() == {
        "policy": ["gittins", "fcfs"],
        "max_active_requests": [8, 3],
        "margin": [0.5, 0.25],
    }
    assert order.line.first() is engine.works[0]
    assert engine.max_num_active_reqs == 3


def test_the_start_s_limit_is_set_and_has_to_suit_the_engine() -> None:
    engine = FakeEngine()
    part(engine, max_active_requests=2)
    assert engine.max_num_active_reqs == 2

    with pytest.raises(ConfigError, match="max_active_requests is 9 and the engine has 8 slots"):
        part(FakeEngine(), max_active_requests=9)


@pytest.mark.parametrize("changes", [{"policy": "best"}, {"max_active_requests": 9}, {"x": 1}])
def test_a_wrong_change_is_refused_whole(changes: dict[str, object]) -> None:
    order, made = part(FakeEngine())
    before = order.settings

    with pytest.raises(ConfigError):
        made.plan({"margin": 0.5, **changes})

    assert order.settings is before
