"""Orderings: whom each puts before whom, and that nobody waits for ever."""

from itertools import pairwise
from math import exp, isfinite, log

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alise_core.policy import OrderingName, OrderingPolicy
from alise_gateway.domain.affinity import ToolUse
from alise_gateway.queueing.events import Ticket
from alise_gateway.queueing.orderings import Ordering, ordering_of
from alise_gateway.queueing.orderings.base import Load, aged
from alise_gateway.queueing.orderings.boost import Boost, head_start_seconds
from alise_gateway.queueing.orderings.cost import Cost
from alise_gateway.queueing.orderings.fcfs import Fcfs
from alise_gateway.queueing.orderings.rank import Rank
from alise_gateway.queueing.orderings.sjf import Sjf
from alise_gateway.queueing.orderings.tool_aware import ToolAware
from fakes.tickets import PREFILL_SECONDS, STEP_SECONDS, Asked, ticket, work

CALM = Load()
TOKENS = st.floats(1, 10_000)
GAMMAS = st.floats(1e-3, 10)


def order(ordering: Ordering, tickets: list[Ticket], load: Load = CALM) -> list[int]:
    return [t.number for t in sorted(tickets, key=lambda t: (ordering.rank(t, load), t.number))]


def by_arrival(tickets: list[Ticket]) -> list[int]:
    return [t.number for t in sorted(tickets, key=lambda t: (t.enqueued, t.number))]


def by_service(tickets: list[Ticket]) -> list[int]:
    return [t.number for t in sorted(tickets, key=lambda t: (t.work.service_seconds, t.number))]


def some(lengths: list[float], *, apart: float = 0.0) -> list[Ticket]:
    return [ticket(i, n, enqueued=100.0 + i * apart) for i, n in enumerate(lengths)]


@pytest.mark.parametrize("name", OrderingName)
def test_every_name_has_its_ordering(name: OrderingName) -> None:
    kinds = {
        OrderingName.FCFS: Fcfs,
        OrderingName.SJF: Sjf,
        OrderingName.RANK: Rank,
        OrderingName.COST: Cost,
        OrderingName.BOOST: Boost,
        OrderingName.TOOL_AWARE: ToolAware,
    }
    assert type(ordering_of(OrderingPolicy(name=name))) is kinds[name]


@given(st.lists(TOKENS, max_size=20))
def test_fcfs_is_by_arrival(lengths: list[float]) -> None:
    tickets = some(lengths, apart=0.25)
    assert order(Fcfs(), tickets[::-1]) == by_arrival(tickets)


@given(st.lists(TOKENS, max_size=20, unique=True))
def test_without_aging_sizes_decide(lengths: list[float]) -> None:
    tickets = some(lengths, apart=1_000.0)
    shortest_first = by_service(tickets)
    for ordering in (Sjf(), Cost(beta=0.2), ToolAware()):
        ranks = [ordering.rank(tickets[number], CALM) for number in shortest_first]
        assert ranks == sorted(ranks)


def test_rank_goes_by_the_median_alone() -> None:
    usually_short = ticket(0, 10, 10, 5_000, prompt_tokens=9_000)
    usually_longer = ticket(1, 5, 20, 20)
    assert usually_short.work.service_seconds > usually_longer.work.service_seconds
    assert order(Rank(), [usually_longer, usually_short]) == [0, 1]
    assert order(Sjf(), [usually_short, usually_longer]) == [1, 0]


@given(
    st.lists(st.tuples(st.floats(0, 3_600), TOKENS), min_size=2, max_size=10),
    st.floats(1, 600),
    st.floats(0, 7_200),
)
def test_aging_halves_the_size_with_every_half_life(
    arrivals: list[tuple[float, float]], half_life: float, later: float
) -> None:
    tickets = [ticket(i, n, enqueued=at) for i, (at, n) in enumerate(arrivals)]
    now = max(t.enqueued for t in tickets) + later
    ordering = Sjf(half_life)
    for first, second in pairwise(tickets):
        sizes = [
            log(t.work.service_seconds) - log(2) * (now - t.enqueued) / half_life
            for t in (first, second)
        ]
        ranks = [ordering.rank(t, CALM) for t in (first, second)]
        assert (ranks[0] - ranks[1]) * log(2) == pytest.approx(sizes[0] - sizes[1], abs=1e-6)


