"""Predicted lengths in front of real vLLM: shown, logged beside the real ones, and learned from."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from alise_core.prediction import PredictionSource
from running.gateway import GatewayServer, start_gateway
from running.process import ServerProcess, free_port
from running.scrape import eventually
from running.vllm import MODEL, VllmServer

HEADER = "x-alise-predicted-tokens"
TOKENS = 17
TURN: list[Any] = [{"role": "user", "content": "Write a short story about a lighthouse."}]
OF_A_MODEL = {PredictionSource.TIER0, PredictionSource.TIER1}
LESSONS = 8


@dataclass(frozen=True, slots=True)
class PredictingGateway:
    """A gateway and its admin port."""

    server: GatewayServer
    admin: str

    def predictor(self) -> dict[str, Any]:
        """What it says about its predictor."""
        found: dict[str, Any] = httpx.get(f"{self.admin}/alise/predictor").raise_for_status().json()
        return found

    def answers_learned(self) -> int:
        """Finished answers of the model that it has learned from."""
        learned = self.predictor()["learned"]
        return sum(pair["answers"] for pair in learned if pair["model"] == MODEL)

    def logged(self, request_id: str) -> dict[str, Any]:
        """The log line of one request, which may come a moment after its answer."""
        found: list[dict[str, Any]] = []

        def has_line() -> bool:
            lines = self.server.finished_requests()
            found[:] = [line for line in lines if line["request_id"] == request_id]
            return bool(found)

        eventually(has_line, 5, f"log line of {request_id}")
        return found[0]


def started(
    name: str,
    engine: VllmServer,
    logs: Path,
    processes: list[ServerProcess],
    extra: tuple[str, ...] = (),
) -> PredictingGateway:
    port = free_port()
    server = start_gateway(name, [engine.url], logs, ("--admin-port", str(port), *extra))
    processes.append(server.process)
    return PredictingGateway(server, f"http://127.0.0.1:{port}")


@pytest.fixture(scope="module")
def predicting(
    engines: tuple[VllmServer, VllmServer], logs: Path, processes: list[ServerProcess]
) -> Iterator[PredictingGateway]:
    gateway = started("gateway-predict", engines[0], logs, processes)
    yield gateway
    gateway.server.process.stop()


@pytest.fixture
def silent(
    engines: tuple[VllmServer, VllmServer],
    logs: Path,
    processes: list[ServerProcess],
    tmp_path: Path,
) -> Iterator[PredictingGateway]:
    settings = tmp_path / "gateway.yaml"
    settings.write_text("predictor:\n  enabled: false\n", encoding="utf-8")
    extra = ("--config", str(settings))
    gateway = started("gateway-silent", engines[1], logs, processes, extra)
    yield gateway
    gateway.server.process.stop()


def ask(gateway: PredictingGateway, path: str, body: dict[str, Any]) -> httpx.Response:
    reply = httpx.post(gateway.server.url + path, json={"model": MODEL, **body}, timeout=60)
    assert reply.status_code == httpx.codes.OK, reply.text
    return reply


def chat(*, stream: bool = False) -> dict[str, Any]:
    """An answer of exactly ``TOKENS``, whatever the model would like."""
    return {"messages": TURN, "max_tokens": TOKENS, "ignore_eos": True, "stream": stream}


def test_the_bundle_that_comes_with_the_gateway_predicts(predicting: PredictingGateway) -> None:
    found = predicting.predictor()
    assert found["enabled"]
    assert found["error"] is None
    assert "tier0" in found["tiers"]


@pytest.mark.parametrize("stream", [True, False])
def test_an_answer_says_what_was_predicted_and_its_log_line_what_became_of_it(
    predicting: PredictingGateway, stream: bool
) -> None:
    with openai.OpenAI(base_url=predicting.server.api, api_key="unused", max_retries=0) as client:
        raw = client.chat.completions.with_raw_response.create(
            model=MODEL,
            messages=TURN,
            max_tokens=TOKENS,
            stream=stream,
            extra_body={"ignore_eos": True},
        )
        # A stream is over when it was read.
        text = list(raw.parse()) if stream else raw.parse()

    assert text
    assert 1 <= int(raw.headers[HEADER]) <= TOKENS
    line = predicting.logged(raw.headers["x-request-id"])
    assert line["outcome"] == "completed"
    assert line["output_tokens"] == TOKENS
    assert line["output_capped"]
    assert round(line["predicted_p50"]) == int(raw.headers[HEADER])
    assert 0 < line["predicted_p50"] <= line["predicted_p90"] <= TOKENS
    assert 0 < line["predicted_mean"] <= TOKENS
    assert line["prediction_source"] in OF_A_MODEL


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/completions", {"prompt": "import os", "max_tokens": TOKENS}),
        ("/v1/messages", {"messages": TURN, "max_tokens": TOKENS}),
        ("/v1/responses", {"input": "import os", "max_output_tokens": TOKENS}),
    ],
)
def test_every_endpoint_that_generates_is_predicted_within_its_limit(
    predicting: PredictingGateway, path: str, body: dict[str, Any]
) -> None:
    reply = ask(predicting, path, body)

    assert 1 <= int(reply.headers[HEADER]) <= TOKENS
    line = predicting.logged(reply.headers["x-request-id"])
    assert line["prediction_source"] in OF_A_MODEL


def test_a_prediction_can_be_asked_for_without_an_answer(predicting: PredictingGateway) -> None:
    before = len(predicting.server.finished_requests())
    found = ask(predicting, "/v1/predict", {"messages": TURN, "max_tokens": 64}).json()

    quantiles = [found["tokens"][f"p{level}"] for level in ("02", "10", "25", "50", "75", "90")]
    assert quantiles == sorted(quantiles)
    assert quantiles[0] > 0
    assert found["tokens"]["p98"] <= 64
    assert (found["object"], found["model"], found["max_tokens"]) == ("prediction", MODEL, 64)
    assert found["source"] == PredictionSource.TIER0
    said = predicting.predictor()
    assert found["bundle"] == {"name": said["name"], "version": said["version"]}
    # A request that reached an engine would have a log line by the time of a later one's.
    later = ask(predicting, "/v1/chat/completions", chat())
    predicting.logged(later.headers["x-request-id"])
    assert len(predicting.server.finished_requests()) == before + 1


def test_longer_requests_are_expected_to_be_answered_at_more_length(
    predicting: PredictingGateway,
) -> None:
    def median(text: str) -> float:
        body = {"messages": [{"role": "user", "content": text}]}
        found: float = ask(predicting, "/v1/predict", body).json()["tokens"]["p50"]
        return found

    assert median("What is 2 + 2? Answer with one digit.") < median(TURN[0]["content"])


def test_finished_answers_are_learned_from(predicting: PredictingGateway) -> None:
    before = predicting.answers_learned()
    for number in range(LESSONS):
        ask(predicting, "/v1/chat/completions", chat(stream=number % 2 == 0))

    eventually(
        lambda: predicting.answers_learned() == before + LESSONS, 5, "every answer is learned from"
    )
    found = ask(predicting, "/v1/predict", chat()).json()
    assert found["answers_learned"] == before + LESSONS
    samples = predicting.server.metrics()
    assert samples.sum("alise_gateway_learned_answers_total", result="lost") == 0


def test_a_gateway_that_shall_not_predict_does_not(silent: PredictingGateway) -> None:
    reply = ask(silent, "/v1/chat/completions", chat())

    assert HEADER not in reply.headers
    line = silent.logged(reply.headers["x-request-id"])
    assert line["output_tokens"] == TOKENS
    assert line["predicted_p50"] is None
    assert line["prediction_source"] is None
    assert not silent.predictor()["enabled"]
    asked = httpx.post(f"{silent.server.url}/v1/predict", json={"model": MODEL, **chat()})
    assert asked.status_code == httpx.codes.NOT_FOUND
