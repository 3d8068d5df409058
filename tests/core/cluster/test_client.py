"""Every way in which an exchange can end is an answer or a ``ClusterError``."""

import asyncio
from collections.abc import Mapping
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from alise_cluster.client import ClusterClient
from alise_cluster.config import ClusterConfig, TokenFile
from alise_cluster.errors import ApiError, Expired, Unreachable
from alise_cluster.resources import PODS, RawObject
from fakes.api_server import FakeApiServer
from fakes.api_server_store import Refused
from fakes.clock import FakeClock


async def test_objects_are_made_read_changed_and_deleted(
    server: FakeApiServer, client: ClusterClient
) -> None:
    made = await client.create(PODS, "ns", {"metadata": {"name": "a"}, "spec": {"x": 1, "y": 2}})
    assert (made["kind"], made["metadata"]["generation"]) == ("Pod", 1)

    merged = await client.merge(PODS, "ns", "a", {"spec": {"x": None}})
    assert merged["spec"] == {"y": 2}
    replaced = await client.replace(PODS, "ns", "a", {**merged, "spec": {"y": 3}})
    assert replaced["metadata"]["generation"] == 3
    with pytest.raises(ApiError) as refused:
        await client.replace(PODS, "ns", "a", {**merged, "spec": {"y": 4}})
    assert (refused.value.status, refused.value.reason) == (409, "Conflict")

    await client.delete(PODS, "ns", "a")
    with pytest.raises(ApiError, match="404 NotFound"):
        await client.get(PODS, "ns", "a")


async def test_a_refusal_is_an_error_with_its_reason(
    server: FakeApiServer, client: ClusterClient
) -> None:
    server.failures = [Refused(429, "TooManyRequests", "slow down", retry_after=3)]
    with pytest.raises(ApiError, match="429 TooManyRequests: slow down") as refused:
        await client.get(PODS, "ns", "a")
    assert refused.value.retry_after_seconds == 3

    server.failures = [Refused(410, "Gone", "too old")]
    with pytest.raises(Expired):
        await client.get(PODS, "ns", "a")


async def test_a_server_that_is_away_is_told_of_once(
    server: FakeApiServer, client: ClusterClient, clock: FakeClock
) -> None:
    await server.stop()
    with capture_logs() as logs:
        for _ in range(3):
            with pytest.raises(Unreachable):
                await client.get(PODS, "ns", "a")
        clock.advance(60)
        await server.start()
        with pytest.raises(ApiError):
            await client.get(PODS, "ns", "a")

    assert [log["event"] for log in logs] == ["api_server_unreachable", "api_server_reached_again"]
    assert logs[1]["seconds"] == 60


async def test_a_server_that_hangs_is_left(server: FakeApiServer, clock: FakeClock) -> None:
    server.hanging = True
    client = server.client(clock, request_seconds=0.02)

    with pytest.raises(Unreachable, match="no answer within"):
        await client.get(PODS, "ns", "a")
    with pytest.raises(Unreachable, match="no answer in time"):
        await client.watch(PODS.path("ns"), {}, lambda events: None, 1)
    await client.close()


async def test_a_watch_that_falls_silent_is_left(
    server: FakeApiServer, client: ClusterClient
) -> None:
    seen: list[RawObject] = []
    server.put(PODS, {"metadata": {"name": "a"}})

    with pytest.raises(Unreachable, match="silent for"):
        await client.watch(PODS.path("ns"), {"resourceVersion": "100"}, seen.extend, 0.05)

    assert [event["type"] for event in seen] == ["ADDED"]
    await server.until_watches(0)


async def test_a_token_that_was_replaced_is_read_again(
    server: FakeApiServer, clock: FakeClock, tmp_path: Path
) -> None:
    token = tmp_path / "token"
    token.write_text("first\n")
    config = ClusterConfig(server.url, TokenFile(token, clock))
    client = ClusterClient(config, clock)
    server.token = "first"
    server.put(PODS, {"metadata": {"name": "a"}})
    await client.get(PODS, "ns", "a")

    server.token = "second"
    with pytest.raises(ApiError, match="401"):
        await client.get(PODS, "ns", "a")
    token.write_text("second\n")
    await client.get(PODS, "ns", "a")

    server.token = "third"
    token.write_text("third\n")
    watch = asyncio.create_task(client.watch(PODS.path("ns"), {}, lambda events: None, 10))
    await server.until_watches(1)
    watch.cancel()
    await client.close()


async def test_a_token_is_read_again_after_a_minute(clock: FakeClock, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("a")
    token = TokenFile(file, clock)
    assert await token.headers() == {"authorization": "Bearer a"}
    file.write_text("b")
    assert await token.headers() == {"authorization": "Bearer a"}
    clock.advance(60)
    assert await token.headers() == {"authorization": "Bearer b"}
    file.unlink()
    clock.advance(60)
    assert await token.headers() == {"authorization": "Bearer b"}


async def test_what_is_no_kubernetes_is_unreachable(clock: FakeClock) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as listening:
        port = listening.sockets[0].getsockname()[1]
        client = ClusterClient(ClusterConfig(f"http://127.0.0.1:{port}"), clock)
        with pytest.raises(Unreachable, match="not JSON"):
            await client.get(PODS, "ns", "a")
        with pytest.raises(Unreachable, match="watch"):
            await client.watch(PODS.path("ns"), {}, lambda events: None, 1)
        await client.close()


class _Refusing:
    async def headers(self, *, renewed: bool = False) -> Mapping[str, str]:
        return {"authorization": "Bearer old" if not renewed else "Bearer new"}


async def test_credentials_are_never_shown() -> None:
    config = ClusterConfig("http://127.0.0.1:1", _Refusing())
    assert "Refusing" not in repr(config)