def test_an_aged_size_is_what_the_docstring_says() -> None:
    assert aged(8.0, 20.0, 10.0) - aged(2.0, 0.0, 10.0) == pytest.approx(4.0)
    assert aged(8.0, 20.0, None) == pytest.approx(3.0)


@pytest.mark.parametrize("waiting", [0, 5, 20, 30, 1_000])
def test_cost_is_the_expectation_and_the_tail_by_a_weight_that_rises_with_the_queue(
    waiting: int,
) -> None:
    asked = ticket(0, 10, 1_000, prompt_tokens=50)
    load = Load(waiting=waiting, in_flight=10)
    rank = Cost().rank(asked, load)
    beta = {0: 0.1, 5: 0.1, 20: 0.2, 30: 0.3, 1_000: 0.5}[waiting]
    size = asked.work.kv_token_seconds + beta * asked.work.tail_kv_token_seconds
    assert 2**rank == pytest.approx(size)
    assert Cost(beta=beta).rank(asked, CALM) == pytest.approx(rank)


def test_cost_puts_what_could_become_long_behind_what_is_as_long_on_average() -> None:
    sure, unsure = ticket(1, 100), ticket(0, 40, 130)
    assert unsure.work.kv_token_seconds == pytest.approx(sure.work.kv_token_seconds, rel=0.2)
    assert order(Cost(beta=5.0), [unsure, sure]) == [1, 0]


@given(TOKENS, GAMMAS)
def test_the_head_start_of_a_known_size_is_that_of_gamma_boost(tokens: float, gamma: float) -> None:
    seconds = PREFILL_SECONDS + STEP_SECONDS * tokens
    known = log(1 / (1 - exp(-gamma * seconds))) / gamma if gamma * seconds < 25 else 0.0
    assert head_start_seconds(ticket(0, tokens), gamma) == pytest.approx(known, abs=1e-6)


def test_the_head_start_of_an_unsure_size_is_by_its_exponential_mean() -> None:
    gamma = 0.3
    mean = sum(exp(gamma * (PREFILL_SECONDS + STEP_SECONDS * n)) for n in (10, 500)) / 2
    expected = log(mean / (mean - 1)) / gamma
    assert head_start_seconds(ticket(0, 10, 500), gamma) == pytest.approx(expected)


@given(TOKENS, TOKENS, GAMMAS)
def test_a_head_start_is_positive_and_falls_with_the_size(
    one: float, other: float, gamma: float
) -> None:
    starts = [head_start_seconds(ticket(0, n), gamma) for n in sorted((one, other))]
    assert starts[0] >= starts[1] > 0


@given(st.lists(TOKENS, max_size=20))
def test_a_large_gamma_is_first_come_first_served(lengths: list[float]) -> None:
    tickets = some(lengths, apart=1.0)
    assert order(Boost(gamma=1_000.0), tickets) == by_arrival(tickets)


@given(st.lists(TOKENS, max_size=20, unique_by=lambda n: round(n, 2)))
def test_a_small_gamma_is_shortest_job_first_for_what_comes_together(lengths: list[float]) -> None:
    tickets = some(lengths)
    assert order(Boost(gamma=1e-6), tickets) == by_service(tickets)


@given(TOKENS, TOKENS, GAMMAS)
def test_boost_is_overtaken_within_a_bounded_time_only(
    waiting: float, newcomer: float, gamma: float
) -> None:
    """Nobody starves: whoever comes later than any head start goes behind."""
    boost = Boost(gamma=gamma)
    first = boost.rank(ticket(0, waiting), CALM)
    bound = log(1 + 1 / (gamma * PREFILL_SECONDS)) / gamma
    assert boost.rank(ticket(1, newcomer, enqueued=bound + 1e-6), CALM) > first


