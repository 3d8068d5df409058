"""Each fault as a client on a real socket sees it."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from alise_bench.sim.faults import Fault, FaultKind, FaultPlan
from fakes.engine import RunningEngine, fast_engine, replaying, running_engine

PATH = "/v1/chat/completions"
BODY: Any = {"messages": [{"role": "user", "content": "hello"}]}
STREAM: Any = {**BODY, "stream": True}


@pytest.fixture
async def engine() -> AsyncIterator[RunningEngine]:
    async with running_engine(fast_engine(0.002, lengths=replaying(hello=8))) as running:
        yield running


@pytest.fixture
async def http(engine: RunningEngine) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=engine.url, timeout=2) as client:
        yield client


async def read(http: httpx.AsyncClient, body: Any = STREAM) -> tuple[bytes, Exception | None]:
    """What arrives of a reply, and how it broke."""
    received = b""
    try:
        async with http.stream("POST", PATH, json=body) as reply:
            async for part in reply.aiter_bytes():
                received += part
    except httpx.HTTPError as error:
        return received, error
    return received, None


def tokens(received: bytes) -> int:
    """Token events in a stream, the role's event aside."""
    return received.count(b'"delta":{"content"')


async def test_nothing_armed_nothing_wrong(http: httpx.AsyncClient) -> None:
    received, error = await read(http)
    assert error is None
    assert tokens(received) == 8


async def test_slow_delays_the_first_byte_and_the_steps(
    engine: RunningEngine, http: httpx.AsyncClient
) -> None:
    loop = asyncio.get_running_loop()
    engine.faults.arm(Fault(FaultKind.SLOW, seconds=0.05, factor=5))
    start = loop.time()
    reply = await http.post(PATH, json=BODY)
    assert reply.status_code == 200
    assert loop.time() - start > 0.05 + 8 * 0.002 * 4
    assert not engine.faults.armed(), "only one request was to be slow"


@pytest.mark.parametrize("body", [BODY, STREAM], ids=["whole", "stream"])
async def test_hanging_before_headers_sends_nothing_and_ends_with_the_client(
    engine: RunningEngine, http: httpx.AsyncClient, body: Any
) -> None:
    engine.faults.arm(Fault(FaultKind.HANG_BEFORE_HEADERS))
    with pytest.raises(httpx.ReadTimeout):
        await http.post(PATH, json=body, timeout=0.05)
    await engine.until(lambda: not engine.connections())


async def test_hanging_midstream_keeps_the_connection(
    engine: RunningEngine, http: httpx.AsyncClient
) -> None:
    engine.faults.arm(Fault(FaultKind.HANG_MIDSTREAM, after_events=3))
    received = b""
    async with http.stream("POST", PATH, json=STREAM) as reply:
        parts = reply.aiter_bytes()
        while tokens(received) < 3:
            received += await anext(parts)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(parts), 0.05)
        assert engine.connections() == 1
        assert tokens(received) == 3
    await engine.until_idle()


async def test_dying_midstream_resets_the_connection(
    engine: RunningEngine, http: httpx.AsyncClient
) -> None:
    engine.faults.arm(Fault(FaultKind.DIE_MIDSTREAM, after_events=3))
    received, error = await read(http)
    assert isinstance(error, httpx.ReadError)
    assert tokens(received) <= 3
    await engine.until_idle()


async def test_closing_midstream_is_good_framing_without_an_end(
    engine: RunningEngine, http: httpx.AsyncClient
) -> None:
    engine.faults.arm(Fault(FaultKind.CLOSE_MIDSTREAM, after_events=3))
    received, error = await read(http)
    assert error is None
    assert tokens(received) == 3
    assert b"[DONE]" not in received
    assert b'"finish_reason":"' not in received


async def test_garbage_sse_comes_between_good_events(
    engine: RunningEngine, http: httpx.AsyncClient
) -> None:
    engine.faults.arm(Fault(FaultKind.GARBAGE_SSE, after_events=1))
    received, error = await read(http)
    assert error is None
    assert b"nonsense\x00" in received
    assert tokens(received) == 8
    assert received.endswith(b"data: [DONE]\n\n")


@pytest.mark.parametrize("body", [BODY, STREAM], ids=["whole", "stream"])
async def test_garbage_http_is_no_response(
    engine: RunningEngine, http: httpx.AsyncClient, body: Any
) -> None:
    engine.faults.arm(Fault(FaultKind.GARBAGE_HTTP))
    _, error = await read(http, body)
    assert isinstance(error, httpx.RemoteProtocolError)


async def test_an_error_as_the_first_event_comes_with_status_200(
    engine: RunningEngine, http: httpx.AsyncClient
) -> None:
    engine.faults.arm(Fault(FaultKind.ERROR_FIRST_EVENT, status=503))
    reply = await http.post(PATH, json=STREAM)
    assert reply.status_code == 200
    first = json.loads(reply.text.splitlines()[0].removeprefix("data: "))
    assert first["error"]["code"] == 503


