"""What a backend with the engine plugin is told, byte for byte, and that others are not."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from alise_gateway.domain.backend import ProbeState
from alise_gateway.identity.keys import create_key
from fakes.gateway import RunningGateway, running_gateway
from fakes.predictor import SHOWN, bundle, predictor, send, tenants
from fakes.raw_client import chat, post
from fakes.scripted_backend import ScriptedBackend, scripted_backend, sends, whole

READY = b'{"plugin": "alise", "ready": true, "reason": null, "in_progress": 0}'
ANSWER = whole(b'{"usage": {"prompt_tokens": 1, "completion_tokens": 1}}')
DEFAULT_RANK = 2


@asynccontextmanager
async def telling(
    ready: bytes | None, **settings: Any
) -> AsyncIterator[tuple[RunningGateway, ScriptedBackend]]:
    async with (
        scripted_backend(sends(ANSWER), ready=ready) as backend,
        running_gateway(backend.url, **settings) as gateway,
    ):
        yield gateway, backend


def inserted(sent: bytes, received: bytes) -> dict[str, Any]:
    """The ``vllm_xargs`` that were put into a body, which is otherwise as it was."""
    end = sent.rindex(b"}")
    start = b',"vllm_xargs":'
    assert received.startswith(sent[:end] + start)
    assert received.endswith(sent[end:])
    found: dict[str, Any] = json.loads(received)["vllm_xargs"]
    return found


async def test_a_backend_with_the_plugin_is_told_the_prediction(tmp_path: Path) -> None:
    body = json.dumps(chat("Tell me a story", max_tokens=900), indent=1).encode() + b"\n"
    async with telling(READY, predictor=predictor(bundle(tmp_path / "b"))) as (gateway, backend):
        reply = await send(gateway, post(body))
        told = inserted(body, backend.received[0].body)

        assert list(told) == ["alise_p50", "alise_p90", "alise_class"]
        assert told["alise_p50"] == int(reply.headers[SHOWN])
        assert told["alise_p50"] <= told["alise_p90"] <= 900
        assert told["alise_class"] == DEFAULT_RANK


async def test_without_a_predictor_it_is_told_the_class() -> None:
    body = json.dumps(chat(service_tier="flex")).encode()
    async with telling(READY) as (gateway, backend):
        await send(gateway, post(body))
        assert inserted(body, backend.received[0].body) == {"alise_class": DEFAULT_RANK + 1}


@pytest.mark.parametrize(
    ("ready", "settings"),
    [(None, {}), (b"<html>", {}), (READY, {"scheduling": {"send_prediction": False}})],
)
async def test_others_get_bodies_as_they_came(
    ready: bytes | None, settings: dict[str, Any], tmp_path: Path
) -> None:
    body = json.dumps(chat(vllm_xargs={"k": 1})).encode()
    settings = {**settings, "predictor": predictor(bundle(tmp_path / "b"))}
    async with telling(ready, **settings) as (gateway, backend):
        await send(gateway, post(body))
        assert backend.received[0].body == body


async def test_an_embedding_has_no_length(tmp_path: Path) -> None:
    body = b'{"model": "alise-sim", "input": "a"}'
    async with telling(READY, predictor=predictor(bundle(tmp_path / "b"))) as (gateway, backend):
        await send(gateway, post(body, path="/v1/embeddings"))
        assert backend.received[0].body == body


async def test_a_client_keeps_its_xargs_and_its_say_where_it_has_one(tmp_path: Path) -> None:
    keys = {"trusted": create_key(), "other": create_key()}
    path = tenants(
        tmp_path / "keys.yaml", trusted=(keys["trusted"], True), other=(keys["other"], False)
    )
    stated = {"alise_class": 0, "alise_p50": 1, "mine": [1, "}"]}
    body = json.dumps(chat(vllm_xargs=stated)).encode()
    settings = {
        "identity": {"keys_file": path},
        "predictor": predictor(bundle(tmp_path / "b")),
    }
    async with telling(READY, **settings) as (gateway, backend):
        for key in keys.values():
            await send(gateway, post(body, f"authorization: Bearer {key}"))
        trusted, other = (inserted(body, seen.body) for seen in backend.received)

        assert trusted["mine"] == other["mine"] == [1, "}"]
        assert (trusted["alise_p50"], trusted["alise_class"]) == (1, 0)
        assert other["alise_p50"] > 1
        assert other["alise_class"] == DEFAULT_RANK


async def test_a_rank_of_its_own_is_left_alone(tmp_path: Path) -> None:
    key = create_key()
    path = tenants(tmp_path / "keys.yaml", trusted=(key, True))
    body = json.dumps(chat(priority=3)).encode()
    async with telling(READY, identity={"keys_file": path}) as (gateway, backend):
        await send(gateway, post(body, f"authorization: Bearer {key}"))
        assert backend.received[0].body == body


async def test_a_pool_with_and_without_the_plugin() -> None:
    body = json.dumps(chat()).encode()
    async with (
        scripted_backend(sends(ANSWER), ready=READY) as with_plugin,
        scripted_backend(sends(ANSWER)) as without,
        running_gateway(with_plugin.url, without.url, admin_port=0) as gateway,
    ):
        backends = gateway.app.registry.backends
        assert {backend.probe for backend in backends} == {ProbeState.HEALTHY}
        assert [backend.has_plugin for backend in backends] == [True, False]
        async with httpx.AsyncClient() as http:
            url = f"http://127.0.0.1:{gateway.app.admin_port}/alise/backends"
            shown = (await http.get(url)).json()["backends"]
        assert [backend["has_plugin"] for backend in shown] == [True, False]
        await asyncio.gather(*(send(gateway, post(body)) for _ in range(8)))

        assert {seen.body for seen in without.received} == {body}
        assert inserted(body, with_plugin.received[0].body) == {"alise_class": DEFAULT_RANK}
