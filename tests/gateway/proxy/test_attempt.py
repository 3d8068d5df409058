"""One attempt on one backend: what the client gets, what is reported, the fate of the socket."""

import json

import h11
import pytest

from alise_core.outcome import Outcome
from alise_core.wire.openai import Endpoint
from alise_gateway.domain.failure import FailureKind
from alise_gateway.proxy.usage import Usage
from fakes.upstream import AttemptBench, FakePool, FakeSink

SSE = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n"
STREAM = SSE + b"transfer-encoding: chunked\r\n\r\n"
JSON = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
EVENT = b'data: {"choices":[{"delta":{"content":"a"}}]}\n\n'
USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2}}\n\n'
DONE = b"data: [DONE]\n\n"
BUSY = b'data: {"error":{"message":"busy","type":"x","param":null,"code":503}}\n\n'
ALL = [Endpoint.CHAT_COMPLETIONS, Endpoint.COMPLETIONS, Endpoint.MESSAGES, Endpoint.RESPONSES]
STOP = {
    Endpoint.MESSAGES: b'event: message_stop\ndata: {"type":"message_stop"}\n\n',
    Endpoint.RESPONSES: b'event: response.completed\ndata: {"type":"response.completed"}\n\n',
}


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def plain(body: bytes, head: bytes = JSON) -> bytes:
    return head + b"content-length: %d\r\n\r\n" % len(body) + body


def seen_by_client(bench: AttemptBench) -> tuple[h11.Response, bytes]:
    """What an independent client understands; fails where framing is broken or unfinished."""
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method="POST", target="/", headers=[("host", "a")]))
    client.send(h11.EndOfMessage())
    client.receive_data(bench.sink.sent)
    if not (bench.sink.ended and bench.sink.takes_chunks):
        client.receive_data(b"")
    head = client.next_event()
    assert isinstance(head, h11.Response)
    body = b""
    while not isinstance(event := client.next_event(), h11.EndOfMessage):
        assert isinstance(event, h11.Data)
        body += bytes(event.data)
    return head, body