@pytest.mark.parametrize("status", [500, 502, 503])
async def test_a_status_is_answered(
    engine: RunningEngine, http: httpx.AsyncClient, status: int
) -> None:
    engine.faults.arm(Fault(FaultKind.STATUS, status=status))
    reply = await http.post(PATH, json=STREAM)
    assert reply.status_code == status
    assert reply.json()["error"]["code"] == status
    assert engine.metric("vllm:prompt_tokens_total") == 0


async def test_refused_connections_are_reset(engine: RunningEngine) -> None:
    engine.faults.arm(Fault(FaultKind.REFUSE, count=2))
    async with httpx.AsyncClient(base_url=engine.url) as http:
        for _ in range(2):
            with pytest.raises(httpx.TransportError):
                await http.get("/health")
        assert (await http.get("/health")).status_code == 200


@pytest.mark.parametrize("body", [BODY, STREAM], ids=["whole", "stream"])
async def test_a_wrong_content_length_is_cut(
    engine: RunningEngine, http: httpx.AsyncClient, body: Any
) -> None:
    engine.faults.arm(Fault(FaultKind.WRONG_LENGTH))
    _, error = await read(http, body)
    assert isinstance(error, httpx.RemoteProtocolError)


async def test_a_huge_header_comes_with_a_good_reply(engine: RunningEngine) -> None:
    engine.faults.arm(Fault(FaultKind.HUGE_HEADER, size=50_000))
    async with httpx.AsyncClient(base_url=engine.url) as http:
        reply = await http.post(PATH, json=BODY)
        assert len(reply.headers["x-huge"]) == 50_000
        assert reply.json()["usage"]["completion_tokens"] == 8


async def test_a_never_ending_stream_ends_with_its_reader(
    engine: RunningEngine, http: httpx.AsyncClient
) -> None:
    engine.faults.arm(Fault(FaultKind.NEVER_ENDING, after_events=2, seconds=0.0))
    received = b""
    async with http.stream("POST", PATH, json=STREAM) as reply:
        async for part in reply.aiter_bytes():
            received += part
            if tokens(received) > 50:
                break
    assert tokens(received) > 50
    await engine.until(lambda: not engine.connections())
    assert not engine.open_requests()


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        (FaultKind.DIE_MIDSTREAM, httpx.ReadError),
        (FaultKind.CLOSE_MIDSTREAM, httpx.RemoteProtocolError),
        (FaultKind.HANG_MIDSTREAM, httpx.ReadTimeout),
    ],
)
async def test_faults_of_the_stream_cut_a_whole_body_in_half(
    engine: RunningEngine, kind: FaultKind, error: type[Exception]
) -> None:
    engine.faults.arm(Fault(kind))
    async with httpx.AsyncClient(base_url=engine.url, timeout=0.1) as http:
        with pytest.raises(error):
            await http.post(PATH, json=BODY)


async def test_faults_are_armed_listed_and_cleared_over_http(
    engine: RunningEngine, http: httpx.AsyncClient
) -> None:
    made = await http.post("/sim/faults", json={"kind": "status", "status": 502, "count": 2})
    assert made.status_code == 200
    assert (await http.post(PATH, json=BODY)).status_code == 502
    listed = (await http.get("/sim/faults")).json()["armed"]
    assert [fault["kind"] for fault in listed] == ["status"]
    await http.delete("/sim/faults")
    assert (await http.post(PATH, json=BODY)).status_code == 200
    wrongs: list[Any] = [{"kind": "nonsense"}, {"kind": "slow", "count": 0}, [{}], "slow"]
    for wrong in wrongs:
        assert (await http.post("/sim/faults", json=wrong)).status_code == 400
    await http.post("/sim/faults", json=[{"kind": "huge_header", "size": 10}])
    assert (await http.post(PATH, json=BODY)).headers["x-huge"] == "h" * 10


def test_every_kth_request_is_struck_until_cleared() -> None:
    plan = FaultPlan((Fault(FaultKind.STATUS, every=3, count=None),))
    struck = [plan.for_request(PATH) is not None for _ in range(7)]
    assert struck == [False, False, True, False, False, True, False]
    plan.clear()
    assert not plan.armed()


def test_faults_strike_in_order_and_by_path() -> None:
    plan = FaultPlan()
    plan.arm(Fault(FaultKind.SLOW, path="/v1/embeddings"))
    plan.arm(Fault(FaultKind.STATUS, count=1))
    plan.arm(Fault(FaultKind.GARBAGE_HTTP, count=1))
    kinds = [fault.kind if (fault := plan.for_request(PATH)) else None for _ in range(3)]
    assert kinds == [FaultKind.STATUS, FaultKind.GARBAGE_HTTP, None]
    assert plan.for_connection() is None
    assert plan.for_request("/v1/embeddings") is not None


@pytest.mark.parametrize(
    "wrong", [{"every": 0}, {"count": 0}, {"after_events": -1}, {"seconds": -1.0}, {"factor": 0.0}]
)
def test_a_fault_without_sense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must"):
        Fault(FaultKind.SLOW, **wrong)
