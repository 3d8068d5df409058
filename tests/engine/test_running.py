"""Which running request gives way first, found a part at a time."""

from dataclasses import dataclass, field
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from alise_vllm.ordering.order import RequestOrder
from alise_vllm.ordering.settings import OrderingSettings, changed
from alise_vllm.ordering.work import Work
from alise_vllm.running import LOOKED_AT, RunningRequests
from fakes.works import make


@dataclass(eq=False)
class Running:
    """A request that generates."""

    alise_work: Work
    num_output_tokens: int = 1
    priority: int = 0
    runs: bool = True
    max_tokens: int = 4_096
    num_prompt_tokens: int = 10
    sampling_params: None = field(default=None)


def subject(**changes: object) -> tuple[RequestOrder, RunningRequests[Running]]:
    order = RequestOrder(changed(OrderingSettings(), changes))
    return order, RunningRequests(order, lambda request: request.runs)


def running(p50: float | None, **fields: Any) -> Running:
    return Running(make(p50), **fields)


def anybody(request: Running) -> bool:
    return True


def look_round(found: RunningRequests[Running], requests: list[Running]) -> None:
    for _ in range(0, len(requests), LOOKED_AT):
        found.look(requests)


def test_the_worst_is_found_in_one_round_over_all_that_run() -> None:
    _, found = subject()
    requests = [running(100 + at) for at in range(3 * LOOKED_AT)]
    worst = requests[2 * LOOKED_AT + 5]
    worst.alise_work = make(3_000)

    found.look(requests)
    assert found.worst(anybody) is requests[LOOKED_AT - 1]
    found.look(requests)
    found.look(requests)

    assert found.worst(anybody) is worst
    assert found.worst(anybody) is worst, "asking takes nobody away"


def test_who_cannot_in_this_step_is_passed_and_stays() -> None:
    _, found = subject()
    requests = [running(tokens) for tokens in (300, 900, 600)]
    look_round(found, requests)

    assert found.worst(lambda request: request is not requests[1]) is requests[2]
    assert found.worst(lambda request: False) is None
    assert found.worst(anybody) is requests[1]


def test_who_has_ended_or_may_no_longer_is_left_out() -> None:
    _, found = subject(preemption_limit=0.8)
    requests = [running(tokens) for tokens in (300, 900, 600)]
    look_round(found, requests)
    requests[1].runs = False
    requests[2].num_output_tokens = 590

    assert found.worst(anybody) is requests[0]
    requests[0].runs = False
    assert found.worst(anybody) is None


def test_where_one_stands_follows_its_answer() -> None:
    _, found = subject(preemption_limit=1.0)
    long, other = running(3_000), running(1_000)
    look_round(found, [long, other])
    assert found.worst(anybody) is long

    long.num_output_tokens = 2_900
    look_round(found, [long, other])
    assert found.worst(anybody) is other


def test_nobody_gives_way_by_settings_that_no_longer_hold() -> None:
    order, found = subject()
    requests = [running(tokens) for tokens in (300, 900)]
    works = [request.alise_work for request in requests]
    look_round(found, requests)

    order.change(changed(order.settings, {"policy": "fcfs"}), works)
    look_round(found, requests)
    assert found.worst(anybody) is None

    order.change(changed(order.settings, {"policy": "mlfq"}), works)
    requests[0].num_output_tokens = 200
    look_round(found, requests)
    assert found.worst(anybody) is requests[0]


def test_whoever_runs_has_a_rank_for_when_memory_runs_out() -> None:
    _, found = subject()
    requests = [running(tokens) for tokens in (900, 300, 600)]
    requests.append(running(10))
    requests[-1].alise_work.rank = 1

    found.rank(requests)

    ranked = sorted(requests, key=lambda request: request.priority)
    forecasts = [request.alise_work.forecast for request in ranked]
    assert [forecast and forecast.p50 for forecast in forecasts] == [300, 600, 900, 10]


def test_a_request_that_the_order_never_met_is_left_alone() -> None:
    _, found = subject()
    stranger = running(100)
    del stranger.alise_work

    found.look([stranger])
    found.rank([stranger])

    assert stranger.priority == 0
    assert found.worst(anybody) is None


@given(
    st.lists(
        st.tuples(st.integers(0, 9), st.integers(20, 3_000), st.integers(0, 2)),
        min_size=1,
        max_size=60,
    ),
    st.integers(0, 2**32),
)
def test_after_a_round_it_is_who_a_search_of_all_finds(
    arrivals: list[tuple[int, int, int]], seed: int
) -> None:
    order, found = subject()
    requests: list[Running] = []
    for grow, p50, rank in arrivals:
        request = running(p50)
        request.alise_work.rank = rank
        requests.append(request)
        for number, each in enumerate(requests):
            each.num_output_tokens += grow * (number % 3)
        if (seed >> len(requests) % 32) & 1:
            requests.pop(seed % len(requests)).runs = False
        look_round(found, requests)

        able = []
        for each in requests:
            each.alise_work.generated = each.num_output_tokens
            if order.may_give_way(each.alise_work):
                able.append(each)
        worst = found.worst(anybody)
        best = max((each.alise_work.standing for each in able), default=None)
        assert (worst and worst.alise_work.standing) == best


def test_what_has_ended_is_not_kept() -> None:
    _, found = subject()
    for _ in range(1_000):
        requests = [running(500) for _ in range(4)]
        look_round(found, requests)
        for request in requests:
            request.runs = False

    assert len(found._heap) == len(found._counting) <= 100


def test_those_that_run_are_kept_when_entries_that_no_longer_count_are_cleared_out() -> None:
    _, found = subject()
    requests = [running(500 + 10 * number) for number in range(4)]
    for _ in range(100):
        for request in requests:
            request.alise_work.standing_until = 0  # where it stands is asked anew in every step
        look_round(found, requests)

        assert found.worst(anybody) is requests[-1]
    assert len(found._heap) <= 100
