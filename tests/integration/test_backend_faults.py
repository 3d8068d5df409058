"""Everything a backend can do wrong: the client sees one clean outcome, and nothing is left."""

import json
from collections.abc import AsyncIterator

import pytest

from alise_bench.sim.faults import Fault, FaultKind
from alise_core.outcome import Outcome
from fakes.asking import ask, check_refused, last_event
from fakes.clock import FakeClock
from fakes.engine import RunningEngine, fast_engine, replaying, running_engine
from fakes.gateway import RunningGateway, eventually, running_gateway
from fakes.raw_client import chat, connected, post

ERROR = Outcome.FAILED_BACKEND_ERROR
TIMEOUT = Outcome.FAILED_BACKEND_TIMEOUT
LOST = Outcome.FAILED_BACKEND_LOST_MIDSTREAM
LENGTHS = replaying(hello=8)
BOTH = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
NO_RETRY = {"max_retries": 0}


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def engine() -> AsyncIterator[RunningEngine]:
    async with running_engine(fast_engine(lengths=LENGTHS)) as running:
        yield running
        await running.until_idle()


@pytest.fixture
async def other() -> AsyncIterator[RunningEngine]:
    async with running_engine(fast_engine(lengths=LENGTHS)) as running:
        yield running


@pytest.fixture
async def gateway(engine: RunningEngine, clock: FakeClock) -> AsyncIterator[RunningGateway]:
    """In front of one engine, without retries."""
    async with running_gateway(engine.url, clock=clock, upstream=NO_RETRY) as running:
        yield running


@pytest.fixture
async def pair(
    engine: RunningEngine, other: RunningEngine, clock: FakeClock
) -> AsyncIterator[RunningGateway]:
    """In front of two engines."""
    async with running_gateway(engine.url, other.url, clock=clock) as running:
        yield running


@BOTH
async def test_refused_connections(
    gateway: RunningGateway, engine: RunningEngine, stream: bool
) -> None:
    await engine.stop()
    reply = await ask(gateway, stream=stream)
    check_refused(reply, ERROR, 502, "backend_connect")
    gateway.expect(ERROR, attempts=1, backend=engine.name)
    assert gateway.metric("alise_gateway_backend_failures_total", kind="connect") == 1


@BOTH
@pytest.mark.parametrize(
    ("kind", "failure"),
    [
        (FaultKind.REFUSE, "lost"),
        (FaultKind.GARBAGE_HTTP, "protocol"),
        (FaultKind.HUGE_HEADER, "protocol"),
    ],
)
async def test_connections_that_break_before_an_answer(
    gateway: RunningGateway, engine: RunningEngine, kind: FaultKind, failure: str, stream: bool
) -> None:
    engine.faults.arm(Fault(kind))
    reply = await ask(gateway, stream=stream)
    check_refused(reply, ERROR, 502, f"backend_{failure}")
    gateway.expect(ERROR, attempts=1, status=502)
    assert gateway.metric("alise_gateway_backend_failures_total", kind=failure) == 1
    assert (await ask(gateway, stream=stream)).status == 200


@BOTH
@pytest.mark.parametrize(
    "kind", [FaultKind.REFUSE, FaultKind.GARBAGE_HTTP, FaultKind.HUGE_HEADER, FaultKind.STATUS]
)
async def test_another_backend_answers_where_one_failed(
    pair: RunningGateway,
    engine: RunningEngine,
    other: RunningEngine,
    kind: FaultKind,
    stream: bool,
) -> None:
    engine.faults.arm(Fault(kind))
    other.faults.arm(Fault(FaultKind.SLOW, count=None, seconds=0.0))
    for _ in range(2):
        reply = await ask(pair, stream=stream)
        assert reply.status == 200
    tried = [line["attempts"] for line in pair.requests()]
    assert sorted(tried) == [1, 2]
    retried = next(line for line in pair.requests() if line["attempts"] == 2)
    assert (retried["backend"], retried["output_tokens"]) == (other.name, 8)
    assert pair.metric("alise_gateway_retries_total", backend=engine.name) == 1


