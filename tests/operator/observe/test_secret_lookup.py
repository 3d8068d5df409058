from typing import Any

import pytest

from alise_cluster.client import ClusterClient
from alise_cluster.errors import ClusterError
from alise_cluster.resources import SECRETS
from alise_operator.decide.references import Presence
from alise_operator.observe.secret_lookup import METADATA_ONLY, SecretLookup, entry_names
from fakes.api_server import FakeApiServer
from fakes.api_server_store import Refused
from fakes.clock import FakeClock


@pytest.fixture
def lookup(client: ClusterClient, clock: FakeClock) -> SecretLookup:
    return SecretLookup(client, 60, clock)


def a_secret(name: str, *entries: str) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "f:data": {".": {}} | {f"f:{entry}": {} for entry in entries},
        "f:type": {},
    }
    written = [{"manager": "kubectl", "fieldsV1": fields}] if entries else []
    return {
        "metadata": {"name": name, "managedFields": written},
        "data": dict.fromkeys(entries, "c2VjcmV0"),
    }


async def presence(lookup: SecretLookup, name: str) -> Presence:
    return (await lookup.facts("ns", [name]))[name].presence


async def test_a_secret_that_is_there(server: FakeApiServer, lookup: SecretLookup) -> None:
    server.put(SECRETS, a_secret("keys", "team-a"))

    facts = await lookup.facts("ns", ["keys", "gone", "keys"])

    assert facts["keys"].presence is Presence.PRESENT
    assert facts["keys"].entries == frozenset({"team-a"})
    assert facts["gone"].presence is Presence.ABSENT
    assert [(it.verb, it.name) for it in server.asked] == [("get", "gone"), ("get", "keys")]


async def test_only_metadata_is_asked_for(server: FakeApiServer, client: ClusterClient) -> None:
    accepted = []

    class Recording(ClusterClient):
        async def request(self, *args: Any, **more: Any) -> Any:
            accepted.append(more["accept"])
            return await client.request(*args, **more)

    server.put(SECRETS, a_secret("keys"))
    await SecretLookup(Recording(client.config), 60, FakeClock()).facts("ns", ["keys"])

    assert accepted == [METADATA_ONLY]


async def test_answers_are_believed_for_a_while(
    server: FakeApiServer, lookup: SecretLookup, clock: FakeClock
) -> None:
    assert await presence(lookup, "keys") is Presence.ABSENT
    server.put(SECRETS, a_secret("keys"))

    clock.advance(59)
    assert await presence(lookup, "keys") is Presence.ABSENT
    clock.advance(2)
    assert await presence(lookup, "keys") is Presence.PRESENT


async def test_refusals_are_believed_for_longer(
    server: FakeApiServer, lookup: SecretLookup, clock: FakeClock
) -> None:
    server.forbidden.add(("get", "secrets"))
    assert await presence(lookup, "keys") is Presence.FORBIDDEN
    server.forbidden.clear()

    clock.advance(299)
    assert await presence(lookup, "keys") is Presence.FORBIDDEN
    clock.advance(2)
    assert await presence(lookup, "keys") is Presence.ABSENT


async def test_no_answer_is_not_taken_for_one(server: FakeApiServer, lookup: SecretLookup) -> None:
    server.failures.append(Refused(500, "InternalError", "etcd"))

    with pytest.raises(ClusterError):
        await lookup.facts("ns", ["keys"])

    assert await presence(lookup, "keys") is Presence.ABSENT


def test_entries_of_all_writers_count() -> None:
    raw = {
        "metadata": {
            "managedFields": [
                {"fieldsV1": {"f:data": {".": {}, "f:a": {}}}},
                {"fieldsV1": {"f:stringData": {"f:b": {}}}},
                {"fieldsV1": {"f:metadata": {"f:labels": {}}}},
                {"fieldsV1": 7},
                None,
            ]
        }
    }

    assert entry_names(raw) == frozenset({"a", "b"})


def test_metadata_that_says_nothing_of_entries() -> None:
    assert entry_names({"metadata": {}}) is None
    assert entry_names({}) is None
