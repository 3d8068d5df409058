"""Writes happen exactly when something differs."""

from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from alise_cluster.client import ClusterClient
from alise_cluster.errors import ApiError
from alise_cluster.events import EventRecorder
from alise_cluster.resources import EVENTS, RawObject, resource_of
from alise_core.crds.names import Kind
from alise_operator.act.status import StatusWriter
from alise_operator.decide.announcements import Announcement, EventType
from alise_operator.decide.scope import WorkKey
from alise_operator.decide.status import Verdict
from alise_operator.metrics import OperatorMetrics
from fakes.api_server import FakeApiServer
from fakes.clock import FakeClock
from fakes.custom_objects import a_pool

POOLS = resource_of(Kind.MODEL_POOL)
KEY = WorkKey(Kind.MODEL_POOL, "ns", "chat")
HOLD = 300


class Bench:
    """A writer and what it sends."""

    def __init__(self, server: FakeApiServer, client: ClusterClient, clock: FakeClock) -> None:
        self.server = server
        self.recorder = EventRecorder(client, "alise-operator", "op-0", clock)
        self.metrics = OperatorMetrics(CollectorRegistry())
        self.writer = StatusWriter(client, self.recorder, self.metrics, clock, HOLD)

    def now(self) -> RawObject:
        return self.server.read(POOLS, "chat")

    def writes(self) -> int:
        return sum(it.verb == "patch" for it in self.server.asked)

    async def write(self, seen: RawObject, *news: Announcement, **status: Any) -> bool:
        return await self.writer.write(KEY, seen, lambda raw: Verdict(status, news))


@pytest.fixture
def bench(server: FakeApiServer, client: ClusterClient, clock: FakeClock) -> Bench:
    server.put(POOLS, a_pool())
    return Bench(server, client, clock)


async def test_a_status_is_written_once(bench: Bench) -> None:
    for _ in range(5):
        await bench.write(bench.now(), endpointsReady="1/2", models=["m"])

    assert bench.now()["status"] == {"endpointsReady": "1/2", "models": ["m"]}
    assert bench.writes() == 1
    assert bench.metrics.status_writes.labels("ModelPool")._value.get() == 1


async def test_only_what_differs_is_sent_and_what_is_not_ours_stays(bench: Bench) -> None:
    bench.server.put(POOLS, a_pool() | {"status": {"models": ["m"], "foreign": {"a": 1}}})

    await bench.write(bench.now(), models=["m"], endpointsReady="1/1", kvCapacityTokens=None)

    assert bench.now()["status"] == {
        "models": ["m"],
        "foreign": {"a": 1},
        "endpointsReady": "1/1",
    }


async def test_a_copy_that_lags_behind_our_own_write_is_not_written_again(bench: Bench) -> None:
    seen = bench.now()

    assert await bench.write(seen, endpointsReady="1/2")
    assert not await bench.write(seen, endpointsReady="1/2")

    assert bench.writes() == 1


async def test_a_copy_that_lags_behind_another_writer_is_decided_anew(bench: Bench) -> None:
    seen = bench.now()
    bench.server.put(POOLS, a_pool() | {"status": {"endpointsReady": "0/1"}})
    asked: list[object] = []

    def decide(raw: RawObject) -> Verdict:
        asked.append(raw.get("status"))
        return Verdict({"endpointsReady": "1/1"})

    assert await bench.writer.write(KEY, seen, decide)

    assert asked == [None, {"endpointsReady": "0/1"}]
    assert bench.now()["status"] == {"endpointsReady": "1/1"}


async def test_a_status_that_does_not_hold_is_no_loop(bench: Bench, clock: FakeClock) -> None:
    for _ in range(20):
        await bench.write(bench.now(), endpointsReady="1/2")
        bench.server.put(POOLS, a_pool() | {"status": {"endpointsReady": "lies"}})
    assert bench.writes() == 1

    clock.advance(HOLD)
    await bench.write(bench.now(), endpointsReady="1/2")
    assert bench.writes() == 2


async def test_something_else_to_say_does_not_wait(bench: Bench) -> None:
    await bench.write(bench.now(), endpointsReady="1/2")
    bench.server.put(POOLS, a_pool() | {"status": {"endpointsReady": "lies"}})

    assert await bench.write(bench.now(), endpointsReady="2/2")


async def test_an_object_that_was_made_anew_is_another_one(bench: Bench) -> None:
    await bench.write(bench.now(), endpointsReady="1/2")
    bench.server.remove(POOLS, "chat")
    anew = a_pool()
    anew["metadata"]["uid"] = "another"
    bench.server.put(POOLS, anew)

    assert await bench.write(bench.now(), endpointsReady="1/2")


async def test_an_object_that_is_gone_is_nobodys_fault(bench: Bench) -> None:
    seen = bench.now()
    bench.server.remove(POOLS, "chat")

    assert not await bench.write(seen, endpointsReady="1/2")


async def test_a_refusal_is_told(bench: Bench) -> None:
    bench.server.forbidden.add(("patch", "modelpools.alise.dev/status"))

    with pytest.raises(ApiError, match="403"):
        await bench.write(bench.now(), endpointsReady="1/2")

    bench.server.forbidden.clear()
    assert await bench.write(bench.now(), endpointsReady="1/2")


async def test_events_are_told_when_the_status_is_written_and_only_then(bench: Bench) -> None:
    news = Announcement(EventType.WARNING, "Invalid", "spec.x: wrong")

    for _ in range(3):
        await bench.write(bench.now(), news, endpointsReady="1/2")
    await bench.recorder.flush()

    (event,) = bench.server.all(EVENTS)
    assert (event["type"], event["reason"], event["message"]) == (
        "Warning",
        "Invalid",
        "spec.x: wrong",
    )
    assert event["involvedObject"] == {
        "apiVersion": "alise.dev/v1alpha1",
        "kind": "ModelPool",
        "namespace": "ns",
        "name": "chat",
        "uid": "uid-chat",
    }
    assert bench.metrics.events.labels("Warning")._value.get() == 1


async def test_forgetting_lets_the_same_be_written_again(bench: Bench) -> None:
    await bench.write(bench.now(), endpointsReady="1/2")
    bench.writer.forget(KEY)
    bench.server.put(POOLS, a_pool() | {"status": {}})

    assert await bench.write(bench.now(), endpointsReady="1/2")