class TestStreams:
    @pytest.mark.parametrize("size", [1, 5, 40, 10_000])
    def test_a_stream_passes(self, size: int) -> None:
        bench = AttemptBench(injects_usage=True)
        data = STREAM + chunk(EVENT) + chunk(EVENT) + chunk(USAGE) + chunk(DONE) + b"0\r\n\r\n"
        bench.receive(*[data[i : i + size] for i in range(0, len(data), size)])
        head, body = seen_by_client(bench)
        assert body == EVENT + EVENT + DONE
        assert (b"x-request-id", b"r") in list(head.headers)
        assert bench.result.outcome is Outcome.COMPLETED
        assert bench.result.committed
        assert bench.attempt.usage == Usage(3, 2, None)
        assert bench.attempt.sent_bytes >= len(body)
        assert bench.attempt.status == 200
        assert bench.pool.released == [(bench.connection, True)]
        assert bench.sink.ended is True
        assert bench.commits == 1

    def test_nothing_is_committed_before_the_first_event(self) -> None:
        bench = AttemptBench()
        assert bench.receive(STREAM, chunk(b": ping\n\n"), chunk(EVENT[:20])) == b""
        assert bench.attempt.first_byte is None
        assert bench.commits == 0
        bench.clock.advance(2)
        assert EVENT in bench.receive(chunk(EVENT[20:])).replace(b"\r\n", b"\r\n")
        assert bench.commits == 1
        assert bench.attempt.first_byte == bench.clock.now()

    def test_many_comments_commit(self) -> None:
        bench = AttemptBench()
        bench.receive(STREAM, *[chunk(b": " + b"x" * 60_000 + b"\n\n")] * 5)
        assert bench.commits == 1

    def test_a_client_without_chunks(self) -> None:
        bench = AttemptBench(sink=FakeSink(takes_chunks=False, keeps_alive=False))
        bench.receive(STREAM + chunk(EVENT), chunk(EVENT), chunk(DONE) + b"0\r\n\r\n")
        head, body = seen_by_client(bench)
        assert body == EVENT + EVENT + DONE
        assert (b"connection", b"close") in list(head.headers)
        assert bench.sink.ended is False

    @pytest.mark.parametrize("alive", [True, False])
    def test_the_end_keeps_what_the_head_promised(self, alive: bool) -> None:
        bench = AttemptBench(sink=FakeSink(keeps_alive=alive))
        bench.receive(STREAM + chunk(EVENT))
        bench.sink.keeps_alive = not alive
        bench.receive(chunk(DONE) + b"0\r\n\r\n")
        head, _ = seen_by_client(bench)
        assert ((b"connection", b"close") in list(head.headers)) is not alive
        assert bench.sink.ended is alive

    def test_a_backend_without_chunks(self) -> None:
        bench = AttemptBench()
        bench.receive(SSE + b"\r\n" + EVENT, DONE)
        assert not bench.results
        bench.lose()
        assert seen_by_client(bench)[1] == EVENT + DONE
        assert bench.result.outcome is Outcome.COMPLETED

    def test_an_error_as_first_event_is_a_refusal(self) -> None:
        bench = AttemptBench()
        assert bench.receive(STREAM + chunk(BUSY) + chunk(DONE)) == b""
        assert bench.result.outcome is Outcome.REJECTED_SATURATED
        assert bench.result.failure is FailureKind.OVERLOADED
        assert not bench.result.committed
        assert bench.result.answer is not None
        assert bench.result.answer.status == 503
        assert json.loads(bench.result.answer.body)["error"]["message"] == "busy"
        assert bench.pool.released == [(bench.connection, False)]

    @pytest.mark.parametrize(
        ("code", "status"), [("400", 400), ("599", 599), ("200", 502), ('"x"', 502), ("[]", 502)]
    )
    def test_the_status_of_an_error_event(self, code: str, status: int) -> None:
        bench = AttemptBench()
        event = b'data: {"error":{"message":"m","code":%b}}\n\n' % code.encode()
        bench.receive(STREAM + chunk(event))
        assert bench.result.answer is not None
        assert bench.result.answer.status == status

    def test_an_error_later_is_passed_and_blamed(self) -> None:
        bench = AttemptBench()
        bench.receive(STREAM + chunk(EVENT), chunk(BUSY), chunk(DONE) + b"0\r\n\r\n")
        assert seen_by_client(bench)[1] == EVENT + BUSY + DONE
        assert bench.result.outcome is Outcome.FAILED_BACKEND_ERROR
        assert bench.result.failure is FailureKind.ERROR_EVENT

    @pytest.mark.parametrize("endpoint", ALL)
    @pytest.mark.parametrize("how", ["lost", "reset", "ended", "garbage"])
    def test_a_stream_that_breaks_says_so(self, endpoint: Endpoint, how: str) -> None:
        bench = AttemptBench(endpoint=endpoint)
        bench.receive(STREAM + chunk(EVENT), chunk(EVENT), b"ff\r\ndata: half")
        if how in ("lost", "reset"):
            bench.lose(ConnectionResetError() if how == "reset" else None)
        elif how == "ended":
            bench = AttemptBench(endpoint=endpoint)
            bench.receive(STREAM + chunk(EVENT), chunk(EVENT) + b"0\r\n\r\n")
        else:
            bench.receive(b"x" * 300)
        _, body = seen_by_client(bench)
        assert body.startswith(EVENT + EVENT)
        last = body.removeprefix(EVENT + EVENT)
        value = json.loads(last.partition(b"data: ")[2])
        assert ("event: error\n" in last.decode()) == (
            endpoint in (Endpoint.MESSAGES, Endpoint.RESPONSES)
        )
        message = value["message"] if endpoint is Endpoint.RESPONSES else value["error"]["message"]
        assert "stopped answering" in message
        assert bench.result.outcome is Outcome.FAILED_BACKEND_LOST_MIDSTREAM
        assert bench.result.committed
        assert bench.sink.ended is True
        expected = FailureKind.PROTOCOL if how == "garbage" else FailureKind.LOST_MIDSTREAM
        assert bench.result.failure is expected

    @pytest.mark.parametrize("endpoint", list(STOP))
    def test_other_endings_are_endings(self, endpoint: Endpoint) -> None:
        bench = AttemptBench(endpoint=endpoint)
        bench.receive(STREAM + chunk(EVENT), chunk(STOP[endpoint]), b"0\r\n\r\n")
        assert bench.result.outcome is Outcome.COMPLETED

    def test_a_reset_is_no_end_of_a_body(self) -> None:
        bench = AttemptBench()
        bench.receive(SSE + b"\r\n" + EVENT + DONE)
        bench.lose(ConnectionResetError())
        assert bench.result.outcome is Outcome.FAILED_BACKEND_LOST_MIDSTREAM

    @pytest.mark.parametrize(
        "body", [b"content-length: 0\r\n\r\n", b"\r\n", b"content-length: 9\r\n\r\n: ping\n\n"]
    )
    def test_a_stream_without_events(self, body: bytes) -> None:
        bench = AttemptBench()
        bench.receive(SSE + body)
        if not bench.results:
            bench.lose()
        assert bench.result.failure is FailureKind.LOST
        assert not bench.result.committed
        assert bench.sink.sent == b""

    def test_shutting_down_says_so(self) -> None:
        early, late = AttemptBench(), AttemptBench()
        early.receive(STREAM)
        late.receive(STREAM + chunk(EVENT))
        for bench in (early, late):
            bench.attempt.expire()
        assert not early.results
        assert late.result.outcome is Outcome.REJECTED_SHUTTING_DOWN
        assert b"shutting down" in seen_by_client(late)[1]
        late.attempt.expire()
        assert late.result


