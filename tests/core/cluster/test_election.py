"""One leader at a time, found anew when it falls silent, whatever clocks say."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from alise_cluster.client import ClusterClient
from alise_cluster.election import LeaderElection
from alise_cluster.leases import LeaseDurations
from alise_cluster.pacing import Pacing
from alise_cluster.resources import LEASES
from fakes.api_server import FakeApiServer
from fakes.api_server_store import Refused
from fakes.clock import FakeClock


class Candidate:
    """One process that takes part, with a clock of its own."""

    def __init__(self, server: FakeApiServer, identity: str, unix: float = 1e9) -> None:
        self.clock = FakeClock(now=0, unix=unix)
        self.client = server.client(self.clock)
        self.told: list[bool] = []
        self.election = LeaderElection(
            self.client,
            "alise-operator",
            identity,
            clock=self.clock,
            pacing=Pacing(self._sleep, lambda: 0.0),
            on_change=self.told.append,
        )
        self.rounds = 0

    async def _sleep(self, seconds: float) -> None:
        self.rounds += 1
        self.clock.advance(seconds)
        await asyncio.sleep(0)

    async def attempt(self, after: float = 0.0) -> bool:
        self.clock.advance(after)
        await self.election.attempt()
        return self.election.is_leader


@pytest.fixture
async def pair(server: FakeApiServer) -> AsyncIterator[tuple[Candidate, Candidate]]:
    # Their wall clocks are days apart.
    first, second = Candidate(server, "first"), Candidate(server, "second", unix=2e9)
    yield first, second
    await first.client.close()
    await second.client.close()


async def test_the_first_one_leads_and_renews(
    server: FakeApiServer, pair: tuple[Candidate, Candidate]
) -> None:
    first, second = pair

    assert await first.attempt()
    assert not await second.attempt()
    began = server.read(LEASES, "alise-operator")["spec"]
    for _ in range(30):
        assert await first.attempt(2)
        assert not await second.attempt(2)

    spec = server.read(LEASES, "alise-operator")["spec"]
    assert (spec["holderIdentity"], spec["leaseDurationSeconds"]) == ("first", 15)
    assert spec["acquireTime"] == began["acquireTime"]
    assert spec["renewTime"] == "2001-09-09T01:47:40.000000Z"
    assert spec["leaseTransitions"] == 0
    assert second.election.holder == "first"
    assert first.told == [True]


async def test_a_silent_leader_is_replaced_after_the_lease_and_not_before(
    server: FakeApiServer, pair: tuple[Candidate, Candidate]
) -> None:
    first, second = pair
    assert await first.attempt()
    assert not await second.attempt()

    assert not await second.attempt(14.9)
    led_before = first.election.is_leader
    first.clock.advance(14.9)
    # It knows by itself, before others may take over.
    assert (led_before, first.election.is_leader) == (True, False)
    assert await second.attempt(0.2)

    assert server.read(LEASES, "alise-operator")["spec"]["leaseTransitions"] == 1
    assert not await first.attempt()
    assert first.told == [True, False]


async def test_a_lease_from_the_future_is_waited_for_no_longer_than_any(
    server: FakeApiServer, pair: tuple[Candidate, Candidate]
) -> None:
    first, _ = pair
    server.put(
        LEASES,
        {
            "metadata": {"name": "alise-operator"},
            "spec": {
                "holderIdentity": "gone",
                "leaseDurationSeconds": 15,
                "renewTime": "2999-01-01T00:00:00.000000Z",
            },
        },
    )

    assert not await first.attempt()
    assert not await first.attempt(14)
    assert await first.attempt(1)


async def test_a_leader_that_cannot_renew_steps_down(
    server: FakeApiServer, pair: tuple[Candidate, Candidate]
) -> None:
    first, _ = pair
    assert await first.attempt()

    server.failures = [Refused(500, "InternalError", "etcd is away")] * 2
    assert await first.attempt(5)
    assert not await first.attempt(5)
    assert first.told == [True, False]

    assert await first.attempt(1)
    assert first.told == [True, False, True]


async def test_of_two_that_are_equally_fast_one_wins(
    server: FakeApiServer, pair: tuple[Candidate, Candidate]
) -> None:
    leads = await asyncio.gather(*(candidate.attempt() for candidate in pair))
    assert sorted(leads) == [False, True]

    server.remove(LEASES, "alise-operator")
    leads = await asyncio.gather(*(candidate.attempt(20) for candidate in pair))
    assert sorted(leads) == [False, True]


async def test_a_leader_whose_lease_was_taken_notices(
    server: FakeApiServer, pair: tuple[Candidate, Candidate]
) -> None:
    first, _ = pair
    assert await first.attempt()
    lease = server.read(LEASES, "alise-operator")
    server.put(
        LEASES,
        {"metadata": lease["metadata"], "spec": {**lease["spec"], "holderIdentity": "thief"}},
    )

    assert not await first.attempt(2)
    assert first.told == [True, False]


async def test_a_lease_is_released_at_the_end_so_that_nobody_waits(
    server: FakeApiServer, pair: tuple[Candidate, Candidate]
) -> None:
    first, second = pair
    running = asyncio.create_task(first.election.run())
    await server.until_asked("update", "leases.coordination.k8s.io", 3)

    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running

    assert first.told == [True, False]
    assert "holderIdentity" not in server.read(LEASES, "alise-operator")["spec"]
    assert await second.attempt()
    assert server.read(LEASES, "alise-operator")["spec"]["leaseTransitions"] == 1


async def test_one_that_does_not_lead_releases_nothing(
    server: FakeApiServer, pair: tuple[Candidate, Candidate]
) -> None:
    first, second = pair
    assert await first.attempt()
    running = asyncio.create_task(second.election.run())
    await server.until_asked("get", "leases.coordination.k8s.io", 3)

    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running

    assert server.read(LEASES, "alise-operator")["spec"]["holderIdentity"] == "first"


def test_durations_must_descend() -> None:
    with pytest.raises(ValueError, match="must hold"):
        LeaseDurations(10, 10, 2)


async def test_the_namespace_is_ours_without_a_word(
    server: FakeApiServer, client: ClusterClient
) -> None:
    await LeaderElection(client, "lease", "me").attempt()

    assert server.read(LEASES, "lease", "ns")["spec"]["holderIdentity"] == "me"
