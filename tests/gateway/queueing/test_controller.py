"""The queue's owner: events in, effects performed, one after another."""

from dataclasses import replace

import pytest

from alise_core.outcome import Outcome
from alise_core.policy import OrderingName, OrderingPolicy
from alise_core.service_class import ServiceClass
from alise_gateway.domain.backend import ProbeState
from alise_gateway.domain.drop_reason import DropReason
from fakes.queue_bench import Bench, backend, exactly, limited, policy


def test_dispatch_wait_and_finish() -> None:
    bench = Bench(backend())
    first, _ = bench.submit(), bench.submit()
    assert bench.log == ["0 begins", "0 ends"]
    assert (bench.queue.waiting, bench.queue.in_flight) == (1, 1)
    assert bench.queue.oldest_enqueued == bench.clock.now()
    bench.queue.finish(first.ticket)
    assert bench.log[2:] == ["1 begins", "1 ends"]
    bench.queue.check()


def test_events_caused_by_effects_come_after_them() -> None:
    bench = Bench(backend(), backend())
    client = bench.submit(fails_at_once=True)
    # Two backends, each fails at once; the second dispatch does not begin inside the first.
    assert bench.log == ["0 begins", "0 ends"] * 2
    assert client.outcome is Outcome.REJECTED_NO_BACKENDS
    assert bench.queue.in_flight == 0


def test_cancel_expire_and_shut_down() -> None:
    bench = Bench(backend())
    clients = [bench.submit() for _ in range(4)]
    bench.queue.cancel(clients[1].ticket)
    assert bench.queue.waiting == 2
    bench.clock.advance(30)
    late = bench.submit()
    bench.clock.advance(31)
    bench.queue.tick()
    assert [client.outcome for client in clients[2:]] == [Outcome.EVICTED_TTL] * 2
    assert {client.reason for client in clients[2:]} == {DropReason.TTL}
    assert bench.queue.waiting == 1
    bench.queue.shut_down()
    assert late.outcome is Outcome.REJECTED_SHUTTING_DOWN
    assert clients[1].outcome is None
    bench.queue.check()


def test_one_that_leaves_before_its_dispatch_is_performed_frees_the_backend() -> None:
    only = backend(2)
    for _ in range(5):
        only.breaker.failed(0.0)
    bench = Bench(only)
    leaver = bench.submit(leaves=True, tenant=limited(tokens_per_minute=100), prompt_tokens=90)
    assert leaver.backend is only
    assert (bench.queue.in_flight, only.in_flight) == (0, 0)
    assert bench.submit().backend is only, "the trial's place is free again"
    only.breaker.succeeded()
    again = bench.submit(tenant=limited(tokens_per_minute=100), prompt_tokens=90)
    assert again.backend is only, "and so are its tokens"


# Backends come and go


def test_without_backends() -> None:
    ill = backend()
    ill.probe = ProbeState.UNHEALTHY
    for bench in (Bench(ill), Bench()):
        client = bench.submit()
        assert client.outcome is Outcome.REJECTED_NO_BACKENDS
        assert client.retry_after >= 5


def test_those_who_wait_when_backends_vanish() -> None:
    only = backend()
    bench = Bench(only)
    bench.submit()
    patient, late = bench.submit(), bench.submit()
    only.probe = ProbeState.UNHEALTHY
    bench.queue.backends_changed()
    assert {patient.outcome, late.outcome} == {None}
    only.probe = ProbeState.HEALTHY
    only.max_in_flight = 2
    bench.queue.backends_changed()
    assert patient.backend is only
    only.probe = ProbeState.UNHEALTHY
    bench.clock.advance(61)
    bench.queue.tick()
    assert late.outcome is Outcome.REJECTED_NO_BACKENDS