class TestBodies:
    def test_a_body_is_sent_whole(self) -> None:
        bench = AttemptBench(stream=False)
        body = b'{"id":"x","usage":{"prompt_tokens":5,"completion_tokens":7}}'
        data = plain(body)
        assert bench.receive(data[:40], data[40:-1]) == b""
        bench.receive(data[-1:])
        head, got = seen_by_client(bench)
        assert got == body
        assert (b"content-length", b"%d" % len(body)) in list(head.headers)
        assert bench.attempt.usage == Usage(5, 7, None)
        assert bench.result.outcome is Outcome.COMPLETED
        assert bench.pool.released == [(bench.connection, True)]

    @pytest.mark.parametrize("alive", [True, False])
    def test_a_body_that_ends_with_its_connection(self, alive: bool) -> None:
        bench = AttemptBench(stream=False, sink=FakeSink(keeps_alive=alive))
        bench.receive(JSON + b"\r\n{}")
        bench.lose()
        assert seen_by_client(bench)[1] == b"{}"
        assert bench.sink.ended is alive
        assert bench.result.outcome is Outcome.COMPLETED

    @pytest.mark.parametrize("takes_chunks", [True, False])
    def test_a_large_body_is_streamed(self, takes_chunks: bool) -> None:
        bench = AttemptBench(stream=False, sink=FakeSink(takes_chunks=takes_chunks))
        body = b'{"x":"' + b"a" * 400_000 + b'","usage":{"completion_tokens":9}}'
        data = plain(body)
        reads = [data[i : i + 50_000] for i in range(0, len(data), 50_000)]
        bench.receive(*reads[:-1])
        assert bench.commits == 1
        bench.sink.keeps_alive = False  # too late: the head is sent
        bench.receive(reads[-1])
        assert seen_by_client(bench)[1] == body
        assert bench.attempt.usage == Usage(None, 9, None)
        assert bench.attempt.sent_bytes == len(body)
        assert bench.sink.ended is takes_chunks
        assert bench.result.outcome is Outcome.COMPLETED

    def test_a_large_body_that_breaks_is_cut(self) -> None:
        bench = AttemptBench(stream=False)
        bench.receive(plain(b"x" * 400_000)[:-10])
        bench.lose()
        assert bench.sink.was_cut
        assert bench.result.outcome is Outcome.FAILED_BACKEND_LOST_MIDSTREAM

    def test_a_body_shorter_than_announced_is_repeatable(self) -> None:
        bench = AttemptBench(stream=False)
        bench.receive(plain(b"{}")[:-1])
        bench.lose()
        assert bench.result.failure is FailureKind.LOST
        assert not bench.result.committed
        assert bench.sink.sent == b""

    def test_a_body_longer_than_announced(self) -> None:
        bench = AttemptBench(stream=False)
        bench.receive(plain(b"{}") + b"x")
        assert bench.result.failure is FailureKind.PROTOCOL
        assert bench.transport.aborted

    @pytest.mark.parametrize(
        ("status", "outcome", "failure"),
        [
            (400, Outcome.REJECTED_INVALID, None),
            (404, Outcome.REJECTED_INVALID, None),
            (401, Outcome.FAILED_BACKEND_ERROR, FailureKind.STATUS),
            (413, Outcome.REJECTED_TOO_LARGE, None),
            (429, Outcome.REJECTED_SATURATED, FailureKind.OVERLOADED),
            (500, Outcome.FAILED_BACKEND_ERROR, FailureKind.STATUS),
            (503, Outcome.REJECTED_SATURATED, FailureKind.OVERLOADED),
        ],
    )
    @pytest.mark.parametrize("stream", [True, False])
    def test_errors_are_handed_back(
        self, status: int, outcome: Outcome, failure: FailureKind | None, stream: bool
    ) -> None:
        bench = AttemptBench(stream=stream)
        head = b"HTTP/1.1 %d X\r\nretry-after: 7\r\n" % status
        assert bench.receive(plain(b'{"error":{}}', head)) == b""
        assert (bench.result.outcome, bench.result.failure) == (outcome, failure)
        assert bench.result.answer is not None
        assert bench.result.answer.body == b'{"error":{}}'
        assert bench.result.answer.retry_after == b"7"
        assert bench.pool.released == [(bench.connection, True)]

    def test_an_error_without_end_is_not_held(self) -> None:
        bench = AttemptBench(stream=False)
        bench.receive(b"HTTP/1.1 500 X\r\n\r\n", *[b"x" * 60_000] * 5)
        assert bench.result.failure is FailureKind.STATUS
        assert bench.result.answer is not None
        assert bench.result.answer.body == b""
        assert bench.pool.released == [(bench.connection, False)]


