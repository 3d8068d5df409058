"""How a client's connection ends: by the client, by the server that leaves, by a defect."""

import asyncio

import pytest

from alise_core.errors import InvalidRequest, Unauthorized
from alise_gateway.intake.connection import ClientConnection
from alise_gateway.settings import LimitSettings
from fakes.handler import GET, POST, Client, held, statuses


def test_a_client_that_leaves_takes_its_request_with_it() -> None:
    client = held()
    client.send(GET + GET)
    assert client.connection.eof_received() is None
    client.connection.connection_lost(None)
    assert client.handler.exchanges[0].gone
    assert client.closed == 1
    client.connection.sweep(1e9)
    assert len(client.handler.requests) == 1


def test_cut_closes_at_once() -> None:
    client = held()
    client.send(GET)
    client.connection.cut()
    assert client.is_dropped()
    client.connection.connection_lost(None)
    assert not client.handler.exchanges[0].gone


def test_shut_down_waits_for_the_answer() -> None:
    idle, busy = Client(), held()
    idle.send(GET)
    busy.send(GET)
    for client in (idle, busy):
        client.connection.shut_down()
    assert idle.transport.closed
    assert not busy.transport.closed
    busy.handler.answer()
    assert b"connection: close" in busy.transport.take()
    assert busy.transport.eof


def test_a_head_that_is_sent_keeps_its_word() -> None:
    client = held()
    client.send(GET)
    client.connection.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
    client.connection.shut_down()
    client.connection.end(b"0\r\n\r\n", keep_alive=True)
    assert not client.is_over
    client.transport.take()
    client.send(GET)
    client.handler.answer()
    answer = client.transport.take()
    assert statuses(answer) == [200]
    assert b"connection: close" in answer
    assert client.transport.eof


def test_no_next_request_is_waited_for_long() -> None:
    client = held()
    client.send(GET)
    client.connection.shut_down()
    client.connection.end(b"0\r\n\r\n", keep_alive=True)
    client.wait(0.9)
    assert not client.is_dropped()
    client.wait(0.2)
    assert client.is_dropped()


@pytest.mark.parametrize("leave", ["shut_down", "abort"])
def test_leaving_between_accepting_and_connecting(leave: str) -> None:
    """Between the two asyncio runs whatever else is due, a drain of the gateway included."""
    client = Client()
    late = ClientConnection(
        client.handler, LimitSettings(), client.timeouts, client.clock, lambda _: None
    )
    getattr(late, leave)()
    late.connection_made(client.transport)
    assert client.transport.is_closing()


async def test_shut_down_between_two_of_a_pipeline() -> None:
    client = held()
    client.send(GET + GET)
    client.handler.answer()
    client.connection.shut_down()
    assert not client.transport.closed
    await asyncio.sleep(0)
    assert len(client.handler.requests) == 2


async def test_abort_between_two_of_a_pipeline() -> None:
    client = held()
    client.send(GET + GET)
    client.handler.answer()
    client.connection.abort()
    await asyncio.sleep(0)
    assert len(client.handler.requests) == 1


def test_refuse_and_pass_error_keep_the_connection() -> None:
    client = held()
    for _ in range(2):
        client.send(POST)
        client.connection.refuse(InvalidRequest("no", status=404), [(b"x-request-id", b"1")])
        answer = client.transport.take()
        assert statuses(answer) == [404]
        assert b"x-request-id: 1\r\n" in answer
    client.send(POST)
    client.connection.pass_error(422, [(b"a", b"b")], b"{}")
    answer = client.transport.take()
    assert answer.startswith(b"HTTP/1.1 422 Unprocessable Entity\r\na: b\r\n")
    assert answer.endswith(b"\r\n\r\n{}")
    assert not client.is_over


def test_a_refusal_of_head_has_no_body() -> None:
    client = held(refuse_heads=InvalidRequest("POST only", status=405))
    answer = client.send(GET.replace(b"GET", b"HEAD"))
    assert answer.endswith(b"\r\n\r\n")
    assert b"allow: POST" in answer
    other = held()
    other.send(GET.replace(b"GET", b"HEAD"))
    other.connection.refuse(InvalidRequest("no"), [])
    assert other.transport.take().endswith(b"\r\n\r\n")


def test_a_refusal_has_the_shape_of_its_endpoint() -> None:
    client = held(refuse_heads=Unauthorized("no"))
    answer = client.send(b"POST /v1/messages HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\n")
    assert b'{"type":"error","error":{"type":"authentication_error"' in answer


def test_a_defect_in_a_head_is_a_500() -> None:
    client = held(refuse_heads=RuntimeError("bug with a secret"))
    answer = client.send(GET)
    assert statuses(answer) == [500]
    assert b"secret" not in answer
    assert client.is_over


def test_a_defect_in_a_request_is_a_500() -> None:
    client = held(fail_with=RuntimeError("bug with a secret"))
    answer = client.send(POST)
    assert statuses(answer) == [500]
    assert b"secret" not in answer
    client.handler.fail_with = None
    client.send(POST)
    assert len(client.handler.requests) == 2


def test_writes_are_bounded() -> None:
    assert Client().transport.high_water == 65_536
