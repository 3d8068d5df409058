"""Bytes from one client become whole requests: llhttp, and what a parser does not decide.

In: reads, split anywhere. Out, through ``RequestOwner``: heads, then whole requests, in order;
or one ``RequestError`` for the first thing that cannot be understood, after which nothing that
follows can be trusted. Keeps no time: the owner hears when a head or a body begins.

Refused although llhttp would take it: HTTP versions other than 1.0 and 1.1, a transfer coding
other than ``chunked``, chunked bodies in HTTP/1.0, a missing or repeated Host
(RFC 9112 sections 3.2 and 6.1).
"""

from typing import Protocol

import httptools
import structlog

from alise_core.errors import RequestError
from alise_gateway.domain.request import HttpRequest, RawHeaders
from alise_gateway.intake.handler import Admission
from alise_gateway.intake.head import (
    Head,
    check_head,
    framing_overhead_allowed,
    head_without_upgrade,
)
from alise_gateway.intake.phase import Phase
from alise_gateway.intake.refusals import body_too_large, defect, head_too_large, malformed
from alise_gateway.settings import LimitSettings

_LOG = structlog.get_logger(__name__)


class RequestOwner(Protocol):
    """The connection that the requests come from."""

    def on_head_begun(self) -> None:
        """A request starts; blank lines before it are not part of it."""
        ...

    def on_head(self, head: Head) -> Admission:
        """A head is complete; raises RequestError to refuse it before its body comes."""
        ...

    def on_body_begun(self) -> None:
        """The first bytes of a body are there."""
        ...

    def on_request(self, request: HttpRequest, admission: Admission) -> None:
        """A request is whole."""
        ...


class _Stopped(Exception):
    """Ends parsing in the middle of a read."""


class RequestReader:
    """See the module.

    Attributes:
        phase: What the next bytes are; never ``DRAINING``, which is the owner's business. The
            owner sets ``HEAD`` when bytes come that may only be blank lines so far.
        checked: The head that is being followed by its body, or was refused; ``None`` before.
        admission: Its admission, once it has one.
    """

    __slots__ = (
        "_body",
        "_body_begun",
        "_body_bytes",
        "_head",
        "_limits",
        "_owner",
        "_parser",
        "_raw_bytes",
        "_refusal",
        "_stopped",
        "_url",
        "admission",
        "checked",
        "phase",
    )

    def __init__(self, owner: RequestOwner, limits: LimitSettings) -> None:
        self._owner = owner
        self._limits = limits
        self._parser = httptools.HttpRequestParser(self)
        self._head: RawHeaders = []
        self._url = b""
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._body_begun = False
        self._raw_bytes = 0
        self._refusal: RequestError | None = None
        self._stopped = False
        self.phase = Phase.IDLE
        self.checked: Head | None = None
        self.admission: Admission | None = None

    def feed(self, data: bytes) -> None:
        """Take the next bytes.

        Raises:
            RequestError: They, or the head or body they belong to, are refused.
        """
        if self._stopped:
            return
        self._raw_bytes += len(data)
        try:
            self._parse(data)
        except httptools.HttpParserError as error:
            if not self._stopped:
                raise self._explain(error) from error
        else:
            if not self._stopped:
                self._check_sizes()

    def stop(self) -> None:
        """Take no more requests, not even those in the present read."""
        self._stopped = True

    def let_go(self) -> None:
        """The connection is gone: drop what refers back here.

        Without this every connection would leave a cycle that only the garbage collector finds.
        """
        self._stopped = True
        del self._parser

    # llhttp callbacks

    def on_message_begin(self) -> None:
        """A request starts."""
        if self._stopped:
            raise _Stopped
        self.phase = Phase.HEAD
        self._head = []
        self._url = b""
        self._body = []
        self._body_bytes = 0
        self._body_begun = False
        self.checked = None
        self.admission = None
        self._owner.on_head_begun()

    def on_url(self, url: bytes) -> None:
        """The request target."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header field; trailers are dropped."""
        if self.phase is Phase.HEAD:
            # llhttp leaves the whitespace after a value, which is no part of it.
            self._head.append((name.lower(), value.rstrip(b" \t")))

    def on_headers_complete(self) -> None:
        """Refuse what the head alone is enough to refuse, before a body is sent."""
        parser = self._parser
        if parser.should_upgrade() and parser.get_method() != b"CONNECT":
            return  # ``_parse`` presents it again
        try:
            self.checked = check_head(
                parser.get_method(), self._url, self._head, parser.get_http_version(), self._limits
            )
            self.admission = self._owner.on_head(self.checked)
        except RequestError as error:
            self._refusal = error
            raise
        self.phase = Phase.BODY

    def on_body(self, body: bytes) -> None:
        """A part of the body."""
        if not self._body_begun:
            self._body_begun = True
            self._owner.on_body_begun()
        self._body_bytes += len(body)
        if self._body_bytes > self._limits.max_body_bytes:
            self._refusal = body_too_large(self._limits.max_body_bytes)
            raise self._refusal
        self._body.append(body)

    def on_message_complete(self) -> None:
        """The request is whole."""
        admission = self.admission
        if admission is None:
            return
        head = admission.head
        parts = self._body
        request = HttpRequest(
            method=head.method,
            path=head.path,
            query=head.query,
            headers=self._head,
            body=parts[0] if len(parts) == 1 else b"".join(parts),
            keep_alive=self._parser.should_keep_alive() and not self._parser.should_upgrade(),
            http_minor=head.http_minor,
            endpoint=head.endpoint,
        )
        self.phase = Phase.IDLE
        self._raw_bytes = 0
        self._body = []
        self._owner.on_request(request, admission)

    # Inside

    def _parse(self, data: bytes) -> None:
        """Parse; a request to switch protocols is read as if it had not asked (RFC 9110 7.8).

        llhttp would take the body of such a request for the other protocol's first bytes. Java's
        HTTP client asks for h2c on every first request, bodies included.
        """
        while data:
            try:
                self._parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                if self.admission is not None:
                    self.stop()  # CONNECT, taken already; the rest is not HTTP
                    return
                head = head_without_upgrade(
                    self._parser.get_method(),
                    self._url,
                    self._parser.get_http_version(),
                    self._head,
                )
                data = head + data[upgrade.args[0] :]
                self._parser = httptools.HttpRequestParser(self)
            else:
                return

    def _explain(self, error: httptools.HttpParserError) -> RequestError:
        if self._refusal is not None:
            return self._refusal
        if isinstance(error, httptools.HttpParserCallbackError):
            _LOG.error("request_intake_failed", exc_info=error.__context__)
            return defect()
        return malformed(str(error))

    def _check_sizes(self) -> None:
        """Bounds on what the parser has taken in without calling back."""
        if self.phase is not Phase.BODY:
            if self._raw_bytes > self._limits.max_header_bytes:
                raise head_too_large(self._limits.max_header_bytes)
        elif self._raw_bytes - self._body_bytes > framing_overhead_allowed(self._limits):
            raise body_too_large(self._limits.max_body_bytes)