class TestHeads:
    def test_interim_answers_are_skipped(self) -> None:
        bench = AttemptBench(stream=False)
        interim = b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n"
        bench.receive(interim * 2_000 + b"HTTP/1.1 100 Continue\r\n\r\n", plain(b"{}"))
        assert seen_by_client(bench)[1] == b"{}"

    @pytest.mark.parametrize(
        "data",
        [
            b"SSH-2.0-x\r\n",
            b"\x15\x03\x01",
            b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\nabc",
            b"HTTP/1.1 abc\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nx: \x00\r\n\r\n",
            b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 1\r\n\r\n",
            b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n",
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nx: " + b"y" * 70_000,
            b"HTTP/1.1 200 OK\r\nx: " + b"y" * 70_000 + b"\r\n\r\n",
        ],
    )
    def test_what_is_no_answer(self, data: bytes) -> None:
        bench = AttemptBench()
        bench.receive(data)
        assert bench.result.failure is FailureKind.PROTOCOL
        assert bench.transport.aborted
        assert bench.sink.sent == b""

    def test_bytes_behind_an_answer_without_body_close_the_connection(self) -> None:
        bench = AttemptBench(stream=False)
        bench.receive(plain(b"") + b"HTTP/1.1 200 OK\r\n")
        assert bench.result.outcome is Outcome.COMPLETED
        assert bench.transport.aborted

    def test_an_idle_connection_has_nothing_to_say(self) -> None:
        bench = AttemptBench(stream=False)
        bench.receive(plain(b"{}"))
        bench.receive(b"x")
        assert bench.transport.aborted


class TestStaleConnections:
    @pytest.mark.parametrize("error", [None, ConnectionResetError(), BrokenPipeError()])
    def test_one_fresh_attempt(self, error: Exception | None) -> None:
        pool = FakePool()
        pool.reused = True
        bench = AttemptBench(stream=False, pool=pool)
        bench.clock.advance(3)
        bench.lose(error)
        assert not bench.results
        assert pool.asked_fresh == [False, True]
        bench.wait(1)  # the connect timeout counts from the second dial
        bench.receive(plain(b"{}"))
        assert bench.result.outcome is Outcome.COMPLETED

    def test_not_a_second_one(self) -> None:
        pool = FakePool()
        pool.reused = True
        bench = AttemptBench(pool=pool)
        bench.lose()
        bench.lose()
        assert bench.result.failure is FailureKind.LOST

    def test_not_after_the_answer_began(self) -> None:
        pool = FakePool()
        pool.reused = True
        bench = AttemptBench(pool=pool)
        bench.receive(b"HTTP/1.1 20")
        bench.lose()
        assert bench.result.failure is FailureKind.LOST

    def test_not_on_a_new_connection(self) -> None:
        bench = AttemptBench()
        bench.lose()
        assert bench.result.failure is FailureKind.LOST
        assert bench.pool.asked_fresh == [False]


