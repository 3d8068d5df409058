"""Letting requests in: by their head alone, and never by accident."""

import pytest

from alise_core.errors import RequestError
from alise_core.outcome import Outcome
from alise_core.wire.openai import PATHS
from alise_gateway.domain.request import ANONYMOUS
from alise_gateway.intake.head import check_head
from alise_gateway.settings import LimitSettings
from fakes.engine import running_engine
from fakes.gateway import RunningGateway, eventually, running_gateway
from fakes.raw_client import chat, connected, post


def admit(gateway: RunningGateway, method: bytes, target: bytes) -> object:
    head = check_head(method, target, [(b"host", b"a")], "1.1", LimitSettings())
    return gateway.app.pipeline.on_head(head)


@pytest.mark.parametrize("path", [*PATHS, b"/v1/models", b"/v1/models/a/b"])
async def test_api_paths_need_a_credential(path: bytes, tmp_path: object) -> None:
    keys = f"{tmp_path}/keys.yaml"
    with open(keys, "w") as file:  # noqa: ASYNC230  a few bytes, before anything runs
        file.write("tenants: []")
    async with running_gateway(identity={"keys_file": keys}) as gateway:
        with pytest.raises(RequestError) as raised:
            admit(gateway, b"POST" if path in PATHS else b"GET", path)
        assert raised.value.outcome is Outcome.REJECTED_UNAUTHORIZED


async def test_probes_need_none_and_nothing_else_is_open() -> None:
    async with running_gateway() as gateway:
        for path in (b"/healthz", b"/readyz", b"/metrics"):
            admission = admit(gateway, b"GET", path)
            assert getattr(admission, "tenant", None) is ANONYMOUS
        for path in (b"/", b"/docs", b"/openapi.json", b"/alise/queue", b"/v1", b"/v1/modelsx"):
            with pytest.raises(RequestError) as raised:
                admit(gateway, b"GET", path)
            assert raised.value.status == 404


@pytest.mark.parametrize("method", [b"GET", b"PUT", b"DELETE", b"OPTIONS", b"HEAD"])
async def test_inference_takes_post_only(method: bytes) -> None:
    async with running_gateway() as gateway:
        for path in PATHS:
            with pytest.raises(RequestError) as raised:
                admit(gateway, method, path)
            assert raised.value.status == 405


async def test_a_defect_is_an_internal_error_and_not_the_clients_fault(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with (
        running_engine() as engine,
        running_gateway(engine.url) as gateway,
        connected(gateway.port) as client,
    ):
        gateway.expected_exceptions = 1
        with monkeypatch.context() as patch:

            def broken(name: str) -> str:
                raise RuntimeError("internal detail")

            patch.setattr(gateway.app.registry, "resolve", broken)
            client.send(post(chat()))
            reply = await client.reply()
        assert reply.status == 500
        assert reply.error["code"] == "internal_error"
        assert "internal detail" not in reply.error["message"]
        gateway.expect(Outcome.FAILED_BACKEND_ERROR, status=500)
        client.send(post(chat()))
        assert (await client.reply()).status == 200, "the connection is still good"
        assert gateway.app.pipeline.active == 0


async def test_draining_ends_with_the_last_request() -> None:
    ended: list[str] = []
    async with running_gateway() as gateway:
        pipeline = gateway.app.pipeline
        pipeline.drain(lambda: ended.append("idle"))
        assert pipeline.is_draining
        assert ended == ["idle"]
        async with connected(gateway.port) as client:
            client.send(post(chat()))
            assert (await client.reply()).status == 503
        await eventually(lambda: len(gateway.requests()) == 1)
        gateway.expect(Outcome.REJECTED_SHUTTING_DOWN)
