"""Each model's requests obey the policy of their model, and another one as soon as there is one."""

from dataclasses import replace
from typing import Any

import pytest

from alise_core.outcome import Outcome
from alise_core.policy import (
    ClassLimits,
    FairnessPolicy,
    OrderingName,
    OrderingPolicy,
    SchedulingPolicy,
)
from alise_core.service_class import ServiceClass
from alise_gateway.domain.drop_reason import DropReason
from alise_gateway.domain.policies import Policies
from fakes.queue_bench import ADMISSION, Bench, Client, backend, exactly, limited, policy

SJF = replace(policy(), ordering=OrderingPolicy(OrderingName.SJF, guard_seconds=1e6))


def obey(bench: Bench, default: SchedulingPolicy, **by_model: SchedulingPolicy) -> None:
    bench.queue.set_policies(Policies(default, by_model))
    bench.queue.check()


def served(bench: Bench, running: Client, waiting: list[Client]) -> list[int]:
    """In which order who waits is served."""
    order, left = [], list(waiting)
    while left:
        bench.finish(running)
        running = next(client for client in left if client.backend is not None)
        left.remove(running)
        order.append(waiting.index(running))
    return order


def waiting_of(bench: Bench, model: str, *lengths: float, **wish: Any) -> list[Client]:
    return [bench.submit(model, prediction=exactly(tokens), **wish) for tokens in lengths]


def test_each_model_has_its_own_order() -> None:
    bench = Bench(backend(), elsewhere=[backend(name="n")])
    obey(bench, policy(), n=SJF)
    first, other = bench.submit("m"), bench.submit("n")
    here, there = waiting_of(bench, "m", 30, 20, 10), waiting_of(bench, "n", 30, 20, 10)
    assert served(bench, first, here) == [0, 1, 2]
    assert served(bench, other, there) == [2, 1, 0]


def test_who_waits_is_ranked_anew() -> None:
    bench = Bench(backend())
    first = bench.submit()
    waiting = waiting_of(bench, "m", 30, 10, 20)
    obey(bench, policy(), m=SJF)
    assert bench.log == ["0 begins", "0 ends"], "order alone makes no room"
    assert served(bench, first, waiting) == [1, 2, 0]


def test_a_policy_that_goes_leaves_the_default() -> None:
    bench = Bench(backend())
    obey(bench, policy(), m=SJF)
    first = bench.submit()
    waiting = waiting_of(bench, "m", 30, 10, 20)
    obey(bench, policy())
    assert served(bench, first, waiting) == [0, 1, 2]


def test_the_guard_is_set_anew() -> None:
    bench = Bench(backend(), obeying=SJF)
    first = bench.submit()
    waiting = waiting_of(bench, "m", 5_000, 10)
    guarded = OrderingPolicy(OrderingName.SJF, guard_seconds=5, guard_factor=0)
    obey(bench, replace(SJF, ordering=guarded))
    bench.tick(6)
    assert served(bench, first, waiting) == [0, 1]


def test_who_had_its_turn_stays_first() -> None:
    only, other = backend(), backend(name="c")
    bench = Bench(only, other)
    runs = [bench.submit(prediction=exactly(9_000)), bench.submit()]
    waiting = waiting_of(bench, "m", 10)
    bench.queue.give_back(runs[0].ticket)
    obey(bench, SJF)
    freed = runs[1].backend
    short = bench.submit(prediction=exactly(1))
    assert waiting[0].backend is not freed, "it took what the first one had left"
    bench.finish(runs[1])
    assert runs[0].ticket.backend is freed
    assert short.waits


def test_nobody_goes_because_a_limit_shrank_but_newcomers_do() -> None:
    bench = Bench(backend())
    bench.submit()
    waiting = waiting_of(bench, "m", 10, 10, 10)
    obey(bench, policy(max_waiting=1))
    assert all(client.waits for client in waiting)
    assert bench.submit().reason is DropReason.QUEUE_FULL
    obey(bench, policy(max_waiting=10, max_in_class=2))
    assert bench.submit().reason is DropReason.CLASS_FULL
    obey(bench, policy())
    assert bench.submit().waits


def test_a_shorter_patience_holds_for_who_waits() -> None:
    bench = Bench(backend())
    bench.submit()
    late = bench.submit()
    bench.tick(20)
    obey(bench, policy(ttl_seconds=15))
    assert late.waits
    bench.tick(0.1)
    assert (late.outcome, late.reason) == (Outcome.EVICTED_TTL, DropReason.TTL)


