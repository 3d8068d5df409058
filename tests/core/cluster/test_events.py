"""Events are told without waiting, counted when they repeat, and thinned when they flood."""

import asyncio
import contextlib

import pytest

from alise_cluster.client import ClusterClient
from alise_cluster.event_book import BURST, FORGET_SECONDS, reference_to
from alise_cluster.events import MOST_WAITING, EventRecorder
from alise_cluster.resources import EVENTS
from fakes.api_server import FakeApiServer
from fakes.api_server_store import Refused
from fakes.clock import FakeClock

POOL = reference_to(
    "alise.dev/v1alpha1", "ModelPool", {"name": "chat", "namespace": "ns", "uid": "u1"}
)


@pytest.fixture
def recorder(client: ClusterClient, clock: FakeClock) -> EventRecorder:
    return EventRecorder(client, "alise-operator", "pod-1", clock)


async def test_an_event_is_told(server: FakeApiServer, recorder: EventRecorder) -> None:
    recorder.emit(POOL, "Warning", "NoEndpoints", "no pod matches")
    await recorder.flush()

    (event,) = server.all(EVENTS)
    assert event["involvedObject"] == {
        "apiVersion": "alise.dev/v1alpha1",
        "kind": "ModelPool",
        "namespace": "ns",
        "name": "chat",
        "uid": "u1",
    }
    assert (event["type"], event["reason"], event["message"], event["count"]) == (
        "Warning",
        "NoEndpoints",
        "no pod matches",
        1,
    )
    assert event["source"]["component"] == "alise-operator"
    assert event["lastTimestamp"] == "2025-06-15T15:06:40Z"


async def test_the_same_again_is_counted(
    server: FakeApiServer, recorder: EventRecorder, clock: FakeClock
) -> None:
    for _ in range(3):
        recorder.emit(POOL, "Normal", "Rolled", "done")
        await recorder.flush()
        clock.advance(10)

    (event,) = server.all(EVENTS)
    assert event["count"] == 3
    assert event["firstTimestamp"] != event["lastTimestamp"]

    clock.advance(FORGET_SECONDS)
    recorder.emit(POOL, "Normal", "Rolled", "done")
    await recorder.flush()
    assert [event["count"] for event in server.all(EVENTS)] == [3, 1]


async def test_one_that_the_server_has_forgotten_is_told_anew(
    server: FakeApiServer, recorder: EventRecorder
) -> None:
    recorder.emit(POOL, "Normal", "Rolled", "done")
    await recorder.flush()
    server.remove(EVENTS, server.all(EVENTS)[0]["metadata"]["name"])

    recorder.emit(POOL, "Normal", "Rolled", "done")
    await recorder.flush()

    assert [event["count"] for event in server.all(EVENTS)] == [2]


async def test_a_flood_about_one_object_is_thinned(
    server: FakeApiServer, recorder: EventRecorder, clock: FakeClock
) -> None:
    for number in range(100):
        recorder.emit(POOL, "Normal", "Rolled", f"step {number}")
    recorder.emit(POOL, "Warning", "Other", "another reason has its own share")
    await recorder.flush()

    assert len(server.all(EVENTS)) == BURST + 1
    assert recorder.dropped == 100 - BURST
    clock.advance(60)
    recorder.emit(POOL, "Normal", "Rolled", "later")
    await recorder.flush()
    assert len(server.all(EVENTS)) == BURST + 2


async def test_what_cannot_be_told_is_dropped_and_nobody_waits(
    server: FakeApiServer, recorder: EventRecorder
) -> None:
    server.failures = [Refused(403, "Forbidden", "no")]
    recorder.emit(POOL, "Normal", "A", "a")
    recorder.emit(POOL, "Normal", "B", "b")
    await recorder.flush()

    assert (recorder.sent, recorder.dropped) == (1, 1)
    for number in range(MOST_WAITING + 1):
        recorder.emit(reference_to("v1", "Pod", {"uid": str(number)}), "Normal", "A", "a")
    assert recorder.dropped == 2


async def test_it_sends_in_the_background(server: FakeApiServer, recorder: EventRecorder) -> None:
    running = asyncio.create_task(recorder.run())
    recorder.emit(POOL, "Normal", "A", "a")

    await server.until_asked("create", "events")

    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
