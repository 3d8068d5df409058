"""The simulator against recordings of vLLM 0.32: same headers, framing, events and fields.

``tests/fixtures/vllm_0_32`` holds replies of a real server byte for byte. The same requests go
to the simulator over a raw socket; values that must differ (ids, words, counts) are compared
by type, everything else exactly.
"""

import asyncio
import itertools
import json
from pathlib import Path
from typing import Any

import pytest

from alise_bench.sim.engine import Admission
from fakes.engine import RunningEngine, fast_engine, running_engine

RECORDINGS = Path(__file__).parents[1] / "fixtures" / "vllm_0_32"
REQUESTS: dict[str, Any] = json.loads((RECORDINGS / "requests.json").read_text())
# The recorded model generates text; the simulator serves embeddings beside it.
SERVED = sorted(set(REQUESTS) - {"error_no_embeddings"})
EXACT_ERRORS = [name for name in SERVED if name.startswith("error_")]


async def ask(engine: RunningEngine, name: str) -> bytes:
    """The simulator's reply to a recorded request, as it comes from the socket."""
    recorded = REQUESTS[name]
    body = recorded["body"]
    content = body if isinstance(body, str) else json.dumps(body) if body else ""
    head = (
        f"{recorded['method']} {recorded['path']} HTTP/1.1\r\nhost: x\r\n"
        f"content-type: application/json\r\ncontent-length: {len(content)}\r\n\r\n"
    )
    reader, writer = await asyncio.open_connection("127.0.0.1", engine.port)
    writer.write((head + content).encode())
    reply = await reader.readuntil(b"\r\n\r\n")
    if b"transfer-encoding: chunked" in reply:
        reply += await reader.readuntil(b"0\r\n\r\n")
    else:
        length = int(reply.split(b"content-length: ")[1].split(b"\r\n")[0])
        reply += await reader.readexactly(length)
    writer.close()
    await writer.wait_closed()
    return reply


def split(reply: bytes) -> tuple[bytes, list[bytes], bytes]:
    """Status line, header names in order, body with its framing."""
    head, _, body = reply.partition(b"\r\n\r\n")
    status, *lines = head.split(b"\r\n")
    return status, [line.split(b":")[0] for line in lines], body


def chunks(body: bytes) -> list[bytes]:
    """Contents of the chunks of a chunked body, the last one left out."""
    found: list[bytes] = []
    while True:
        size, _, rest = body.partition(b"\r\n")
        length = int(size, 16)
        if length == 0:
            return found
        found.append(rest[:length])
        body = rest[length + 2 :]


def skeleton(value: Any) -> Any:
    """Names in order and types; lists of numbers and texts by the type of their items."""
    if isinstance(value, dict):
        return [(key, skeleton(item)) for key, item in value.items()]
    if isinstance(value, list):
        return [skeleton(item) for item in value]
    return type(value).__name__


def event_skeleton(chunk: bytes) -> Any:
    """What is fixed of one event: its name and its fields; the end mark as it is."""
    lines = chunk.decode().rstrip("\n").split("\n")
    data = lines[-1].removeprefix("data: ")
    return (lines[:-1], data if data == "[DONE]" else skeleton(json.loads(data)))


@pytest.mark.parametrize("name", SERVED)
async def test_the_simulator_answers_as_vllm_did(name: str) -> None:
    admission = Admission(0 if name.endswith("_full") else None)
    config = fast_engine(model="tiny", request_id_headers=True, admission=admission)
    async with running_engine(config) as engine:
        got = split(await ask(engine, name))
    want = split((RECORDINGS / f"{name}.bin").read_bytes())
    assert got[:2] == want[:2]
    if b"transfer-encoding" in want[1]:
        # Neighbouring events of one kind are one: how tokens gather in events is chance.
        got_events, want_events = (
            [kind for kind, _ in itertools.groupby(map(event_skeleton, chunks(body)))]
            for body in (got[2], want[2])
        )
        assert got_events == want_events
    elif want[2]:
        assert skeleton(json.loads(got[2])) == skeleton(json.loads(want[2]))


@pytest.mark.parametrize("name", EXACT_ERRORS)
async def test_errors_say_exactly_what_vllm_says(name: str) -> None:
    async with running_engine(fast_engine(model="tiny", request_id_headers=True)) as engine:
        _, _, body = split(await ask(engine, name))
    assert body == split((RECORDINGS / f"{name}.bin").read_bytes())[2]
