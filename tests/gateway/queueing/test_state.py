"""What the queue refuses, whom it holds back, and who goes past whom."""

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alise_core.outcome import Outcome
from alise_core.service_class import ServiceClass
from alise_gateway.domain.backend import ProbeState
from alise_gateway.domain.drop_reason import DropReason
from alise_gateway.queueing.events import ServedTokens
from fakes.queue_bench import Bench, backend, exactly, limited, policy

# Limits


def test_a_full_class_refuses_and_others_do_not() -> None:
    bench = Bench(backend(), obeying=policy(max_in_class=1))
    bench.submit()
    assert bench.submit().waits
    full = bench.submit()
    assert (full.outcome, full.reason) == (Outcome.REJECTED_SATURATED, DropReason.CLASS_FULL)
    assert bench.submit(service_class=ServiceClass.BATCH).waits


def test_a_class_is_full_over_all_models() -> None:
    bench = Bench(backend(), obeying=policy(max_in_class=1), elsewhere=[backend(name="n")])
    for model in ("m", "n"):
        bench.submit(model)
    assert bench.submit("m").waits
    assert bench.submit("n").reason is DropReason.CLASS_FULL


def test_a_tenants_part_of_the_queue_is_full() -> None:
    bench = Bench(backend())
    tenant = limited(max_waiting=1)
    bench.submit()
    assert bench.submit(tenant=tenant).waits
    full = bench.submit(tenant=tenant)
    assert full.outcome is Outcome.REJECTED_SATURATED
    assert full.reason is DropReason.TENANT_QUEUE_FULL
    assert bench.submit().waits


def test_requests_a_minute() -> None:
    bench = Bench(backend(9))
    tenant = limited(requests_per_minute=2)
    assert [bench.submit(tenant=tenant).outcome for _ in range(2)] == [None, None]
    refused = bench.submit(tenant=tenant)
    assert (refused.outcome, refused.reason) == (
        Outcome.REJECTED_RATE_LIMITED,
        DropReason.REQUEST_RATE,
    )
    assert 30 <= refused.retry_after <= 30 * 1.25
    assert bench.submit().outcome is None, "others are not concerned"
    bench.clock.advance(refused.retry_after)
    assert bench.submit(tenant=tenant).outcome is None


def test_tokens_a_minute_are_put_right_in_the_end() -> None:
    bench = Bench(backend(9))
    tenant = limited(tokens_per_minute=600)
    wish: dict[str, Any] = {"tenant": tenant, "prompt_tokens": 100, "prediction": exactly(300)}
    first = bench.submit(**wish)
    refused = bench.submit(**wish)
    assert refused.reason is DropReason.TOKEN_RATE
    assert 20 <= refused.retry_after <= 20 * 1.25
    bench.finish(first, ServedTokens(100, 50))
    assert bench.submit(**wish).outcome is None


def test_a_rate_limit_says_at_most_ten_minutes_and_at_least_a_second() -> None:
    bench = Bench(backend(9))
    debtor, hasty = limited("debtor", tokens_per_minute=60), limited(requests_per_minute=600)
    bench.finish(bench.submit(tenant=debtor), ServedTokens(0, 10**6))
    assert 600 <= bench.submit(tenant=debtor, prompt_tokens=1).retry_after <= 750
    hurried = [bench.submit(tenant=hasty) for _ in range(601)]
    assert hurried[-1].reason is DropReason.REQUEST_RATE
    assert 1 <= hurried[-1].retry_after <= 1.25


@pytest.mark.parametrize(
    "ending", ["queue full", "cancelled", "no backends left", "too late", "every backend failed"]
)
def test_tokens_are_given_back_to_who_was_not_served(ending: str) -> None:
    only = backend()
    bench = Bench(
        only, obeying=policy(max_waiting=0 if ending == "queue full" else 1, ttl_seconds=5)
    )
    wish: dict[str, Any] = {"tenant": limited(tokens_per_minute=100), "prompt_tokens": 90}
    if ending == "every backend failed":
        unserved = bench.submit(fails_at_once=True, **wish)
    else:
        running = bench.submit()
        unserved = bench.submit(**wish)
        if ending == "cancelled":
            bench.queue.cancel(unserved.ticket)
        if ending == "no backends left":
            only.probe = ProbeState.DRAINING
        bench.tick(6)
        only.probe = ProbeState.HEALTHY
        bench.finish(running)
    assert (unserved.outcome is None) == (ending == "cancelled")
    assert (bench.queue.waiting, bench.queue.in_flight) == (0, 0)
    assert bench.submit(**wish).backend is only


def test_a_better_prediction_is_charged_and_given_back_as_it_stands() -> None:
    """A tenant gains no tokens by waiting until more is predicted, and being dropped then."""
    bench = Bench(backend())
    tenant = limited(tokens_per_minute=1_000)
    bench.submit()
    waiting = bench.submit(tenant=tenant, prediction=exactly(10))
    spender = bench.submit(tenant=tenant, prediction=exactly(900))
    bench.queue.repredict(waiting.ticket, exactly(900))
    bench.queue.cancel(waiting.ticket)
    assert spender.waits
    assert bench.submit(tenant=tenant, prediction=exactly(200)).reason is DropReason.TOKEN_RATE
    assert bench.submit(tenant=tenant, prediction=exactly(90)).waits


