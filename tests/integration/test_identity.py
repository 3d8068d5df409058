"""Credentials from the socket to the tenant, and never any further."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from alise_core.outcome import Outcome
from alise_gateway.identity.keys import create_key, hash_key
from fakes.clock import FakeClock
from fakes.engine import RunningEngine, fast_engine, replaying, running_engine
from fakes.gateway import RunningGateway, eventually, running_gateway
from fakes.keys import identity, keys_file
from fakes.raw_client import RawReply, chat, connected, post
from fakes.scripted_backend import scripted_backend, sends, whole

PROMPT = "hello"
SECRET_PROMPT = "the-recipe-is-42"
GOOD, LIMITED, TRUSTED, LATER = (create_key() for _ in range(4))


def spoil(path: Path) -> None:
    path.write_text("tenants: nonsense")


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    path = tmp_path / "keys.yaml"
    keys_file(
        path,
        team=(GOOD, {}),
        narrow=(LIMITED, {"allowed_models": "[other-model]"}),
        trusted=(TRUSTED, {"may_schedule": "true"}),
    )
    return path


@pytest.fixture
async def engine() -> AsyncIterator[RunningEngine]:
    async with running_engine(fast_engine(lengths=replaying(hello=4))) as running:
        yield running


@pytest.fixture
async def gateway(engine: RunningEngine, keys: Path) -> AsyncIterator[RunningGateway]:
    clock = FakeClock()
    async with running_gateway(engine.url, clock=clock, identity=identity(keys)) as running:
        yield running


async def ask(gateway: RunningGateway, *headers: str, **fields: Any) -> RawReply:
    async with connected(gateway.port) as client:
        client.send(post(chat(**fields), *headers))
        return await client.reply()


@pytest.mark.parametrize("header", ["authorization: Bearer {}", "x-api-key: {}"])
async def test_a_key_names_its_tenant(gateway: RunningGateway, header: str) -> None:
    assert (await ask(gateway, header.format(GOOD))).status == 200
    gateway.expect(Outcome.COMPLETED, tenant="team")
    assert gateway.metric("alise_gateway_requests_total", tenant="team") == 1


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ((), "missing_api_key"),
        (("authorization: Bearer sk-wrong",), "invalid_api_key"),
        (("x-api-key: sk-wrong",), "invalid_api_key"),
        (("authorization: Basic dXNlcjpwYXNz",), "invalid_authorization"),
        ((f"authorization: Bearer {GOOD}", f"x-api-key: {LIMITED}"), "conflicting_credentials"),
        ((f"authorization: Bearer {GOOD[:-1]}",), "invalid_api_key"),
    ],
)
async def test_no_or_wrong_credentials(
    gateway: RunningGateway, engine: RunningEngine, headers: tuple[str, ...], code: str
) -> None:
    reply = await ask(gateway, *headers)
    assert reply.status == 401
    assert reply.error["code"] == code
    assert reply.error["type"] == "authentication_error"
    assert reply.headers["www-authenticate"] == "Bearer"
    gateway.expect(Outcome.REJECTED_UNAUTHORIZED, status=401)
    assert engine.metric("vllm:prompt_tokens_total") == 0


async def test_a_body_is_not_waited_for_without_a_credential(gateway: RunningGateway) -> None:
    async with connected(gateway.port) as client:
        client.send(post(chat(), "expect: 100-continue").partition(b"\r\n\r\n")[0] + b"\r\n\r\n")
        assert (await client.reply()).status == 401
        await client.closed()


async def test_a_model_that_the_tenant_may_not_use(gateway: RunningGateway) -> None:
    reply = await ask(gateway, f"authorization: Bearer {LIMITED}")
    assert reply.status == 403
    assert (reply.error["code"], reply.error["param"]) == ("model_not_allowed", "model")
    gateway.expect(Outcome.REJECTED_UNAUTHORIZED, status=403, tenant="narrow")


async def test_models_are_listed_to_those_who_may_call(gateway: RunningGateway) -> None:
    request = b"GET /v1/models HTTP/1.1\r\nhost: a\r\n%b\r\n"
    async with connected(gateway.port) as client:
        client.send(request % f"authorization: Bearer {GOOD}\r\n".encode())
        reply = await client.reply()
        assert [model["id"] for model in reply.json()["data"]] == ["alise-sim"]
        client.send(request % b"")
        assert (await client.reply()).status == 401
    async with connected(gateway.port) as client:
        client.send(b"GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n")
        assert (await client.reply()).status == 200, "probes need no key"


async def test_keys_change_while_the_gateway_runs(engine: RunningEngine, keys: Path) -> None:
    async with running_gateway(engine.url, identity=identity(keys, 0.01)) as gateway:
        assert (await ask(gateway, f"authorization: Bearer {LATER}")).status == 401
        keys_file(keys, late=(LATER, {}))
        await eventually(lambda: "keys_reloaded" in {line["event"] for line in gateway.events()})
        assert (await ask(gateway, f"authorization: Bearer {LATER}")).status == 200
        gateway.expect(Outcome.COMPLETED, tenant="late")
        assert (await ask(gateway, f"authorization: Bearer {GOOD}")).status == 401
        reloads = "alise_gateway_config_reloads_total"
        assert gateway.metric(reloads, source="keys", result="success") == 1

        spoil(keys)
        await eventually(lambda: gateway.metric(reloads, source="keys", result="failure") == 1)
        assert (await ask(gateway, f"authorization: Bearer {LATER}")).status == 200


async def test_a_trusted_tenant_may_schedule(keys: Path) -> None:
    async with (
        scripted_backend(sends(whole(b"{}"))) as backend,
        running_gateway(backend.url, identity=identity(keys)) as gateway,
    ):
        own = ("x-vllm-priority: -5", "x-request-priority: 1")
        await ask(gateway, f"authorization: Bearer {TRUSTED}", *own, priority=-7)
        await ask(gateway, f"authorization: Bearer {GOOD}", *own, priority=-7)
        trusted, other = backend.received
        assert trusted.values("x-vllm-priority") == ["-5"]
        assert trusted.values("x-request-priority") == ["1"]
        (rank,) = other.values("x-vllm-priority")
        assert 0 < int(rank) < 2**40, "the gateway's own, in the band of the default class"
        assert other.values("x-request-priority") == []


async def test_a_backends_own_key_replaces_the_clients(tmp_path: Path, keys: Path) -> None:
    key = tmp_path / "engine.key"
    key.write_text("engine-secret\n")
    async with (
        running_engine(fast_engine(api_key="engine-secret")) as engine,
        running_gateway(
            identity=identity(keys), backends=[{"url": engine.url, "api_key_file": key}]
        ) as gateway,
    ):
        assert (await ask(gateway, f"authorization: Bearer {GOOD}")).status == 200
        gateway.expect(Outcome.COMPLETED)
        assert "engine-secret" not in gateway.everything_written()


async def test_keys_and_prompts_stay_out_of_everything_that_is_written(
    engine: RunningEngine, keys: Path
) -> None:
    """Every kind of ending, at the most talkative log level."""
    replies: list[RawReply] = []
    good, wrong = f"authorization: Bearer {GOOD}", "authorization: Bearer sk-wrong-but-secret"
    async with running_gateway(
        engine.url, identity=identity(keys), observability={"log_level": "debug"}
    ) as gateway:
        for fields in (
            {},
            {"stream": True},
            {"max_tokens": -1},
            {"max_tokens": 100_000},
            {"model": "unknown"},
            {"stream": "wrong"},
            {"stop": 5},
            {"messages": SECRET_PROMPT},
            {SECRET_PROMPT: 1, "max_tokens": SECRET_PROMPT},
        ):
            reply = await ask(gateway, good, **{"content": SECRET_PROMPT, **fields})
            assert GOOD.encode() not in reply.body
            replies.append(reply)
        replies.append(await ask(gateway, wrong, content=SECRET_PROMPT))
        async with connected(gateway.port) as client:
            client.send(post(b'{"model":"alise-sim","prompt":"' + SECRET_PROMPT.encode(), good))
            replies.append(await client.reply())
        await engine.stop()
        replies.append(await ask(gateway, good, content=SECRET_PROMPT))
        written = gateway.everything_written()
        assert len(gateway.requests()) == len(replies)
    for secret in (GOOD, "sk-wrong-but-secret", SECRET_PROMPT, hash_key(GOOD).partition(":")[2]):
        assert secret not in written
    for reply in replies:
        own = (
            reply.status != 200 and b"input_value" not in reply.body and b"'loc'" not in reply.body
        )
        assert GOOD.encode() not in reply.body
        # An engine may quote the client to the client; the gateway itself does not.
        assert not own or SECRET_PROMPT.encode() not in reply.body