@BOTH
async def test_both_backends_fail(
    pair: RunningGateway, engine: RunningEngine, other: RunningEngine, stream: bool
) -> None:
    for one in (engine, other):
        one.faults.arm(Fault(FaultKind.STATUS, status=500))
    reply = await ask(pair, stream=stream)
    check_refused(reply, ERROR, 500, "backend_status")
    pair.expect(ERROR, attempts=2, status=500)


@pytest.mark.parametrize(("status", "shown"), [(500, 500), (501, 501), (502, 502), (504, 502)])
async def test_a_status_of_failure(
    gateway: RunningGateway, engine: RunningEngine, status: int, shown: int
) -> None:
    engine.faults.arm(Fault(FaultKind.STATUS, status=status))
    reply = await ask(gateway)
    check_refused(reply, ERROR, shown, "backend_status")
    gateway.expect(ERROR, status=shown)


@BOTH
@pytest.mark.parametrize("kind", [FaultKind.STATUS, FaultKind.ERROR_FIRST_EVENT])
async def test_a_full_backend_alone(
    gateway: RunningGateway, engine: RunningEngine, kind: FaultKind, stream: bool
) -> None:
    engine.faults.arm(Fault(kind, status=503))
    reply = await ask(gateway, stream=stream)
    check_refused(reply, Outcome.REJECTED_SATURATED, 503, "backend_overloaded")
    gateway.expect(Outcome.REJECTED_SATURATED, status=503, attempts=1)


@BOTH
@pytest.mark.parametrize("kind", [FaultKind.STATUS, FaultKind.ERROR_FIRST_EVENT])
async def test_a_full_backend_among_others(
    pair: RunningGateway, engine: RunningEngine, kind: FaultKind, stream: bool
) -> None:
    engine.faults.arm(Fault(kind, count=None, status=503))
    for _ in range(4):
        assert (await ask(pair, stream=stream)).status == 200
    assert {line["outcome"] for line in pair.requests()} == {"completed"}
    assert pair.metric("alise_gateway_retries_total", reason="overloaded") >= 1
    assert pair.backend(engine.name).breaker.allows(pair.app.clock.now()), "full is not broken"


@BOTH
async def test_errors_about_the_request_pass_through_word_for_word(
    gateway: RunningGateway, engine: RunningEngine, stream: bool
) -> None:
    async with connected(engine.port) as direct:
        direct.send(post(chat(max_tokens=100_000, stream=stream)))
        expected = await direct.reply()
    reply = await ask(gateway, max_tokens=100_000, stream=stream)
    assert (reply.status, reply.body) == (expected.status, expected.body) == (400, reply.body)
    assert gateway.backend(engine.name).breaker.allows(gateway.app.clock.now())
    gateway.expect(Outcome.REJECTED_INVALID, status=400, attempts=1, backend=engine.name)
    assert gateway.metric("alise_gateway_backend_failures_total") == 0


async def test_a_refusal_of_the_gateways_own_credential_is_not_the_clients_fault() -> None:
    async with (
        running_engine(fast_engine(lengths=LENGTHS)) as engine,
        running_gateway(engine.url, upstream=NO_RETRY) as gateway,
    ):
        engine.faults.arm(Fault(FaultKind.STATUS, status=401))
        reply = await ask(gateway, "authorization: Bearer client-key")
        check_refused(reply, ERROR, 502, "backend_status")
        assert "www-authenticate" not in reply.headers
        gateway.expect(ERROR, status=502)


@pytest.mark.parametrize(
    ("stream", "seconds"), [(False, 600), (True, 300)], ids=["whole", "stream"]
)
async def test_silence_before_the_first_byte(
    gateway: RunningGateway, engine: RunningEngine, clock: FakeClock, stream: bool, seconds: float
) -> None:
    engine.faults.arm(Fault(FaultKind.HANG_BEFORE_HEADERS))
    async with connected(gateway.port) as client:
        client.send(post(chat(stream=stream)))
        await eventually(lambda: not engine.faults.armed())
        clock.advance(seconds - 1)
        gateway.sweep()
        assert gateway.requests() == []
        clock.advance(2)
        gateway.sweep()
        reply = await client.reply()
    check_refused(reply, TIMEOUT, 504, "backend_timeout")
    gateway.expect(TIMEOUT, status=504, attempts=1)