class TestTime:
    def test_connecting(self) -> None:
        pool = FakePool()
        pool.later = True
        bench = AttemptBench(pool=pool, connect_seconds=2)
        bench.wait(2)
        assert not bench.results
        bench.wait(0.1)
        assert bench.result.outcome is Outcome.FAILED_BACKEND_TIMEOUT
        assert bench.result.failure is FailureKind.CONNECT
        assert pool.taken_back == 1

    def test_a_stall_is_no_connect_timeout(self) -> None:
        pool = FakePool()
        pool.later = True
        bench = AttemptBench(stream=False, pool=pool, connect_seconds=2)
        bench.stall(30)
        assert not bench.results
        pool.connect()  # what had happened meanwhile is read after the timer
        bench.stall(700)
        bench.receive(plain(b"{}"))
        assert bench.result.outcome is Outcome.COMPLETED
        assert bench.attempt.first_byte == bench.clock.now()

    def test_refused(self) -> None:
        pool = FakePool()
        pool.refuses = True
        bench = AttemptBench(pool=pool)
        assert bench.result.failure is FailureKind.CONNECT
        assert bench.result.outcome is Outcome.FAILED_BACKEND_ERROR

    @pytest.mark.parametrize(("stream", "limit"), [(True, 10), (False, 20)])
    def test_first_byte(self, stream: bool, limit: int) -> None:
        bench = AttemptBench(stream=stream, first_byte_seconds=10, response_seconds=20)
        bench.wait(limit)
        assert not bench.results
        bench.wait(0.1)
        assert bench.result.failure is FailureKind.TIMEOUT
        assert not bench.result.committed
        assert bench.transport.aborted

    def test_idle(self) -> None:
        bench = AttemptBench(idle_seconds=5)
        for _ in range(3):
            bench.receive((b"" if bench.commits else STREAM) + chunk(EVENT))
            bench.wait(4)
        assert not bench.results
        bench.wait(5.1)
        assert bench.result.outcome is Outcome.FAILED_BACKEND_TIMEOUT
        assert bench.result.committed
        assert b"stopped answering" in seen_by_client(bench)[1]

    def test_total(self) -> None:
        bench = AttemptBench(total_seconds=10)
        for _ in range(10):
            bench.receive((b"" if bench.commits else STREAM) + chunk(EVENT))
            bench.wait(1)
        assert not bench.results
        bench.receive(chunk(EVENT))
        bench.wait(1)
        assert bench.result.failure is FailureKind.TIMEOUT

    def test_a_client_that_does_not_read_is_not_the_backends_fault(self) -> None:
        bench = AttemptBench(idle_seconds=5, client_write_seconds=60)
        bench.receive(STREAM + chunk(EVENT))
        bench.attempt.client_blocked(blocked=True)
        assert bench.is_paused()
        for _ in range(5):
            bench.wait(10)
            assert not bench.attempt.client_stalled(bench.clock.now())
        bench.wait(11)
        assert bench.attempt.client_stalled(bench.clock.now())
        assert not bench.results
        bench.attempt.client_blocked(blocked=False)
        assert not bench.is_paused()
        assert not bench.attempt.client_stalled(bench.clock.now())

    def test_a_connection_is_given_back_reading(self) -> None:
        bench = AttemptBench(stream=False)
        bench.attempt.client_blocked(blocked=True)
        bench.receive(plain(b"{}"))
        assert not bench.is_paused()
        bench.attempt.client_blocked(blocked=False)


class TestCancel:
    def test_while_connecting(self) -> None:
        pool = FakePool()
        pool.later = True
        bench = AttemptBench(pool=pool)
        bench.attempt.cancel()
        assert pool.taken_back == 1
        pool.connect()
        assert pool.released == [(pool.connections[0], True)]
        bench.wait(1_000)
        assert not bench.results

    @pytest.mark.parametrize("data", [b"", b"HTTP/1.1 200", STREAM, STREAM + chunk(EVENT)])
    def test_while_answering(self, data: bytes) -> None:
        bench = AttemptBench()
        if data:
            bench.receive(data)
        bench.attempt.cancel()
        sent = bench.sink.sent
        assert bench.transport.aborted
        bench.lose()
        bench.wait(10_000)
        assert not bench.results
        assert bench.sink.sent == sent

    def test_nothing_refers_back_after_the_end(self) -> None:
        bench = AttemptBench(stream=False)
        assert bench.attempt.usage == Usage()
        assert bench.attempt.status is None
        bench.receive(plain(b"{}"))
        bench.attempt.let_go()
        assert bench.attempt.sent_bytes == 0
        assert bench.connection.reused
