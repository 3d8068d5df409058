"""The queue's owner: events in, effects performed, one after another."""

import random
from math import log1p

from alise_core.outcome import Outcome
from alise_core.prediction import LEVELS, LengthDistribution
from alise_core.units import BackendName
from alise_gateway.domain.backend import Backend, BackendAddress, ProbeState
from alise_gateway.domain.breaker import BreakerLimits, CircuitBreaker
from alise_gateway.placement.picker import LeastOutstanding
from alise_gateway.queueing.controller import QueueController
from alise_gateway.queueing.events import Ticket
from alise_gateway.queueing.ordering import Fcfs
from alise_gateway.queueing.state import QueueLimits, QueueState
from fakes.clock import FakeClock


def backend(max_in_flight: int = 1) -> Backend:
    return Backend(
        BackendAddress(BackendName("b"), "h", 1),
        max_in_flight,
        CircuitBreaker(BreakerLimits(5, 5, 60)),
        probe=ProbeState.HEALTHY,
    )


class Client:
    """Submits one ticket and remembers what became of it."""

    def __init__(self, bench: "Bench", number: int) -> None:
        self.bench = bench
        self.ticket = Ticket(number, "m", self, float(bench.clock.now()))
        self.backend: Backend | None = None
        self.outcome: Outcome | None = None
        self.retry_after = 0.0
        self.fails_at_once = False

    def on_dispatched(self, backend: Backend) -> None:
        self.bench.log.append(f"{self.ticket.number} begins")
        self.backend = backend
        if self.fails_at_once:
            self.bench.queue.give_back(self.ticket)
        self.bench.log.append(f"{self.ticket.number} ends")

    def on_dropped(self, outcome: Outcome, retry_after_seconds: float) -> None:
        self.outcome = outcome
        self.retry_after = retry_after_seconds


class Bench:
    """A queue in front of some backends."""

    def __init__(self, *backends: Backend, max_waiting: int = 10) -> None:
        self.clock = FakeClock()
        self.log: list[str] = []
        state = QueueState(
            QueueLimits(max_waiting, 60), lambda _: backends, LeastOutstanding().pick, Fcfs
        )
        self.queue = QueueController(state, self.clock, random.Random(1))  # noqa: S311  jitter
        self.clients: list[Client] = []

    def submit(self, *, fails_at_once: bool = False) -> Client:
        client = Client(self, len(self.clients))
        client.fails_at_once = fails_at_once
        self.clients.append(client)
        self.queue.submit(client.ticket)
        self.queue.check()
        return client


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


def test_a_full_queue_refuses_with_a_jittered_time() -> None:
    bench = Bench(backend(), max_waiting=1)
    clients = [bench.submit() for _ in range(20)]
    refused = clients[2:]
    assert {client.outcome for client in refused} == {Outcome.REJECTED_SATURATED}
    waits = [client.retry_after for client in refused]
    assert all(1 <= wait <= 1.25 for wait in waits)
    assert len(set(waits)) > 10


def test_retry_after_grows_with_the_queue() -> None:
    bench = Bench(backend(), max_waiting=4)
    for _ in range(3):
        client = bench.submit()
        bench.clock.advance(2)
        bench.queue.finish(client.ticket)
    last = [bench.submit() for _ in range(6)][-1]
    assert 8 <= last.retry_after <= 10  # four wait, one is done every two seconds


def test_cancel_expire_and_shut_down() -> None:
    bench = Bench(backend(), max_waiting=10)
    clients = [bench.submit() for _ in range(4)]
    bench.queue.cancel(clients[1].ticket)
    assert bench.queue.waiting == 2
    bench.clock.advance(30)
    late = bench.submit()
    bench.clock.advance(31)
    bench.queue.tick()
    assert [client.outcome for client in clients[2:]] == [Outcome.EVICTED_TTL] * 2
    assert bench.queue.waiting == 1
    bench.queue.shut_down()
    assert late.outcome is Outcome.REJECTED_SHUTTING_DOWN
    assert clients[1].outcome is None
    bench.queue.check()


def test_without_backends() -> None:
    ill = backend()
    ill.probe = ProbeState.UNHEALTHY
    bench = Bench(ill)
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


def test_one_that_leaves_before_its_dispatch_is_performed_frees_the_backend() -> None:
    only = backend(2)
    bench = Bench(only)
    for _ in range(2):
        only.breaker.failed(0.0)

    class Leaver(Client):
        def on_dispatched(self, backend: Backend) -> None:
            super().on_dispatched(backend)
            bench.queue.cancel(self.ticket)

    leaver = Leaver(bench, 99)
    bench.queue.submit(leaver.ticket)
    assert bench.queue.in_flight == 0
    assert only.in_flight == 0
    bench.queue.check()


class LatestPrediction(Fcfs):
    """Remembers whose prediction was replaced."""

    def __init__(self) -> None:
        super().__init__()
        self.repredictions: list[int] = []

    def repredicted(self, ticket: Ticket) -> None:
        self.repredictions.append(ticket.number)


def test_an_ordering_is_told_of_better_predictions_for_those_who_wait() -> None:
    bench = Bench(backend())
    running, waiting = bench.submit(), bench.submit()
    ordering = LatestPrediction()
    ordering.add(waiting.ticket)
    bench.queue._state._orderings["m"] = ordering
    better = LengthDistribution.of([log1p(9)] * len(LEVELS), 1, 100, None)
    for client in (running, waiting):
        bench.queue.repredict(client.ticket, better)
    assert ordering.repredictions == [waiting.ticket.number]
    assert waiting.ticket.prediction is better
    assert running.ticket.prediction is None
    bench.queue.finish(running.ticket)
    assert waiting.backend is not None, "and is served as before"
    bench.queue.check()


def test_the_ordering_is_what_decides() -> None:
    fcfs = Fcfs()
    bench = Bench()
    one, two, three = (Client(bench, number).ticket for number in range(3))
    fcfs.add(one)
    fcfs.add(two)
    fcfs.restore(three)
    assert fcfs.next() is three
    assert fcfs.next([three]) is one
    assert fcfs.next([three, one, two]) is None
    assert len(fcfs) == 3
    fcfs.remove(one)
    assert [ticket.number for ticket in fcfs.expired(float("inf"))] == [2, 1]
    assert fcfs.expired(0.0) == []