async def test_silence_is_not_tried_again_elsewhere(
    pair: RunningGateway, engine: RunningEngine, other: RunningEngine, clock: FakeClock
) -> None:
    for one in (engine, other):
        one.faults.arm(Fault(FaultKind.HANG_BEFORE_HEADERS))
    async with connected(pair.port) as client:
        client.send(post(chat()))
        await eventually(lambda: len(engine.faults.armed()) + len(other.faults.armed()) == 1)
        clock.advance(601)
        pair.sweep()
        check_refused(await client.reply(), TIMEOUT, 504, "backend_timeout")
    pair.expect(TIMEOUT, attempts=1)


async def test_silence_in_the_middle_of_a_stream(
    gateway: RunningGateway, engine: RunningEngine, clock: FakeClock
) -> None:
    engine.faults.arm(Fault(FaultKind.HANG_MIDSTREAM, after_events=2))
    async with connected(gateway.port) as client:
        client.send(post(chat(stream=True)))
        await client.head()
        received = b""
        while received.count(b'"content":"') < 3:  # the role's event has an empty one
            received += await client.event()
        gateway.sweep()
        clock.advance(119)
        gateway.sweep()
        assert gateway.requests() == []
        clock.advance(2)
        gateway.sweep()
        event = await client.event()
        assert await client.event() == b"", "the framing ends properly"
        client.send(post(chat()))
        assert (await client.reply()).status == 200, "the connection is still good"
    assert json.loads(event.removeprefix(b"data: "))["error"]["type"] == "server_error"
    assert gateway.requests()[0]["outcome"] == "failed_backend_timeout"


@pytest.mark.parametrize("kind", [FaultKind.DIE_MIDSTREAM, FaultKind.CLOSE_MIDSTREAM])
async def test_a_stream_that_breaks_ends_with_an_error_event(
    gateway: RunningGateway, engine: RunningEngine, kind: FaultKind
) -> None:
    engine.faults.arm(Fault(kind, after_events=3))
    reply = await ask(gateway, stream=True)
    error = last_event(reply)["error"]
    assert (error["code"], error["type"]) == ("backend_lost_midstream", "server_error")
    assert b"[DONE]" not in reply.body
    gateway.expect(LOST, status=200, attempts=1, stream=True)
    assert gateway.metric("alise_gateway_backend_failures_total", kind="lost_midstream") == 1


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/responses"])
async def test_other_streams_that_break_say_so_in_their_own_way(
    gateway: RunningGateway, engine: RunningEngine, path: str
) -> None:
    engine.faults.arm(Fault(FaultKind.DIE_MIDSTREAM, after_events=3))
    async with connected(gateway.port) as client:
        client.send(post(chat(stream=True, input="hello"), path=path))
        reply = await client.reply()
    kind, data = reply.body.removesuffix(b"\n\n").rpartition(b"\n\n")[2].split(b"\n")
    assert kind == b"event: error"
    assert json.loads(data.removeprefix(b"data: "))["type"] == "error"
    gateway.expect(LOST, stream=True)


@pytest.mark.parametrize("kind", [FaultKind.DIE_MIDSTREAM, FaultKind.CLOSE_MIDSTREAM])
async def test_a_stream_over_http_1_0_that_breaks(
    gateway: RunningGateway, engine: RunningEngine, kind: FaultKind
) -> None:
    engine.faults.arm(Fault(kind, after_events=3))
    async with connected(gateway.port) as client:
        client.send(post(chat(stream=True), version="1.0"))
        reply = await client.reply()
    assert last_event(reply)["error"]["code"] == "backend_lost_midstream"
    gateway.expect(LOST)


@pytest.mark.parametrize(
    "kind", [FaultKind.DIE_MIDSTREAM, FaultKind.CLOSE_MIDSTREAM, FaultKind.WRONG_LENGTH]
)
async def test_a_body_that_breaks_before_the_client_saw_it_is_asked_for_again(
    pair: RunningGateway, engine: RunningEngine, kind: FaultKind
) -> None:
    engine.faults.arm(Fault(kind))
    for _ in range(2):
        assert (await ask(pair)).status == 200
    assert sorted(line["attempts"] for line in pair.requests()) == [1, 2]