@given(st.floats(0.1, 100), st.floats(0, 10_000), TOKENS, TOKENS)
def test_adapted_to_the_load_head_starts_are_worth_more_in_a_long_queue(
    service: float, wait: float, one: float, other: float
) -> None:
    boost = Boost(gamma_share=2.0)
    gamma = 2.0 / (10 * service + wait)
    load = Load(waiting=5, in_flight=5, service_seconds=service, wait_seconds=wait)
    for number, tokens in enumerate((one, other)):
        asked = ticket(number, tokens, enqueued=50.0)
        expected = 50.0 - head_start_seconds(asked, gamma)
        assert boost.rank(asked, load) == pytest.approx(expected)
    busier = Load(waiting=5, in_flight=5, service_seconds=service, wait_seconds=wait + 60.0)
    short = ticket(0, 1.0)
    assert boost.rank(short, busier) <= boost.rank(short, load)


@pytest.mark.parametrize("name", OrderingName)
@pytest.mark.parametrize("tokens", [0.0, 1e9, 1e18])
@pytest.mark.parametrize("load", [CALM, Load(10**9, 0, 0.0, 0.0), Load(1, 1, 1e9, 1e9)])
def test_absurd_requests_have_a_place_too(name: OrderingName, tokens: float, load: Load) -> None:
    tools = ToolUse(pause_seconds=1e9, return_tokens=1e9, continues=True)
    absurd = ticket(0, tokens, enqueued=1e9, prompt_tokens=tokens, asked=Asked(tools=tools))
    for gamma in (None, 1e-9, 1e9):
        policy = OrderingPolicy(name=name, gamma=gamma, aging_half_life_seconds=1.0)
        assert isfinite(ordering_of(policy).rank(absurd, load))


def test_a_request_without_work_has_a_place_in_every_order() -> None:
    nothing = Ticket(0, "m", ticket(0).listener, 5.0)
    for name in OrderingName:
        assert isfinite(ordering_of(OrderingPolicy(name=name)).rank(nothing, CALM))


def tool_user(pause: float, returned: float, *, continues: bool = False) -> Ticket:
    tools = ToolUse(pause, returned, continues)
    return ticket(0, 50, prompt_tokens=1_000, asked=Asked(tools=tools))


def test_tool_aware_without_tools_is_cost_without_the_tail() -> None:
    plain = ticket(0, 10, 400, prompt_tokens=200)
    assert ToolAware().rank(plain, CALM) == Cost(beta=0.0).rank(plain, CALM)


def test_a_tool_call_costs_the_cheaper_of_keeping_and_computing_again() -> None:
    own = work(50, prompt_tokens=1_000).kv_token_seconds
    context = 1_050
    brief, endless, longer = (
        2 ** ToolAware().rank(tool_user(pause, 100), CALM) for pause in (0.01, 3_600, 7_200)
    )
    assert brief == pytest.approx(own + 0.01 * context)
    again = PREFILL_SECONDS / 1_000 * (context + 100) * context
    assert endless == pytest.approx(own + again)
    assert longer == pytest.approx(endless)


def test_one_that_brings_a_result_goes_before_one_that_will_call() -> None:
    calls = ToolAware().rank(tool_user(1.0, 100), CALM)
    assert ToolAware().rank(tool_user(1.0, 100, continues=True), CALM) < calls


@pytest.mark.parametrize("kind", [Sjf, Rank, lambda h: Cost(0.3, h), ToolAware])
def test_whoever_ages_is_overtaken_within_a_bounded_time_only(kind: type[Sjf]) -> None:
    ordering = kind(10.0)
    long, short = ticket(0, 8_000, prompt_tokens=500), ticket(1, 1, enqueued=600.0)
    assert ordering.rank(long, CALM) < ordering.rank(short, CALM)
    assert ordering.rank(long, CALM) > ordering.rank(ticket(1, 1), CALM)
