"""One client connection over a fake transport, byte by byte where it matters."""

import asyncio

import pytest

from alise_core.errors import Unauthorized
from alise_gateway.intake.replies import CONTINUE
from alise_gateway.settings import LimitSettings, TimeoutSettings
from fakes.handler import GET, LIMITS, OK, POST, UPLOAD, Client, FakeHandler, held, statuses


class TestRequests:
    def test_a_request_is_handed_on_whole(self) -> None:
        client = Client()
        answer = client.send(
            b"POST /v1/messages?x=1 HTTP/1.1\r\nHost: h\r\nX-A:  b c \t\r\n"
            b"Content-Length: 3\r\n\r\nabc"
        )
        assert answer.endswith(b"\r\n\r\n" + OK)
        [request] = client.handler.requests
        assert (request.method, request.path, request.query) == (b"POST", b"/v1/messages", b"x=1")
        assert request.headers == [(b"host", b"h"), (b"x-a", b"b c"), (b"content-length", b"3")]
        assert (request.body, request.keep_alive, request.http_minor) == (b"abc", True, 1)
        assert request.endpoint == "messages"
        assert request.header(b"x-a") == b"b c"
        assert request.header(b"none") is None
        assert not client.is_over

    def test_drop_by_drop_is_the_same(self) -> None:
        client = Client()
        data = UPLOAD + b"3\r\nabc\r\n2\r\nde\r\n0\r\nX-Trailer: no\r\n\r\n" + GET
        answers = b"".join(client.send(bytes([byte])) for byte in data)
        assert statuses(answers) == [200, 200]
        assert [request.body for request in client.handler.requests] == [b"abcde", b""]

    def test_trailers_are_no_headers(self) -> None:
        client = Client()
        client.send(UPLOAD + b"1\r\na\r\n0\r\nAuthorization: Bearer x\r\nHost: evil\r\n\r\n")
        assert client.handler.requests[0].headers == [
            (b"host", b"h"),
            (b"transfer-encoding", b"chunked"),
        ]

    @pytest.mark.parametrize("method", [b"GET", b"HEAD"])
    def test_a_body_is_read_whatever_the_method(self, method: bytes) -> None:
        client = held()
        client.send(method + b" /a HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc" + GET)
        assert client.handler.requests[0].body == b"abc"
        assert len(client.handler.heads) == 2

    def test_http_1_0_closes_and_gets_no_chunks(self) -> None:
        client = held()
        client.send(b"GET /a HTTP/1.0\r\n\r\n")
        assert client.connection.takes_chunks is False
        assert client.connection.keeps_alive is False
        client.handler.answer()
        assert b"connection: close" in client.transport.take()
        assert client.is_over

    def test_connection_close_ends_with_the_answer(self) -> None:
        client = held()
        client.send(b"GET /a HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        client.handler.answer()
        assert client.transport.eof

    def test_blank_lines_before_a_request_are_nothing(self) -> None:
        client = Client()
        assert statuses(client.send(b"\r\n\r\n", GET, b"\r\n", GET)) == [200, 200]

    def test_an_upgrade_is_declined_and_the_body_kept(self) -> None:
        client = held()
        client.send(
            b"POST /a HTTP/1.1\r\nHost: h\r\nConnection: Upgrade, HTTP2-Settings\r\n"
            b"Upgrade: h2c\r\nHTTP2-Settings: x\r\nContent-Length: 3\r\n\r\na",
            b"bc" + GET,
        )
        [request] = client.handler.requests
        assert request.body == b"abc"
        assert b"upgrade" not in dict(request.headers)
        assert len(client.handler.heads) == 2  # what follows is the next request

    def test_connect_has_no_next_request(self) -> None:
        client = held()
        client.send(b"CONNECT a:1 HTTP/1.1\r\nHost: h\r\n\r\n" + GET, GET)
        assert len(client.handler.heads) == 1


class TestPipelines:
    async def test_answers_keep_the_order(self) -> None:
        client = held()
        client.send(POST + GET + POST)
        assert len(client.handler.requests) == 1
        for count in (2, 3):
            client.handler.answer()
            await asyncio.sleep(0)
            assert len(client.handler.requests) == count
        client.handler.answer()
        assert statuses(client.transport.take()) == [200, 200, 200]

    async def test_immediate_answers_in_one_read(self) -> None:
        client = Client()
        client.send(GET * 20)
        await asyncio.sleep(0)
        assert len(client.handler.requests) == 20

    async def test_nothing_is_taken_after_the_last_request(self) -> None:
        client = Client()
        closing = b"GET /a HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
        assert statuses(client.send(closing + GET)) == [200]
        assert client.send(GET) == b""
        assert not client.handler.refused
        assert len(client.handler.requests) == 1

    async def test_draining_answers_one_request_of_a_pipeline(self) -> None:
        client = Client()
        client.handler.is_leaving = True
        answer = client.send(GET + GET + GET)
        assert statuses(answer) == [200]
        assert b"connection: close" in answer
        assert len(client.handler.requests) == 1
        assert not client.handler.refused

    async def test_what_came_before_a_broken_request_is_answered(self) -> None:
        client = held()
        assert client.send(GET + POST + b"\x00\r\n\r\n" + GET) == b""
        for _ in range(2):
            assert client.connection.keeps_alive
            client.handler.answer()
            await asyncio.sleep(0)
        answers = client.transport.take()
        assert statuses(answers) == [200, 200, 400]
        assert [error.code for error in client.handler.refused] == ["malformed_http"]
        assert client.transport.eof
        assert len(client.handler.requests) == 2

    async def test_garbage_behind_a_last_request_is_ignored(self) -> None:
        client = held()
        client.send(b"GET /a HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n\x00\x00")
        client.handler.answer()
        assert statuses(client.transport.take()) == [200]
        assert not client.handler.refused

    async def test_reading_pauses_and_resumes(self) -> None:
        client = Client(FakeHandler(at_once=False), LimitSettings(max_pipelined=3))
        client.send(GET + GET + GET)
        assert not client.is_paused()
        client.send(GET + b"GET /b HTTP/1.1\r\nHo")
        assert client.is_paused()
        # The half-read request is not slow: it is the gateway that does not read.
        assert client.wait(11) == b""
        client.handler.answer()
        await asyncio.sleep(0)
        assert not client.is_paused()
        client.wait(9)
        assert client.handler.refused == []
        client.wait(2)
        assert [error.status for error in client.handler.refused] == [408]

    async def test_a_paused_body_gets_its_time_again(self) -> None:
        client = Client(FakeHandler(at_once=False), LimitSettings(max_pipelined=1))
        client.send(GET, GET + POST[:-1])
        assert client.is_paused()
        client.wait(100)
        client.handler.answer()
        await asyncio.sleep(0)
        client.wait(59)
        assert not client.handler.refused
        client.wait(2)
        assert [error.status for error in client.handler.refused] == [408]

    async def test_many_bytes_ahead_pause_too(self) -> None:
        client = Client(FakeHandler(at_once=False))
        big = b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 300000\r\n\r\n" + b"x" * 300_000
        client.send(GET, big)
        assert client.is_paused()

    async def test_no_answer_is_made_that_nobody_reads(self) -> None:
        client = held()
        client.send(GET + GET + GET)
        client.connection.pause_writing()
        assert client.handler.exchanges[0].blocked == [True]
        client.handler.answer()
        await asyncio.sleep(0)
        assert len(client.handler.requests) == 1
        client.connection.resume_writing()
        assert len(client.handler.requests) == 2
        client.connection.pause_writing()
        client.connection.resume_writing()
        assert client.handler.exchanges[1].blocked == [True, False]

    async def test_a_client_that_never_reads_is_dropped(self) -> None:
        client = held()
        client.send(GET)
        client.connection.pause_writing()
        client.handler.answer()
        client.wait(59)
        assert not client.is_dropped()
        client.wait(2)
        assert client.is_dropped()


class TestContinue:
    HEAD = b"POST /a HTTP/1.1\r\nHost: h\r\nExpect: 100-Continue\r\nContent-Length: 3\r\n\r\n"

    def test_the_body_is_invited(self) -> None:
        client = held()
        assert client.send(self.HEAD) == CONTINUE
        client.send(b"abc")
        assert client.handler.requests[0].body == b"abc"

    def test_a_body_that_comes_with_the_head(self) -> None:
        client = Client()
        assert statuses(client.send(self.HEAD + b"abc")) == [100, 200]

    def test_not_where_the_head_is_refused(self) -> None:
        client = held(refuse_heads=Unauthorized("no"))
        assert statuses(client.send(self.HEAD)) == [401]

    def test_not_to_http_1_0(self) -> None:
        assert held().send(self.HEAD.replace(b"HTTP/1.1", b"HTTP/1.0")) == b""

    async def test_in_a_pipeline_it_waits_for_the_answers_before(self) -> None:
        client = held()
        assert client.send(GET + self.HEAD) == b""
        client.wait(100)
        assert not client.handler.refused
        client.handler.answer()
        answers = client.transport.take()
        assert statuses(answers) == [200, 100]
        assert answers.endswith(CONTINUE)
        client.wait(61)
        assert [error.status for error in client.handler.refused] == [408]

    async def test_a_client_that_does_not_wait_is_timed(self) -> None:
        client = held()
        client.send(GET + self.HEAD, b"a")
        client.wait(61)
        assert [error.status for error in client.handler.refused] == [408]


class TestLimits:
    @pytest.mark.parametrize("size", [1, 7, 100, 5_000])
    def test_a_head_without_end(self, size: int) -> None:
        client = held()
        data = b"GET / HTTP/1.1\r\nHost: h\r\nX-A: " + b"a" * 10_000
        sent = 0
        while not client.handler.refused:
            client.send(data[sent : sent + size])
            sent += size
        assert client.handler.refused[0].status == 431
        assert sent <= 1_024 + size
        assert b" 431 " in client.transport.sent or client.is_over

    def test_blank_lines_without_end(self) -> None:
        client = held()
        answers = client.send(*[b"\r\n" * 100] * 10)
        assert statuses(answers) == [431]
        busy = held()
        busy.send(GET)
        busy.send(*[b"\r\n" * 100] * 10)
        assert [error.status for error in busy.handler.refused] == [431]

    @pytest.mark.parametrize(
        ("head", "status", "code"),
        [
            (b"GET /" + b"a" * 8_192 + b" HTTP/1.1\r\nHost: h\r\n\r\n", 414, "target_too_long"),
            (b"GET / HTTP/1.1\r\n" + b"X-A: b\r\n" * 9 + b"\r\n", 431, "too_many_headers"),
            (b"GET / HTTP/1.1\r\nX: " + b"a" * 1_020 + b"\r\n\r\n", 431, "headers_too_large"),
            (b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1025\r\n\r\n", 413, "body_too_large"),
        ],
    )
    def test_refused_by_the_head(self, head: bytes, status: int, code: str) -> None:
        client = held()
        assert statuses(client.send(head)) == [status]
        assert [error.code for error in client.handler.refused] == [code]

    def test_a_chunked_body_too_large(self) -> None:
        client = held()
        assert statuses(client.send(UPLOAD + b"401\r\n" + b"a" * 1_025)) == [413]

    def test_framing_without_end(self) -> None:
        client = held()
        extension = b"1;" + b"x" * 100_000 + b"\r\na\r\n"
        answers = client.send(UPLOAD, *[extension] * 20)
        assert statuses(answers) == [413]


class TestTime:
    def test_slow_headers(self) -> None:
        client = held()
        client.send(b"GET / HT")
        assert client.wait(9) == b""
        answer = client.wait(2)
        assert statuses(answer) == [408]
        assert b"connection: close" in answer
        assert client.is_over

    def test_slow_body(self) -> None:
        client = held()
        client.send(POST[:-1])
        assert client.wait(59) == b""
        assert statuses(client.wait(2)) == [408]

    def test_a_silent_connection_is_closed_without_a_word(self) -> None:
        client = held()
        assert client.wait(11) == b""
        assert client.is_dropped()

    def test_keep_alive_ends(self) -> None:
        client = Client()
        client.send(GET)
        client.wait(74)
        assert not client.is_dropped()
        client.wait(2)
        assert client.is_dropped()

    def test_an_exchange_is_swept_and_not_timed_here(self) -> None:
        client = held()
        client.send(GET)
        client.wait(100_000)
        assert len(client.handler.exchanges[0].swept) == 1
        assert not client.is_dropped()

    def test_the_linger_time_ends(self) -> None:
        client = held()
        client.send(b"\x00")
        assert client.transport.eof
        client.wait(1.9)
        assert not client.is_dropped()
        client.wait(0.2)
        assert client.is_dropped()

    def test_a_lingering_client_cannot_send_for_ever(self) -> None:
        client = held()
        client.send(b"\x00", *[b"x" * 65_536] * 64)
        assert not client.is_dropped()
        client.send(b"x")
        assert client.is_dropped()
        assert not client.handler.requests

    def test_a_slow_reader_gets_its_last_bytes(self) -> None:
        client = held()
        client.send(b"GET /a HTTP/1.0\r\n\r\n")
        client.transport.stuck_bytes = 100_000
        client.handler.answer()
        for left in (50_000, 10_000, 10):
            client.wait(50)
            client.transport.stuck_bytes = left
            client.wait(1)
            assert not client.is_dropped()
        client.transport.stuck_bytes = 0
        client.wait(1)
        assert not client.is_dropped()
        client.wait(2)
        assert client.is_dropped()

    def test_a_reader_that_stops_does_not(self) -> None:
        client = held()
        client.send(b"GET /a HTTP/1.0\r\n\r\n")
        client.transport.stuck_bytes = 100_000
        client.handler.answer()
        client.wait(61)
        assert client.is_dropped()


def test_every_limit_is_the_settings_own() -> None:
    client = Client(FakeHandler(), LIMITS, TimeoutSettings(header_seconds=1))
    client.send(b"GET")
    assert statuses(client.wait(1.1)) == [408]