@BOTH
async def test_a_wrong_content_length(
    gateway: RunningGateway, engine: RunningEngine, stream: bool
) -> None:
    engine.faults.arm(Fault(FaultKind.WRONG_LENGTH))
    reply = await ask(gateway, stream=stream)
    if stream:
        assert last_event(reply)["error"]["code"] == "backend_lost_midstream"
        gateway.expect(LOST)
    else:
        check_refused(reply, ERROR, 502, "backend_lost")
        gateway.expect(ERROR)


async def test_garbage_among_the_events_reaches_the_client_as_it_is(
    gateway: RunningGateway, engine: RunningEngine
) -> None:
    engine.faults.arm(Fault(FaultKind.GARBAGE_SSE, after_events=3))
    reply = await ask(gateway, stream=True)
    assert b"nonsense\x00" in reply.body
    assert reply.body.endswith(b"data: [DONE]\n\n")
    gateway.expect(Outcome.COMPLETED, output_tokens=8)


async def test_garbage_as_a_body(gateway: RunningGateway, engine: RunningEngine) -> None:
    engine.faults.arm(Fault(FaultKind.GARBAGE_SSE))
    reply = await ask(gateway)
    assert reply.status == 200
    gateway.expect(Outcome.COMPLETED, output_tokens=None)


async def test_an_error_as_the_first_event_becomes_a_status(
    gateway: RunningGateway, engine: RunningEngine
) -> None:
    engine.faults.arm(Fault(FaultKind.ERROR_FIRST_EVENT, status=500))
    check_refused(await ask(gateway, stream=True), ERROR, 500, "backend_status")
    gateway.expect(ERROR, status=500)


@BOTH
async def test_no_backend_at_all(stream: bool) -> None:
    async with running_gateway() as gateway:
        reply = await ask(gateway, stream=stream)
        check_refused(reply, Outcome.REJECTED_NO_BACKENDS, 503, "rejected_no_backends")
        assert int(reply.headers["retry-after"]) >= 5
        gateway.expect(Outcome.REJECTED_NO_BACKENDS, attempts=0, backend=None)


@BOTH
async def test_all_backends_down_from_the_start(
    engine: RunningEngine, other: RunningEngine, stream: bool
) -> None:
    await engine.stop()
    await other.stop()
    health = {"unhealthy_after_failures": 1}
    async with running_gateway(engine.url, other.url, health=health) as gateway:
        reply = await ask(gateway, stream=stream)
        check_refused(reply, Outcome.REJECTED_NO_BACKENDS, 503, "rejected_no_backends")
        gateway.expect(Outcome.REJECTED_NO_BACKENDS)


@BOTH
async def test_all_backends_go_down(
    pair: RunningGateway, engine: RunningEngine, other: RunningEngine, stream: bool
) -> None:
    assert (await ask(pair, stream=stream)).status == 200
    await engine.stop()
    await other.stop()
    reply = await ask(pair, stream=stream)
    check_refused(reply, ERROR, 502, "backend_connect")
    pair.expect(ERROR, attempts=2)


async def test_retries_end_with_their_budget(engine: RunningEngine, other: RunningEngine) -> None:
    budget = {"retry_budget_ratio": 0.0, "retry_budget_floor_per_second": 0.0}
    health = {"breaker_failures": 1_000}
    async with running_gateway(
        engine.url, other.url, clock=FakeClock(), upstream=budget, health=health
    ) as gateway:
        for one in (engine, other):
            one.faults.arm(Fault(FaultKind.STATUS, count=None, status=500))
        for _ in range(15):
            assert (await ask(gateway)).status == 500
        # The bucket starts with ten; a request has at most one other backend to try.
        assert gateway.metric("alise_gateway_retries_total") == 10
        assert [line["attempts"] for line in gateway.requests()] == [2] * 10 + [1] * 5
