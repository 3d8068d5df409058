import base64
from collections.abc import Mapping
from typing import Any

import pytest

from alise_cluster.errors import ClusterError
from alise_cluster.resources import Resource
from alise_core.crds.base import SecretRef
from alise_operator.tuning.tokens import AdminTokens, token_of
from fakes.clock import FakeClock


def secret(**entries: str) -> dict[str, Any]:
    packed = {name: base64.b64encode(text.encode()).decode() for name, text in entries.items()}
    return {"data": packed}


class FakeReads:
    def __init__(self) -> None:
        self.token = "first"
        self.asked = 0
        self.away = False

    async def get(self, resource: Resource, namespace: str | None, name: str) -> Mapping[str, Any]:
        self.asked += 1
        if self.away:
            raise ClusterError("away")
        return secret(token=self.token)


@pytest.mark.parametrize(
    ("raw", "entry", "token"),
    [
        (secret(any="one\n"), None, "one"),
        (secret(token="t", other="o"), None, "t"),
        (secret(token="t", other="o"), "other", "o"),
        (secret(token="t"), "other", None),
        (secret(token=""), None, None),
        (secret(token="two\nlines"), None, None),
        ({"data": {"token": "no base64!"}}, None, None),
        ({"data": {}}, None, None),
        ({}, None, None),
    ],
)
def test_the_token_of_a_secret(raw: dict[str, Any], entry: str | None, token: str | None) -> None:
    assert token_of(raw, entry) == token


async def test_a_token_is_believed_for_a_minute_and_outlives_an_outage() -> None:
    client, clock = FakeReads(), FakeClock()
    tokens, ref = AdminTokens(client, clock), SecretRef(name="admin")

    assert await tokens.read("ns", ref) == "first"
    client.token = "second"
    assert await tokens.read("ns", ref) == "first"
    clock.advance(60)
    client.away = True
    assert await tokens.read("ns", ref) == "first"
    client.away = False
    assert await tokens.read("ns", ref) == "second"
    assert client.asked == 3


async def test_without_a_cluster_there_is_no_token() -> None:
    client = FakeReads()
    client.away = True

    assert await AdminTokens(client, FakeClock()).read("ns", SecretRef(name="admin")) is None
