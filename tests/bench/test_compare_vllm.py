"""Real engines of comparisons, without one: command lines, configuration, lengths, load, marks."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace

import pytest

from alise_bench.compare.balanced import BalancedPlan, BalancedRun, run_balanced
from alise_bench.compare.cli import main
from alise_bench.compare.engine import EngineWish, open_engine, refuse_untold, usual_of
from alise_bench.compare.guesses import Guesser, Opinions
from alise_bench.compare.report import render
from alise_bench.compare.results import Results
from alise_bench.compare.rows import ROWS, Knowledge
from alise_bench.compare.vllm import read_log, request_id, served_by_gateway, served_directly
from alise_bench.compare.vllm_lengths import (
    MOST_OUTPUT_TOKENS,
    MOST_PROMPT_CHARS,
    chat_body,
    lengths_of,
    seen_by_a_gateway,
    shaped,
)
from alise_bench.compare.vllm_servers import (
    MAX_NUM_SEQS,
    MODEL,
    gateway_config,
)
from alise_bench.load.request import Address, LoadRequest, post
from alise_bench.load.result import ErrorKind, RequestResult
from alise_bench.workloads.traces import TraceRow
from alise_core.errors import ConfigError
from alise_core.outcome import Outcome
from alise_core.policy import OrderingName
from alise_core.service_class import ServiceClass
from alise_gateway.predict.loaded import with_bundle, without_bundle
from alise_gateway.settings import GatewaySettings, PredictorSettings

ENGINES = [Address("127.0.0.1", 9001), Address("127.0.0.1", 9002)]


def asked(prompt: str = "why", tokens: int = 100, arrival: float = 0.0) -> TraceRow:
    return TraceRow(arrival_s=arrival, output_tokens=tokens, prompt_tokens=1, prompt=prompt)


# Lengths


def test_answers_are_shorter_and_prompts_are_cut() -> None:
    rows = shaped([asked("a", 100), asked("b", 5_000), asked("c", 1), asked("d" * 9_999)])
    assert [row.output_tokens for row in rows] == [50, MOST_OUTPUT_TOKENS, 1, 50]
    assert rows[3].prompt == "d" * MOST_PROMPT_CHARS
    assert rows[3].prompt_tokens == MOST_PROMPT_CHARS // 4


def test_a_prompt_that_comes_again_gets_an_answer_as_long() -> None:
    rows = shaped([asked("a", 100), asked("b", 20), asked("a", 300)])
    assert [row.output_tokens for row in rows] == [50, 10, 50]
    assert list(lengths_of(rows).values()) == [50, 10]


def test_what_was_learned_before_is_what_a_gateway_without_keys_would_have_learned() -> None:
    rows = [asked(f"Question {number}", 90) for number in range(40)]
    history = seen_by_a_gateway(shaped(rows), MODEL)
    opinions = Opinions((), tier1=False)
    snapshot = Guesser(Knowledge.PREDICTED, (), opinions, 0, history).learned()

    settings = PredictorSettings()
    gateway = with_bundle(opinions.model, settings, without_bundle(settings)).learner
    gateway.restore(snapshot)

    assert gateway.keys() == [("anonymous", MODEL)]
    assert gateway.statistics("anonymous", MODEL).answers == len(rows)
    sent = [json.loads(chat_body(row, MODEL)) for row in shaped(rows)]
    assert [body["messages"] for body in sent] == [list(row.messages or ()) for row in history]


def test_a_request_says_nothing_of_its_answers_length() -> None:
    item = replace(asked("why", 123), service_tier="flex")
    body = json.loads(chat_body(item, "m"))
    assert body == {
        "model": "m",
        "messages": [{"role": "user", "content": "why"}],
        "stream": True,
        "stream_options": {"include_usage": True},
        "service_tier": "flex",
    }


# Processes


@pytest.mark.parametrize("name", [*OrderingName, "default"])
def test_a_rows_configuration_is_one_that_the_gateway_takes(name: str) -> None:
    row = ROWS[name]
    config = gateway_config(row, 8080, ENGINES, tier1=False)
    settings = GatewaySettings.model_validate(config)
    assert settings.scheduling.ordering == row.policy.ordering.name
    assert [it.url for it in settings.backends] == [engine.url for engine in ENGINES]
    assert settings.queue.max_in_flight_per_backend == MAX_NUM_SEQS + 1
    more = gateway_config(row, 8080, ENGINES, tier1=False, run_ahead=8)
    assert more["queue"]["max_in_flight_per_backend"] == MAX_NUM_SEQS + 8
    assert settings.predictor.tier1 == "off"
    classes = settings.scheduling.classes
    assert set(classes) == set(ServiceClass)
    assert all((it.ttl_seconds or 0) >= 86_400 for it in classes.values())


# Load


class Answering:
    """A server that streams one event after each request, or holds its answers back."""

    def __init__(self, *, held: bool = False) -> None:
        self.requests = 0
        self.may_answer = asyncio.Event()
        if not held:
            self.may_answer.set()
        self._handlers: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Address]:
        """Listens for the time of the block."""
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        try:
            yield Address("127.0.0.1", server.sockets[0].getsockname()[1])
        finally:
            server.close()
            self.may_answer.set()
            await asyncio.gather(*self._handlers)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._handlers.add(asyncio.create_task(self._serve(reader, writer)))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        self.requests += 1
        await self.may_answer.wait()
        body = b'data: {"usage": {"completion_tokens": 3}}\n\ndata: [DONE]\n\n'
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
        with suppress(OSError):
            await reader.read()
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


def build(number: int, address: Address) -> LoadRequest:
    wire = post(address, "/v1/chat/completions", b"{}", {"x-request-id": request_id(number)})
    return LoadRequest(wire, streamed=True, reads_usage=True)


OFFSETS = (0.0, 0.02, 0.04, 0.06)


async def test_servers_take_turns() -> None:
    async with Answering().running() as first, Answering().running() as second:
        plan = BalancedPlan(servers=[first, second], takes_turns=True, offsets=OFFSETS)
        run = await run_balanced(plan, build, time.monotonic)
    assert run.servers == {0: 0, 1: 1, 2: 0, 3: 1}
    assert [result.error for result in run.results] == [None] * 4
    assert [result.tokens for result in run.results] == [3] * 4


@pytest.mark.slow
async def test_the_server_with_the_fewest_requests_is_next() -> None:
    busy, idle = Answering(held=True), Answering()
    async with busy.running() as first, idle.running() as second:
        plan = BalancedPlan(
            servers=[first, second],
            takes_turns=False,
            offsets=[10 * offset for offset in OFFSETS],
            drain_seconds=0.3,
        )
        run = await run_balanced(plan, build, time.monotonic)
    # The first has one request throughout; where both have as many, the turn decides.
    assert [run.servers[number] for number in range(4)] == [0, 1, 1, 1]
    assert (busy.requests, idle.requests) == (1, 3)


async def test_a_server_that_is_gone_is_an_error_and_no_wait() -> None:
    async with Answering().running() as gone:
        pass
    plan = BalancedPlan(servers=[gone], takes_turns=True, offsets=[0.0])
    run = await run_balanced(plan, build, time.monotonic)
    assert [result.error for result in run.results] == [ErrorKind.CONNECT]


async def test_what_is_not_answered_in_time_is_unfinished() -> None:
    async with Answering(held=True).running() as slow:
        plan = BalancedPlan(servers=[slow], takes_turns=True, offsets=[0.0], drain_seconds=0.05)
        run = await run_balanced(plan, build, time.monotonic)
    assert [result.error for result in run.results] == [ErrorKind.UNFINISHED]


# Marks


def result(number: int, started: float, error: ErrorKind | None = None) -> RequestResult:
    return RequestResult(number, started, 0.5, 2.0, 200, 9, 99, 50, error)


def run_of(*results: RequestResult) -> BalancedRun:
    return BalancedRun(100.0, list(results), {item.number: item.number % 2 for item in results})


def test_what_is_sent_directly_is_dispatched_at_once() -> None:
    rows = [asked(), asked()]
    second, first = result(1, 103.0, ErrorKind.RESET), result(0, 101.0)
    served = served_directly(rows, run_of(second, first))
    assert [item.number for item in served] == [0, 1]
    assert (served[0].arrival, served[0].dispatched) == (1.0, 1.0)
    assert (served[0].first_token, served[0].last_token, served[0].output_tokens) == (1.5, 3.0, 50)
    assert served[0].backend == "vllm-0"
    assert (served[1].last_token, served[1].outcome) == (None, Outcome.FAILED_BACKEND_ERROR)


def test_the_gateways_log_says_when_and_where() -> None:
    lines = [
        '{"event": "gateway_ready"}',
        "Traceback",
        json.dumps(
            {
                "event": "request",
                "request_id": request_id(0),
                "outcome": "completed",
                "backend": "b",
                "dispatched_s": 0.25,
            }
        ),
        json.dumps({"event": "request", "request_id": request_id(1), "outcome": "evicted_ttl"}),
        '{"event": "requ',
    ]
    log = read_log("\n".join(lines))
    run = run_of(result(0, 101.0), result(1, 102.0, ErrorKind.STATUS))
    served = served_by_gateway([asked(), asked()], run, log)
    assert (served[0].dispatched, served[0].backend) == (1.25, "b")
    assert (served[1].dispatched, served[1].outcome) == (None, Outcome.EVICTED_TTL)


# The command


@pytest.mark.parametrize("name", ["oracle", "shuffled", "noise60"])
def test_rows_that_tell_lengths_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=f"--rows {name}: .*--engine sim"):
        main(["--engine", "vllm", "--vllm", "{}", "--rows", name])
    refuse_untold("sim", [ROWS[name]])


def test_the_usual_rows_can_be_had() -> None:
    usual = usual_of("vllm")
    refuse_untold("vllm", [ROWS[name] for name in usual.rows])
    assert usual.seeds >= 2


@pytest.mark.parametrize(
    ("where", "said"),
    [
        (None, "vllm_env.py"),
        ("{}", "--vllm"),
        ('{"vllm": "/nowhere/vllm", "model": "/m"}', "/nowhere"),
    ],
)
def test_where_vllm_is_has_to_be_said(where: str | None, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        open_engine("vllm", EngineWish("", 2, vllm=where))


def test_a_document_of_real_engines_names_them_and_what_holds_for_them_alone() -> None:
    conditions = {
        "started": "2026-01-02T03:04:05",
        "engine": "vllm",
        "pods": 2,
        "engine_notes": ["answers are shorter"],
        "warnings": [],
        "notes": ["of every engine"],
    }
    text = render(Results(conditions, []), [])
    assert "- of every engine\n- answers are shorter\n" in text
    assert "(2 pods, vllm)" in text