def test_a_tenant_with_enough_in_flight_is_held_back_and_others_go() -> None:
    bench = Bench(backend(9))
    tenant = limited(max_in_flight=1)
    first, held = bench.submit(tenant=tenant), bench.submit(tenant=tenant)
    assert held.waits
    assert bench.submit().backend is not None
    bench.finish(first)
    assert held.backend is not None


def test_a_tenant_is_let_go_on_wherever_there_is_room() -> None:
    """What ended was on another backend, of another model."""
    bench = Bench(backend(), elsewhere=[backend(name="n")])
    tenant = limited(max_in_flight=1)
    first, held = bench.submit("m", tenant=tenant), bench.submit("n", tenant=tenant)
    assert held.waits
    bench.finish(first)
    assert held.backend is not None


def test_nobody_needs_a_place_in_the_queue_to_go_at_once() -> None:
    """The queue is full of requests that their tenant's limit holds back."""
    bench = Bench(backend(9), obeying=policy(max_waiting=2))
    tenant = limited(max_in_flight=1)
    for _ in range(3):
        bench.submit(tenant=tenant)
    assert bench.queue.waiting == 2
    assert bench.submit(deadline=bench.clock.now()).backend is not None
    assert bench.submit(tenant=tenant).reason is DropReason.QUEUE_FULL
    assert bench.queue.waiting == 2


# Classes


def test_a_better_class_takes_the_place_of_a_worse_one() -> None:
    bench = Bench(backend(), obeying=policy(max_waiting=2))
    bench.submit()
    early = bench.submit(service_class=ServiceClass.FLEX)
    late = bench.submit(service_class=ServiceClass.FLEX)
    assert bench.submit(service_class=ServiceClass.FLEX).reason is DropReason.QUEUE_FULL
    better = bench.submit(service_class=ServiceClass.PRIORITY)
    assert better.waits
    assert early.waits
    assert (late.outcome, late.reason) == (Outcome.EVICTED_PRIORITY, DropReason.SHED)
    assert late.retry_after >= 1
    bench.finish(bench.clients[0])
    assert better.backend is not None


def test_the_place_may_be_one_in_another_models_line() -> None:
    bench = Bench(backend(), obeying=policy(max_waiting=2), elsewhere=[backend(name="n")])
    for model in ("m", "n"):
        bench.submit(model)
    batch = bench.submit("n", service_class=ServiceClass.BATCH)
    flex = bench.submit("m", service_class=ServiceClass.FLEX)
    assert bench.submit("m", service_class=ServiceClass.PRIORITY).waits
    assert batch.reason is DropReason.SHED, "the worst class gives its place, whatever its model"
    assert flex.waits


# Deadlines


def test_a_deadline_that_cannot_be_met_is_refused_at_once() -> None:
    bench = Bench(backend())
    slow = exactly(1_000)
    for _ in range(3):
        bench.submit(prediction=slow)
    needed = 2 * bench.clients[1].ticket.work.service_seconds
    now = bench.clock.now()
    refused = bench.submit(prediction=slow, deadline=now + 0.9 * needed)
    assert refused.outcome is Outcome.REJECTED_SATURATED
    assert refused.reason is DropReason.DEADLINE
    assert refused.retry_after >= needed
    assert bench.submit(prediction=slow, deadline=now + 1.1 * needed).waits


def test_a_deadline_that_passes_while_it_waits() -> None:
    bench = Bench(backend())
    bench.submit()
    now = bench.clock.now()
    later, sooner = bench.submit(deadline=now + 9), bench.submit(deadline=now + 5)
    patient = bench.submit()
    bench.tick(4.9)
    assert sooner.waits
    bench.tick(0.2)
    assert (sooner.outcome, sooner.reason) == (Outcome.EVICTED_TTL, DropReason.DEADLINE)
    assert later.waits
    bench.finish(bench.clients[0])
    bench.tick(5)
    assert later.backend is not None
    assert later.outcome is None, "it was in time"
    assert patient.waits


# When to come back


def test_retry_after_grows_with_the_queue() -> None:
    bench = Bench(backend(), obeying=policy(max_waiting=4))
    wish: dict[str, Any] = {"prediction": exactly(200)}
    bench.submit(**wish)
    for _ in range(4):
        bench.submit(**wish)
    last = bench.submit(**wish)
    alone = last.ticket.work.service_seconds
    assert 5 * alone <= last.retry_after <= 5 * 1.25 * alone