def test_a_better_prediction_while_nobody_serves_the_model() -> None:
    bench = Bench(backend())
    bench.submit()
    waiting = bench.submit()
    served, bench.models["m"] = bench.models["m"], ()
    bench.queue.repredict(waiting.ticket, exactly(10))
    bench.queue.check()
    assert waiting.ticket.prediction is not None
    bench.models["m"] = served
    bench.finish(bench.clients[0])
    assert waiting.backend is not None


def test_a_better_prediction_is_for_those_who_wait() -> None:
    bench = Bench(backend())
    running, waiting = bench.submit(), bench.submit()
    better = exactly(9)
    for client in (running, waiting):
        bench.queue.repredict(client.ticket, better)
    assert waiting.ticket.prediction is better
    assert waiting.ticket.work.output_tokens == pytest.approx(9)
    assert running.ticket.prediction is None
    bench.finish(running)
    assert waiting.backend is not None, "and is served as before"


def test_one_that_comes_back_waits_before_its_like_and_keeps_its_deadline() -> None:
    one, other = backend(name="one"), backend(name="other")
    bench = Bench(one, other)
    deadline = bench.clock.now() + 20
    unlucky = bench.submit(deadline=deadline)
    running, waiting = bench.submit(), bench.submit()
    bench.queue.give_back(unlucky.ticket)
    assert (unlucky.waits, waiting.waits) == (True, False), "what failed it serves the others"
    third = bench.submit()
    bench.finish(running)
    assert (unlucky.waits, third.waits) == (False, True)
    again = bench.submit(deadline=deadline)
    bench.queue.give_back(unlucky.ticket)
    assert unlucky.outcome is Outcome.REJECTED_NO_BACKENDS
    assert third.backend is other
    bench.tick(21)
    assert again.reason is DropReason.DEADLINE


def test_one_that_comes_back_is_first_in_its_line_however_long_it_is() -> None:
    one, other = backend(name="one"), backend(name="other")
    shortest_first = OrderingPolicy(OrderingName.SJF, guard_seconds=1e6)
    bench = Bench(one, other, obeying=replace(policy(), ordering=shortest_first))
    unlucky, running = bench.submit(prediction=exactly(900)), bench.submit()
    bench.queue.give_back(unlucky.ticket)
    assert bench.submit().backend is one
    short = bench.submit(prediction=exactly(9))
    bench.finish(running)
    assert (unlucky.backend, short.waits) == (other, True)


def test_a_deadline_holds_for_one_that_came_back() -> None:
    one, other = backend(name="one"), backend(name="other")
    bench = Bench(one, other)
    unlucky = bench.submit(deadline=bench.clock.now() + 20)
    bench.submit()
    bench.queue.give_back(unlucky.ticket)
    assert unlucky.waits
    bench.tick(19)
    assert unlucky.waits
    bench.tick(1)
    assert (unlucky.outcome, unlucky.reason) == (Outcome.EVICTED_TTL, DropReason.DEADLINE)


def test_one_that_comes_back_does_not_pass_a_better_class() -> None:
    """Room appeared unseen: time passed and a breaker lets somebody through again."""
    one, other = backend(name="one"), backend(name="other")
    bench = Bench(one, other)
    flex = bench.submit(service_class=ServiceClass.FLEX)
    assert flex.backend is one
    for _ in range(5):
        other.breaker.failed(bench.clock.now())
    one.max_in_flight = 0
    better = bench.submit(service_class=ServiceClass.PRIORITY)
    assert better.waits
    bench.clock.advance(6)
    bench.queue.give_back(flex.ticket)
    assert better.backend is other
    assert flex.waits


# When to come back


def test_a_full_queue_refuses_with_a_jittered_time() -> None:
    bench = Bench(backend(), obeying=policy(max_waiting=1))
    clients = [bench.submit() for _ in range(20)]
    refused = clients[2:]
    assert {client.outcome for client in refused} == {Outcome.REJECTED_SATURATED}
    assert {client.reason for client in refused} == {DropReason.QUEUE_FULL}
    waits = [client.retry_after for client in refused]
    assert all(1 <= wait <= 1.25 for wait in waits)
    assert len(set(waits)) > 10