def test_a_model_has_the_limits_of_its_policy_to_itself() -> None:
    bench = Bench(backend(), elsewhere=[backend(name="n")])
    obey(bench, policy(max_waiting=1), n=policy(max_waiting=2))
    bench.submit("m")
    bench.submit("n")
    assert [bench.submit(model).waits for model in ("n", "m", "n")] == [True, True, True]
    assert bench.submit("m").reason is bench.submit("n").reason is DropReason.QUEUE_FULL


def test_models_of_the_default_share_its_limits() -> None:
    bench = Bench(backend(), obeying=policy(max_waiting=1), elsewhere=[backend(name="n")])
    bench.submit("m")
    bench.submit("n")
    assert bench.submit("n").waits
    assert bench.submit("m").reason is DropReason.QUEUE_FULL


def test_a_better_class_takes_a_place_only_where_it_shares_the_limit() -> None:
    bench = Bench(backend(), elsewhere=[backend(name="n")])
    obey(bench, policy(max_waiting=1), n=policy(max_waiting=1))
    bench.submit("m")
    bench.submit("n")
    batch = bench.submit("n", service_class=ServiceClass.BATCH)
    full = bench.submit("m", service_class=ServiceClass.BATCH)
    better = bench.submit("m")
    assert better.waits
    assert full.reason is DropReason.SHED
    assert batch.waits


def test_tenants_stop_taking_turns_and_begin_again() -> None:
    alone = replace(policy(max_waiting=99), fairness=FairnessPolicy(enabled=False))
    fair = replace(alone, fairness=FairnessPolicy())
    bench = Bench(backend(), obeying=fair)
    first = bench.submit(tenant=limited("a"))
    waiting = [bench.submit(tenant=limited(name), prompt_tokens=10) for name in "aaaabb"]
    obey(bench, alone)
    assert served(bench, first, waiting[:2]) == [0, 1]
    obey(bench, fair)
    assert served(bench, waiting[1], waiting[2:]) == [0, 2, 1, 3]


def test_weights_of_tokens_change_while_requests_run() -> None:
    bench = Bench(backend(), obeying=replace(policy(), fairness=FairnessPolicy()))
    first = bench.submit(tenant=limited("a"), prompt_tokens=100)
    rest = [bench.submit(tenant=limited(name), prompt_tokens=100) for name in "aab"]
    obey(bench, replace(policy(), fairness=FairnessPolicy(input_weight=5)))
    assert served(bench, first, rest) == [2, 0, 1]


def test_a_new_trickle_counts_from_now() -> None:
    trickle = {
        **policy().classes,
        ServiceClass.BATCH: ClassLimits(ttl_seconds=60, trickle_share=0.5),
    }
    bench = Bench(backend())
    first = bench.submit()
    batch = bench.submit(service_class=ServiceClass.BATCH, prediction=exactly(10))
    better = waiting_of(bench, "m", *[100.0] * 3)
    obey(bench, replace(policy(), classes=trickle))
    assert served(bench, first, [batch, *better]).index(0) == 1


def test_an_unchanged_policy_ranks_nobody() -> None:
    bench = Bench(backend())
    bench.submit()
    waiting = waiting_of(bench, "m", 5, 4)
    for client in waiting:
        client.ticket.guard_at = -1.0  # would be set anew by a ranking
    obey(bench, policy())
    assert [client.ticket.guard_at for client in waiting] == [-1.0, -1.0]


def test_more_room_is_used_at_once() -> None:
    only = backend(9, capacity=100)
    bench = Bench(only)
    spread = exactly(60)
    bench.submit(prediction=spread)
    second = bench.submit(prediction=spread)
    assert second.waits
    only.admission.capacity_tokens = 1_000
    obey(bench, SJF)
    assert second.backend is only


@pytest.mark.parametrize(("served", "expected"), [(["n"], 0.9), (["m"], 0.5), (["m", "n"], 0.9)])
def test_a_backend_goes_by_the_first_of_its_models_with_a_policy(
    served: list[str], expected: float
) -> None:
    own = replace(policy(), admission=replace(ADMISSION, quantile=0.9, high_quantile=0.9))
    policies = Policies(policy(), {"n": own})
    assert policies.of_backend(served).admission.quantile == expected
