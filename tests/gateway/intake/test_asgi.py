"""Control endpoints behind the inference port."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from alise_core.errors import InvalidRequest
from alise_gateway.domain.request import ANONYMOUS
from alise_gateway.intake.asgi import AsgiExchange, Message
from alise_gateway.intake.head import check_head
from alise_gateway.settings import LimitSettings
from fakes.handler import Client, FakeHandler

Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


async def echo(scope: Message, receive: Receive, send: Send) -> None:
    """Answers with what it was asked."""
    if scope["path"] == "/broken":
        raise RuntimeError("with a secret")
    if scope["path"] == "/slow":
        await asyncio.Event().wait()
    request = await receive()
    gone = await receive()
    body = json.dumps(
        {
            "path": scope["path"],
            "query": scope["query_string"].decode(),
            "method": scope["method"],
            "body": request["body"].decode(),
            "then": gone["type"],
        }
    ).encode()
    headers = [(b"Content-Type", b"text/x"), (b"Content-Length", b"99"), (b"X-A", b"b")]
    await send({"type": "http.response.start", "status": 201, "headers": headers})
    await send({"type": "http.response.body", "body": body[:5], "more_body": True})
    await send({"type": "http.response.body", "body": body[5:]})


async def ask(line: bytes, body: bytes = b"") -> tuple[AsgiExchange, Client]:
    client = Client(FakeHandler(at_once=False))
    client.send(line + b"\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    [request] = client.handler.requests
    exchange = AsgiExchange(echo, client.connection, request, ANONYMOUS)
    for _ in range(5):
        await asyncio.sleep(0)
    return exchange, client


async def test_an_answer() -> None:
    exchange, client = await ask(b"POST /a%20b%ff?c=d HTTP/1.1", b"hello")
    head, _, body = client.transport.take().partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 201 Created\r\nx-a: b\r\ncontent-type: text/x\r\n")
    assert b"content-length: %d" % len(body) in head
    assert json.loads(body) == {
        "path": "/a b\ufffd",
        "query": "c=d",
        "method": "POST",
        "body": "hello",
        "then": "http.disconnect",
    }
    exchange.client_blocked(blocked=True)
    exchange.sweep(0.0)
    assert not client.is_over


async def test_head_has_no_body() -> None:
    _, client = await ask(b"HEAD /a HTTP/1.1")
    assert client.transport.take().endswith(b"\r\n\r\n")


async def test_a_defect_is_a_500_without_its_text() -> None:
    _, client = await ask(b"GET /broken HTTP/1.1")
    answer = client.transport.take()
    assert answer.startswith(b"HTTP/1.1 500 ")
    assert b"secret" not in answer


async def test_a_client_that_leaves_ends_the_work() -> None:
    exchange, client = await ask(b"GET /slow HTTP/1.1")
    exchange.client_gone()
    await asyncio.sleep(0)
    assert client.transport.take() == b""
    assert exchange._task.cancelled()


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        (b"/a?b?c", b"/a", b"b?c"),
        (b"http://h/v1/models?x", b"/v1/models", b"x"),
        (b"http://h", b"/", b""),
        (b"*", b"*", b""),
        (b"/%2fv1", b"/%2fv1", b""),
    ],
)
def test_targets(target: bytes, path: bytes, query: bytes) -> None:
    head = check_head(b"GET", target, [(b"host", b"h")], "1.1", LimitSettings())
    assert (head.path, head.query) == (path, query)


def test_an_unknown_expectation_is_refused() -> None:
    fields: Any = [(b"host", b"h"), (b"expect", b"a miracle")]
    with pytest.raises(InvalidRequest) as caught:
        check_head(b"GET", b"/", fields, "1.1", LimitSettings())
    assert caught.value.status == 417