@pytest.mark.slow
@settings(max_examples=40)
@given(
    st.lists(st.tuples(st.integers(0, 2_000), st.sampled_from(ServiceClass)), max_size=12),
    st.integers(0, 2_000),
    st.sampled_from(ServiceClass),
)
def test_retry_after_is_monotone_in_what_is_ahead(
    crowd: list[tuple[int, ServiceClass]], tokens: int, item: ServiceClass
) -> None:
    """More that waits never means to come back sooner; what is of a worse class does not count."""

    def told(ahead: list[tuple[int, ServiceClass]]) -> float:
        bench = Bench(backend())
        bench.queue._jitter = NoJitter()
        bench.submit()
        for length, its in ahead:
            bench.submit(prediction=exactly(length), service_class=its)
        passed = bench.clock.now() - 1
        refused = bench.submit(prediction=exactly(tokens), service_class=item, deadline=passed)
        assert refused.reason is DropReason.DEADLINE
        assert 1 <= refused.retry_after <= 600
        return refused.retry_after

    crowd = crowd[:10]
    waits = [told(crowd[:count]) for count in range(len(crowd) + 1)]
    assert waits == sorted(waits)
    assert told([one for one in crowd if one[1].rank <= item.rank]) == pytest.approx(waits[-1])


class NoJitter(random.Random):
    """Tells the times as the queue computes them."""

    def random(self) -> float:
        return 0.0


# What does not fit


def test_the_smaller_pass_what_does_not_fit_but_not_for_ever() -> None:
    """A head that needs the whole memory: sixteen go past it, then the room is kept for it."""
    only = backend(8, capacity=100)
    bench = Bench(only, obeying=policy(max_waiting=99, backfill=2))
    running = [bench.submit(prompt_tokens=50), bench.submit(prompt_tokens=40)]
    large = bench.submit(prompt_tokens=90)
    assert large.waits
    small = [bench.submit(prompt_tokens=40) for _ in range(30)]
    for _ in range(30):
        if sum(client.backend is not None for client in small) == 16:
            break
        bench.finish(running.pop())
        running += [it for it in small if it.ticket.backend is not None and it not in running]
    assert large.ticket.passed == 16
    for client in [*running, *small]:
        if client.ticket.backend is not None and large.backend is None:
            bench.finish(client)
    assert large.backend is only
    assert sum(client.backend is not None for client in small) == 16


def test_without_backfill_nobody_passes() -> None:
    bench = Bench(backend(8, capacity=100), obeying=policy(backfill=0))
    bench.submit(prompt_tokens=50)
    assert bench.submit(prompt_tokens=90).waits
    assert bench.submit(prompt_tokens=10).waits


def test_what_leaves_makes_room_for_those_that_stood_behind_it() -> None:
    bench = Bench(backend(8, capacity=100), obeying=policy(backfill=0))
    bench.submit(prompt_tokens=50)
    large, small = bench.submit(prompt_tokens=90), bench.submit(prompt_tokens=10)
    last = bench.submit(prompt_tokens=90)
    bench.queue.cancel(last.ticket)
    assert small.waits, "nobody stood behind the last one"
    bench.queue.cancel(large.ticket)
    assert small.backend is not None


def test_news_of_one_backend_are_looked_at_there() -> None:
    one, other = backend(name="one"), backend(name="other")
    bench = Bench(one, other, obeying=policy())
    for _ in range(2):
        bench.submit()
    waiting = bench.submit()
    one.max_in_flight = other.max_in_flight = 2
    bench.queue.backends_changed(other)
    assert waiting.backend is other


def test_so_many_behind_it_are_tried() -> None:
    bench = Bench(backend(8, capacity=100), obeying=policy(backfill=2))
    bench.submit(prompt_tokens=50)
    for _ in range(2):
        bench.submit(prompt_tokens=90)
    assert bench.submit(prompt_tokens=10).backend is not None
    bench.submit(prompt_tokens=90)
    assert bench.submit(prompt_tokens=10).waits


def test_what_failed_a_request_is_free_for_the_others() -> None:
    one, other = backend(name="one"), backend(name="other")
    bench = Bench(one, other, obeying=policy(backfill=0))
    unlucky, running = bench.submit(), bench.submit()
    bench.queue.give_back(unlucky.ticket)
    assert unlucky.waits
    assert bench.submit().backend is one
    bench.finish(running)
    assert unlucky.backend is other


# Ticks


def test_a_tick_finds_every_idle_backend() -> None:
    """Nothing is said of it when a breaker's time is over."""
    backends = [backend(name=f"b{number}") for number in range(60)]
    bench = Bench(*backends, obeying=policy(max_waiting=99))
    for made in backends[1:]:
        made.removed = True
    waiting = [bench.submit() for _ in range(4)]
    for made in backends[17:20]:
        made.removed = False
    bench.tick(0.1)
    assert [client.backend for client in waiting[1:]] == backends[17:20]


def test_ticks_come_round_to_every_backend() -> None:
    backends = [backend(name=f"b{number}") for number in range(200)]
    bench = Bench(*backends, obeying=policy(max_waiting=99))
    for _ in backends:
        bench.submit()
    waiting = bench.submit()
    backends[123].max_in_flight = 2
    ticks = 0
    while waiting.waits:
        bench.tick(0.1)
        ticks += 1
    assert waiting.backend is backends[123]
    assert ticks <= 200
