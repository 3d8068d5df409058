"""A pipeline that only remembers what intake hands it."""

import re
from dataclasses import dataclass, field

from alise_core.errors import RequestError
from alise_gateway.domain.request import ANONYMOUS, HttpRequest
from alise_gateway.intake.connection import ClientConnection
from alise_gateway.intake.handler import Admission, ClientSide, Exchange
from alise_gateway.intake.head import Head
from alise_gateway.intake.replies import reply
from alise_gateway.settings import LimitSettings, TimeoutSettings
from fakes.clock import FakeClock
from fakes.transport import FakeTransport

OK = b"fine"
GET = b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n"
POST = b"POST /v1/completions HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}"
UPLOAD = b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
LIMITS = LimitSettings(max_header_bytes=1_024, max_body_bytes=1_024, max_headers=8)


class FakeExchange:
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.gone = False
        self.blocked: list[bool] = []
        self.swept: list[float] = []

    def client_gone(self) -> None:
        self.gone = True

    def client_blocked(self, *, blocked: bool) -> None:
        self.blocked.append(blocked)

    def sweep(self, now: float) -> None:
        self.swept.append(now)


@dataclass
class FakeHandler:
    """Answers every request at once, or leaves it open until ``answer``.

    Attributes:
        at_once: Whether to answer at once.
        refuse_heads: Raised by ``on_head``.
        fail_with: Raised by ``on_request``, as a defect would.
    """

    at_once: bool = True
    refuse_heads: Exception | None = None
    fail_with: Exception | None = None
    is_leaving: bool = False
    requests: list[HttpRequest] = field(default_factory=list)
    heads: list[Head] = field(default_factory=list)
    refused: list[RequestError] = field(default_factory=list)
    exchanges: list[FakeExchange] = field(default_factory=list)
    connection: ClientSide | None = None
    answered: int = 0

    def on_head(self, head: Head) -> Admission:
        self.heads.append(head)
        if self.refuse_heads is not None:
            raise self.refuse_heads
        return Admission(head, ANONYMOUS, 0.0)

    def on_request(
        self, connection: ClientSide, request: HttpRequest, admission: Admission
    ) -> Exchange | None:
        assert admission.head in self.heads
        self.connection = connection
        self.requests.append(request)
        if self.fail_with is not None:
            raise self.fail_with
        if self.at_once:
            self.answer()
            return None
        self.exchanges.append(FakeExchange())
        return self.exchanges[-1]

    def answer(self, body: bytes = OK) -> None:
        """Answer the request in progress."""
        assert self.connection is not None
        self.answered += 1
        keep_alive = self.connection.keeps_alive
        self.connection.end(reply(200, [], body, keep_alive=keep_alive), keep_alive=keep_alive)

    def on_refused(self, error: RequestError, admission: Admission | None) -> None:
        del admission
        self.refused.append(error)


class Client:
    """One client connection over a fake transport.

    Attributes:
        closed: How often the connection said that it was gone.
    """

    def __init__(
        self,
        handler: FakeHandler | None = None,
        limits: LimitSettings | None = None,
        timeouts: TimeoutSettings | None = None,
    ) -> None:
        self.handler = FakeHandler() if handler is None else handler
        self.clock = FakeClock()
        self.timeouts = timeouts or TimeoutSettings()
        self.transport = FakeTransport()
        self.closed = 0
        self.connection = ClientConnection(
            self.handler, limits or LimitSettings(), self.timeouts, self.clock, self._on_closed
        )
        self.connection.connection_made(self.transport)

    def send(self, *reads: bytes) -> bytes:
        """Feed reads; return what was answered to them at once."""
        for data in reads:
            if not self.transport.is_closing():
                self.connection.data_received(data)
        return self.transport.take()

    def wait(self, seconds: float) -> bytes:
        """Let time pass and sweep; return what was said because of it."""
        self.connection.sweep(self.clock.advance(seconds))
        return self.transport.take()

    @property
    def is_over(self) -> bool:
        """No further request will be read."""
        return self.transport.eof or self.transport.is_closing()

    def is_paused(self) -> bool:
        """The gateway does not read."""
        return self.transport.paused

    def is_dropped(self) -> bool:
        """Closed without waiting."""
        return self.transport.aborted

    def _on_closed(self, connection: ClientConnection) -> None:
        assert connection is self.connection
        self.closed += 1


def held(**fields: object) -> Client:
    """A client whose requests stay open until the handler answers."""
    client = Client(FakeHandler(at_once=False), LIMITS)
    for name, value in fields.items():
        setattr(client.handler, name, value)
    return client


def statuses(answers: bytes) -> list[int]:
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", answers)]
