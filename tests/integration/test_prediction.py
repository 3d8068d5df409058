"""Predictions in a real gateway: shown, recorded, corrected, and never in a request's way."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from alise_core.outcome import Outcome
from alise_gateway.identity.keys import create_key
from fakes.engine import RunningEngine, fast_engine, replaying, running_engine
from fakes.gateway import RunningGateway, running_gateway
from fakes.predictor import SHOWN, bundle, predict, predictor, send, tenants
from fakes.raw_client import chat, connected, post

LONG = "Please write a very long essay about the sea and the cat and the dog"


@pytest.fixture
async def engine() -> AsyncIterator[RunningEngine]:
    async with running_engine(fast_engine(lengths=replaying(hello=9))) as running:
        yield running


@pytest.fixture
def bundle_dir(tmp_path: Path) -> Path:
    return bundle(tmp_path / "bundle")


@pytest.fixture
async def gateway(engine: RunningEngine, bundle_dir: Path) -> AsyncIterator[RunningGateway]:
    settings = predictor(bundle_dir)
    async with running_gateway(engine.url, admin_port=0, predictor=settings) as running:
        yield running


@pytest.mark.parametrize("stream", [False, True])
async def test_every_answer_says_what_was_predicted(gateway: RunningGateway, stream: bool) -> None:
    reply = await send(gateway, post(chat(LONG, stream=stream, max_tokens=400)))
    assert reply.status == 200
    line = gateway.expect(Outcome.COMPLETED, prediction_source="tier0")
    assert abs(int(reply.headers[SHOWN]) - line["predicted_p50"]) <= 0.55
    assert 1 <= line["predicted_p50"] <= line["predicted_p90"] <= 400
    assert gateway.metric("alise_gateway_predictions_total", source="tier0") == 1
    assert gateway.metric("alise_gateway_prediction_seconds_count") == 1
    assert gateway.metric("alise_gateway_predicted_answers_total", source="tier0") == 1


async def test_all_endpoints_that_generate_are_predicted_and_embeddings_are_not(
    gateway: RunningGateway,
) -> None:
    bodies: dict[str, dict[str, Any]] = {
        "/v1/chat/completions": chat(),
        "/v1/completions": {"model": "alise-sim", "prompt": "hello", "max_tokens": 8},
        "/v1/responses": {"model": "alise-sim", "input": "hello", "max_output_tokens": 8},
        "/v1/messages": chat(),
    }
    for path, body in bodies.items():
        reply = await send(gateway, post(body, path=path))
        assert (reply.status, int(reply.headers[SHOWN])) == (200, 8), path
    reply = await send(gateway, post({"model": "alise-sim", "input": "a"}, path="/v1/embeddings"))
    assert SHOWN not in reply.headers
    assert gateway.requests()[-1]["prediction_source"] is None
    assert gateway.metric("alise_gateway_predictions_total") == 4


async def test_max_tokens_caps_it(gateway: RunningGateway) -> None:
    free, capped = await predict(gateway, max_tokens=2_000), await predict(gateway, max_tokens=3)
    assert free["tokens"]["p50"] > 3
    assert capped["tokens"]["p50"] == capped["tokens"]["p98"] == 3
    assert capped["max_tokens"] == 3


async def test_the_endpoint_tells_all_and_asks_nobody(
    gateway: RunningGateway, engine: RunningEngine
) -> None:
    found = await predict(gateway, max_tokens=100)
    assert found["object"] == "prediction"
    assert (found["model"], found["source"]) == ("alise-sim", "tier0")
    assert found["bundle"] == {"name": "tiny", "version": "1"}
    assert (found["answers_learned"], found["is_trusted"]) == (0, True)
    assert list(found["tokens"]) == ["mean", "p02", "p10", "p25", "p50", "p75", "p90", "p98"]
    quantiles = list(found["tokens"].values())[1:]
    assert quantiles == sorted(quantiles)
    assert gateway.requests() == []
    assert gateway.metric("alise_gateway_requests_total") == 0
    assert engine.open_requests() == []


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"{", 400, "invalid_json"),
        (b"", 400, "missing_body"),
        (chat(model="nobody"), 404, "model_not_found"),
        (chat(max_tokens=-1), 400, "invalid_max_tokens"),
    ],
)
async def test_the_endpoint_refuses_as_the_others_do(
    gateway: RunningGateway, body: bytes | dict[str, Any], status: int, code: str
) -> None:
    reply = await send(gateway, post(body, path="/v1/predict"))
    assert (reply.status, reply.error["code"]) == (status, code)


async def test_the_endpoint_takes_post_only(gateway: RunningGateway) -> None:
    async with httpx.AsyncClient(base_url=gateway.url) as http:
        reply = await http.get("/v1/predict")
    assert (reply.status_code, reply.headers["allow"]) == (405, "POST")


async def test_the_connection_goes_on_after_a_prediction(gateway: RunningGateway) -> None:
    async with connected(gateway.port) as client:
        client.send(post(chat(), path="/v1/predict") * 3 + post(chat()))
        for _ in range(4):
            assert (await client.reply()).status == 200


async def test_the_admin_api_shows_the_predictor(gateway: RunningGateway) -> None:
    for _ in range(3):
        await send(gateway, post(chat()))
    async with httpx.AsyncClient() as http:
        url = f"http://127.0.0.1:{gateway.app.admin_port}/alise/predictor"
        found = (await http.get(url)).json()
    assert (found["enabled"], found["name"], found["tiers"]) == (True, "tiny", ["tier0"])
    assert found["error"] is None
    (learned,) = found["learned"]
    assert (learned["tenant"], learned["model"]) == ("anonymous", "alise-sim")
    assert learned["answers"] == 3


async def test_switched_off_nothing_of_it_is_there(engine: RunningEngine) -> None:
    async with running_gateway(engine.url, admin_port=0, predictor={"enabled": False}) as gateway:
        reply = await send(gateway, post(chat()))
        assert (reply.status, SHOWN in reply.headers) == (200, False)
        assert gateway.expect(Outcome.COMPLETED)["predicted_p50"] is None
        assert (await send(gateway, post(chat(), path="/v1/predict"))).status == 404
        async with httpx.AsyncClient() as http:
            url = f"http://127.0.0.1:{gateway.app.admin_port}/alise/predictor"
            assert (await http.get(url)).json()["enabled"] is False


async def test_a_model_that_predicts_nonsense_is_refused_at_the_start(
    engine: RunningEngine, tmp_path: Path
) -> None:
    directory = bundle(tmp_path / "nan", bias=float("nan"))
    async with running_gateway(engine.url, predictor=predictor(directory)) as gateway:
        reply = await send(gateway, post(chat(max_tokens=5)))
        assert (reply.status, reply.headers[SHOWN]) == (200, "5")
        gateway.expect(Outcome.COMPLETED, prediction_source="prior")
        (event,) = [event for event in gateway.events() if event["event"] == "predictor_refused"]
        assert event["level"] == "error"
        assert gateway.metric("alise_gateway_predictor_tier_loaded", tier="tier0") == 0
        assert gateway.metric("alise_gateway_prediction_fallbacks_total", reason="no_bundle") == 1


async def test_a_model_that_fails_costs_the_prediction_and_not_the_request(
    gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = "the secret of the prompt"

    def broken(self: object, request: object) -> None:
        raise ValueError(f"cannot read {secret}")

    monkeypatch.setattr("alise_predictor.serving.LengthPredictor.predict", broken)
    for _ in range(3):
        assert (await send(gateway, post(chat(secret)))).status == 200
    causes = {"reason": "model_failed"}
    assert gateway.metric("alise_gateway_prediction_fallbacks_total", **causes) == 3
    events = [event for event in gateway.events() if event["event"] == "prediction_failed"]
    assert [event["error"] for event in events] == ["ValueError"]
    assert secret not in gateway.everything_written()


def bodies_of_all_sorts() -> dict[str, dict[str, Any]]:
    def of(**fields: Any) -> dict[str, Any]:
        return {"model": "alise-sim", "max_tokens": 4, **fields}

    def user(content: Any) -> dict[str, Any]:
        return of(messages=[{"role": "user", "content": content}])

    return {
        "nothing": of(),
        "empty": user(""),
        "no content": user(None),
        "a number": user(17),
        "an object": user({"text": {"text": "x"}}),
        "a megabyte": user("lighthouse " * 100_000),
        "emoji": user("🗼🧭" * 20_000),
        "lines of nothing": user("\n\t \x00\x01" * 20_000),
        "ten thousand messages": of(messages=[{"role": "user", "content": "hi"}] * 10_000),
        "messages of no shape": of(messages=[None, 1, [], {}, {"role": []}, "x"]),
        "messages as text": of(messages="hello"),
        "very many nothings": of(messages=["", *[None] * 120_000]),
        "deep": of(messages=json.loads("[" * 500 + "]" * 500)),
        "odd tools": of(tools={"a": 1}, response_format=[1], text="x", input=5),
        "a list of text": of(prompt=["a", "b"]),
        "token ids": of(prompt=list(range(100_000))),
        "hints": of(nvext={"agent_hints": {"osl": "soon"}}, vllm_xargs=7),
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", bodies_of_all_sorts())
async def test_whatever_is_in_a_body_is_predicted(gateway: RunningGateway, name: str) -> None:
    body = bodies_of_all_sorts()[name]
    reply = await send(gateway, post(body, path="/v1/predict"))
    assert reply.status == 200
    assert reply.json()["tokens"]["p98"] <= 4
    reply = await send(gateway, post(body))
    assert SHOWN in reply.headers or reply.status == 400
    assert gateway.requests()[-1]["prediction_source"] is not None
    failures = ("model_failed", "learning_failed", "unreadable")
    for cause in failures:
        assert gateway.metric("alise_gateway_prediction_fallbacks_total", reason=cause) == 0


async def test_prompts_reach_no_log_and_no_metric(gateway: RunningGateway) -> None:
    secret = "a prompt about the lighthouse keeper's secret"
    for path in ("/v1/chat/completions", "/v1/predict"):
        await send(gateway, post(chat(secret), path=path))
    written = gateway.everything_written()
    assert secret not in written
    assert "lighthouse" not in written


async def test_a_hint_counts_where_its_tenant_may_schedule(
    engine: RunningEngine, bundle_dir: Path, tmp_path: Path
) -> None:
    keys = {"trusted": create_key(), "other": create_key()}
    trusted, other = (keys["trusted"], True), (keys["other"], False)
    path = tenants(tmp_path / "keys.yaml", trusted=trusted, other=other)
    settings = predictor(bundle_dir)
    async with running_gateway(
        engine.url, identity={"keys_file": path}, predictor=settings
    ) as gateway:
        found = {}
        for tenant, key in keys.items():
            for osl in (None, 5, 100_000):
                fields = {"max_tokens": 1_500, "nvext": {"agent_hints": {"osl": osl}}}
                reply = await predict(gateway, f"authorization: Bearer {key}", **fields)
                found[tenant, osl] = reply["tokens"]["p50"]
        usual = found["other", None]
        assert {found["other", osl] for osl in (None, 5, 100_000)} == {usual}
        assert found["trusted", None] == usual
        assert found["trusted", 5] < usual < found["trusted", 100_000] <= 1_500
        assert gateway.metric("alise_gateway_prediction_hints_total", result="taken") == 2
        assert gateway.metric("alise_gateway_prediction_hints_total", result="untrusted") == 2
