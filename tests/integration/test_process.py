"""``alise gateway`` as a process: how it starts, refuses to start, drains and ends."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from fakes.engine import RunningEngine, fast_engine, replaying, running_engine
from fakes.raw_client import chat, connected, post

pytestmark = pytest.mark.slow

_PATIENCE_SECONDS = 20.0
LONG: dict[str, Any] = {"content": "long", "stream": True, "max_tokens": 2000}


class Process:
    """``alise gateway`` and what it has written.

    Attributes:
        port: The inference port, from its log.
    """

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.lines: list[dict[str, Any]] = []
        self.port = 0

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    async def event(self, matches: Callable[[dict[str, Any]], object] | str) -> dict[str, Any]:
        """Read the log until a line has this event, or matches."""
        wanted = matches if callable(matches) else (lambda line: line["event"] == matches)
        stream = self.process.stdout
        assert stream is not None
        async with asyncio.timeout(_PATIENCE_SECONDS):
            while raw := await stream.readline():
                line: dict[str, Any] = json.loads(raw)
                self.lines.append(line)
                if wanted(line):
                    return line
        raise AssertionError(f"the log ended without {matches}")

    async def ended(self) -> int:
        """Its exit code; the rest of the log is read, and nothing was written to stderr."""
        out, err = await asyncio.wait_for(self.process.communicate(), _PATIENCE_SECONDS)
        self.lines += [json.loads(raw) for raw in out.splitlines()]
        assert err == b""
        assert self.process.returncode is not None
        return self.process.returncode

    def outcomes(self) -> list[str]:
        return [line["outcome"] for line in self.lines if line["event"] == "request"]


def command(*arguments: str) -> list[str]:
    return [
        sys.executable,
        "-c",
        "from alise_cli import main; raise SystemExit(main())",
        *arguments,
    ]


@contextlib.asynccontextmanager
async def started(*arguments: str, **environment: str) -> AsyncIterator[Process]:
    """A gateway that is ready; killed at the end if it still runs."""
    process = await asyncio.create_subprocess_exec(
        *command("gateway", "--port", "0", "--insecure-no-auth", *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=os.environ | environment,  # noqa: TID251  the child's, not ours
    )
    running = Process(process)
    try:
        running.port = (await running.event("gateway_ready"))["port"]
        yield running
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def refused(*arguments: str, **environment: str) -> str:
    """The line with which the gateway refuses to start."""
    process = await asyncio.create_subprocess_exec(
        *command("gateway", *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=os.environ | environment,  # noqa: TID251  the child's, not ours
    )
    _, err = await asyncio.wait_for(process.communicate(), _PATIENCE_SECONDS)
    assert process.returncode == 2
    text = err.decode()
    assert text.count("\n") == 1, text
    assert "Traceback" not in text
    return text


@pytest.fixture
async def engine() -> AsyncIterator[RunningEngine]:
    async with running_engine(fast_engine(0.002, lengths=replaying(hello=4, long=300))) as running:
        yield running


async def test_sigterm_lets_streams_finish_and_takes_nothing_new(engine: RunningEngine) -> None:
    async with (
        started("--backend", engine.url) as gateway,
        connected(gateway.port) as busy,
        connected(gateway.port) as idle,
    ):
        idle.send(b"GET /readyz HTTP/1.1\r\nhost: a\r\n\r\n")
        assert (await idle.reply()).status == 200
        busy.send(post(chat(**LONG)))
        await busy.head()
        gateway.signal(signal.SIGTERM)
        await gateway.event("gateway_draining")
        await idle.closed()
        async with connected(gateway.port) as late:
            late.send(b"GET /readyz HTTP/1.1\r\nhost: a\r\n\r\n")
            assert (await late.reply()).status == 503
        async with connected(gateway.port) as late:
            late.send(post(chat()))
            reply = await late.reply()
            assert reply.status == 503
            assert reply.headers["x-alise-dropped-reason"] == "rejected_shutting_down"
            assert int(reply.headers["retry-after"]) >= 1
            assert reply.error["type"] == "server_error"
        received = b""
        while event := await busy.event():
            received += event
        assert received.endswith(b"data: [DONE]\n\n")
        assert await gateway.ended() == 0
        assert gateway.outcomes() == ["rejected_shutting_down", "completed"]
        finished = [line for line in gateway.lines if line["event"] == "request"][-1]
        assert finished["output_tokens"] == 300


async def test_a_drain_that_takes_too_long_ends_streams_with_an_error_event() -> None:
    slow = fast_engine(0.01, lengths=replaying(hello=4, long=2000))
    patience = {"ALISE_GATEWAY_TIMEOUTS__DRAIN_SECONDS": "0.3"}
    async with (
        running_engine(slow) as engine,
        started("--backend", engine.url, "--max-in-flight", "2", **patience) as gateway,
        connected(gateway.port) as stream,
        connected(gateway.port) as whole,
        connected(gateway.port) as waiting,
    ):
        stream.send(post(chat(**LONG)))
        await stream.head()
        whole.send(post(chat(**{**LONG, "stream": False})))
        await engine.until(lambda: len(engine.open_requests()) == 2)
        waiting.send(post(chat()))
        # Its own connection's answer shows that the gateway has read the request before.
        async with connected(gateway.port) as probe:
            probe.send(b"GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n")
            await probe.reply()
        gateway.signal(signal.SIGTERM)
        received = b""
        while event := await stream.event():
            received += event
        last = json.loads(received.removesuffix(b"\n\n").rpartition(b"data: ")[2])
        assert last["error"]["code"] == "rejected_shutting_down"
        await stream.closed()
        for client in (whole, waiting):
            reply = await client.reply()
            assert reply.status == 503
            assert reply.error["code"] == "rejected_shutting_down"
            await client.closed()
        assert await gateway.ended() == 0
        assert gateway.outcomes() == ["rejected_shutting_down"] * 3
        await engine.until_idle()


async def test_a_second_signal_is_impatient() -> None:
    async with (
        running_engine(fast_engine(0.02, lengths=replaying(long=2000))) as slow,
        started("--backend", slow.url) as gateway,
        connected(gateway.port) as client,
    ):
        client.send(post(chat(**LONG)))
        await client.head()
        gateway.signal(signal.SIGTERM)
        await gateway.event("gateway_draining")
        gateway.signal(signal.SIGINT)
        assert b"rejected_shutting_down" in await client.rest()
        assert await gateway.ended() == 0


async def test_an_idle_gateway_ends_at_once(engine: RunningEngine) -> None:
    async with started("--backend", engine.url, "--admin-port", "0") as gateway:
        gateway.signal(signal.SIGINT)
        assert await gateway.ended() == 0
        assert gateway.lines[-1]["event"] == "gateway_stopped"


async def test_the_admin_port_can_start_the_drain(engine: RunningEngine) -> None:
    async with started("--backend", engine.url, "--admin-port", "0") as gateway:
        port = gateway.lines[-1]["admin_port"]
        async with connected(port) as admin:
            admin.send(b"POST /alise/drain HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n")
            assert (await admin.head())[0] == 202
        assert await gateway.ended() == 0


async def test_log_lines_are_json_objects_with_the_same_keys_first(engine: RunningEngine) -> None:
    async with started("--backend", engine.url) as gateway:
        async with connected(gateway.port) as client:
            client.send(post(chat()))
            await client.reply()
        gateway.signal(signal.SIGTERM)
        assert await gateway.ended() == 0
        assert gateway.outcomes() == ["completed"]
        for line in gateway.lines:
            assert {"timestamp", "level", "event"} <= line.keys()


@pytest.mark.parametrize("flag", ["--port", "--admin-port"])
async def test_a_port_in_use(flag: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        other = ["--port", "0"] if flag == "--admin-port" else []
        text = await refused("--insecure-no-auth", *other, flag, port)
    assert f"cannot listen on 127.0.0.1:{port}" in text
    assert flag in text


async def test_wrong_settings_are_told_in_one_line() -> None:
    text = await refused("--port", "70000", ALISE_GATEWAY_TIMEOUTS__CONNECT_SECONDS="-1")
    assert text.startswith("alise: port: ")
    assert "timeouts.connect_seconds: " in text


async def test_a_gateway_for_nobody_is_refused() -> None:
    assert "--insecure-no-auth" in await refused("--port", "0")
