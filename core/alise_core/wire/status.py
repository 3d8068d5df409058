"""The status line of an HTTP/1.1 response, for replies made here and for answers passed on."""

from http import HTTPStatus

_REASONS = {status.value: status.phrase.encode() for status in HTTPStatus}


def status_line(status: int) -> bytes:
    """``HTTP/1.1`` status line, CRLF included, with the registered reason phrase."""
    return b"HTTP/1.1 %d %b\r\n" % (status, _REASONS.get(status, b"Unknown"))
