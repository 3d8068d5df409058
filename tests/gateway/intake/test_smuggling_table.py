"""Request smuggling: known vectors, each with what must come of it.

``tests/property/test_smuggling.py`` looks for unknown ones.
"""

import pytest

from fakes.handler import Client

TAKEN = 200
CHUNKED = b"Transfer-Encoding: chunked\r\n"
END = b"0\r\n\r\n"


def post(fields: bytes, body: bytes = b"", line: bytes = b"POST / HTTP/1.1") -> bytes:
    return line + b"\r\nHost: a\r\n" + fields + b"\r\n" + body


VECTORS: list[tuple[str, bytes, int]] = [
    # Two lengths: whoever believes the other one sees another next request.
    ("CL.TE", post(b"Content-Length: 6\r\n" + CHUNKED, END + b"G"), 400),
    ("TE.CL", post(CHUNKED + b"Content-Length: 4\r\n", b"5c\r\n" + END), 400),
    ("CL.CL different", post(b"Content-Length: 3\r\nContent-Length: 4\r\n", b"abc"), 400),
    ("CL.CL same", post(b"Content-Length: 3\r\nContent-Length: 3\r\n", b"abc"), 400),
    ("CL list", post(b"Content-Length: 3, 3\r\n", b"abc"), 400),
    ("CL list of two", post(b"Content-Length: 3,4\r\n", b"abc"), 400),
    ("CL plus", post(b"Content-Length: +4\r\n", b"abcd"), 400),
    ("CL minus", post(b"Content-Length: -1\r\n"), 400),
    ("CL hexadecimal", post(b"Content-Length: 0x3\r\n", b"abc"), 400),
    ("CL underscore", post(b"Content-Length: 1_0\r\n", b"a" * 10), 400),
    ("CL inner space", post(b"Content-Length: 1 0\r\n", b"a" * 10), 400),
    ("CL empty", post(b"Content-Length:\r\n"), 400),
    ("CL fraction", post(b"Content-Length: 3.0\r\n", b"abc"), 400),
    ("CL overflow", post(b"Content-Length: 18446744073709551619\r\n", b"abc"), 400),
    ("CL vertical tab", post(b"Content-Length: \x0b3\r\n", b"abc"), 400),
    ("CL other digits", post(b"Content-Length: \xef\xbc\x93\r\n", b"abc"), 400),
    # Codings that one side ignores and the other does not.
    ("TE.TE twice", post(CHUNKED + CHUNKED, END), 400),
    ("TE.TE obscured", post(CHUNKED + b"Transfer-Encoding: cow\r\n", END), 400),
    ("TE identity", post(b"Transfer-Encoding: identity\r\n"), 501),
    ("TE chunked, identity", post(b"Transfer-Encoding: chunked, identity\r\n", END), 400),
    ("TE gzip, chunked", post(b"Transfer-Encoding: gzip, chunked\r\n", END), 501),
    ("TE xchunked", post(b"Transfer-Encoding: xchunked\r\n", END), 501),
    ("TE quoted", post(b'Transfer-Encoding: "chunked"\r\n', END), 501),
    ("TE vertical tab", post(b"Transfer-Encoding: \x0bchunked\r\n", END), 400),
    ("TE NUL", post(b"Transfer-Encoding: chunked\x00\r\n", END), 400),
    ("TE empty", post(b"Transfer-Encoding:\r\n", END), 400),
    ("TE space before colon", post(b"Transfer-Encoding : chunked\r\n", END), 400),
    ("TE tab before colon", post(b"Transfer-Encoding\t: chunked\r\n", END), 400),
    ("TE folded", post(b"Transfer-Encoding:\r\n chunked\r\n", END), 400),
    ("TE behind a folded field", post(b"X: a\r\n Transfer-Encoding: chunked\r\n", END), 400),
    ("TE behind a bare LF", post(b"X: a\nTransfer-Encoding: chunked\r\n", END), 400),
    ("TE behind a bare CR", post(b"X: a\rTransfer-Encoding: chunked\r\n", END), 400),
    ("TE in HTTP/1.0", post(CHUNKED, END, b"POST / HTTP/1.0"), 400),
    ("TE in other case", post(b"TRANSFER-encoding: ChUnKeD\r\n", END), TAKEN),
    # Lines that end otherwise.
    ("LF only", b"POST / HTTP/1.1\nHost: a\n\n", 400),
    ("LF after the fields", b"POST / HTTP/1.1\r\nHost: a\r\n\n", 400),
    ("CR only", b"POST / HTTP/1.1\rHost: a\r\r", 400),
    ("space before the first field", b"POST / HTTP/1.1\r\n Host: a\r\n\r\n", 400),
    # Which host, which path.
    ("no Host", b"GET / HTTP/1.1\r\n\r\n", 400),
    ("two Hosts", post(b"Host: b\r\n"), 400),
    ("two Hosts, same", post(b"Host: a\r\n"), 400),
    ("two Hosts in HTTP/1.0", post(b"Host: b\r\n", line=b"POST / HTTP/1.0"), 400),
    ("absolute form", post(b"", line=b"POST http://b/v1/models HTTP/1.1"), TAKEN),
    ("space in the target", post(b"", line=b"POST /a HTTP/1.1 HTTP/1.1"), 400),
    ("CR in the target", post(b"", line=b"POST /a\r HTTP/1.1"), 400),
    # Other versions.
    ("HTTP/0.9", b"GET /\r\n\r\n", 505),
    ("HTTP/1.2", post(b"", line=b"GET / HTTP/1.2"), 400),
    ("HTTP/2 by name", post(b"", line=b"GET / HTTP/2.0"), 505),
    ("HTTP/2 preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    ("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
    ("lower-case method", post(b"", line=b"post / HTTP/1.1"), 400),
    ("NUL in a value", post(b"X: a\x00b\r\n"), 400),
    ("NUL in a name", post(b"X\x00: a\r\n"), 400),
    ("empty name", post(b": a\r\n"), 400),
    ("no colon", post(b"Content-Length\r\n"), 400),
    # Chunks.
    ("chunk size overflow", post(CHUNKED, b"10000000000000003\r\nabc\r\n" + END), 400),
    ("chunk size underscore", post(CHUNKED, b"1_0\r\n" + b"a" * 16 + b"\r\n" + END), 400),
    ("chunk size 0x", post(CHUNKED, b"0x3\r\nabc\r\n" + END), 400),
    ("chunk size plus", post(CHUNKED, b"+3\r\nabc\r\n" + END), 400),
    ("chunk size negative", post(CHUNKED, b"-3\r\nabc\r\n" + END), 400),
    ("chunk size empty", post(CHUNKED, b"\r\nabc\r\n" + END), 400),
    ("chunk size space before", post(CHUNKED, b" 3\r\nabc\r\n" + END), 400),
    ("chunk size space after", post(CHUNKED, b"3 \r\nabc\r\n" + END), 400),
    ("chunk size bare LF", post(CHUNKED, b"3\nabc\r\n" + END), 400),
    ("chunk size CR CR LF", post(CHUNKED, b"3\r\r\nabc\r\n" + END), 400),
    ("chunk longer than its size", post(CHUNKED, b"3\r\nabcd\r\n" + END), 400),
    ("chunk shorter than its size", post(CHUNKED, b"4\r\nabc\r\n" + END), 400),
    ("chunk data ends with LF", post(CHUNKED, b"3\r\nabc\n" + END), 400),
    ("chunk extension", post(CHUNKED, b"3;a=b\r\nabc\r\n" + END), TAKEN),
    ("chunk extension with LF", post(CHUNKED, b"3;a\nabc\r\n" + END), 400),
    ("chunk extension with CR", post(CHUNKED, b"3;a\rabc\r\n" + END), 400),
    ("trailer", post(CHUNKED, b"0\r\nContent-Length: 9\r\n\r\n"), 400),
    ("trailer with a colonless line", post(CHUNKED, b"0\r\nGET / HTTP/1.1\r\n\r\n"), 400),
    ("harmless trailer", post(CHUNKED, b"0\r\nX: y\r\n\r\n"), TAKEN),
]


@pytest.mark.parametrize("by_drops", [False, True], ids=["whole", "by_drops"])
@pytest.mark.parametrize(("data", "status"), [v[1:] for v in VECTORS], ids=[v[0] for v in VECTORS])
def test_known_vectors(data: bytes, status: int, by_drops: bool) -> None:
    client = Client()
    answer = client.send(*[bytes([byte]) for byte in data]) if by_drops else client.send(data)
    assert int(answer[9:12]) == status
    if status == TAKEN:
        assert len(client.handler.requests) == 1
        assert not client.is_over
    else:
        assert not client.handler.requests
        assert client.is_over


def test_a_body_is_never_the_next_request() -> None:
    inner = b"GET /admin HTTP/1.1\r\nHost: a\r\n\r\n"
    client = Client()
    client.send(post(b"Content-Length: %d\r\n" % len(inner), inner))
    client.send(post(CHUNKED, b"%x\r\n%b\r\n" % (len(inner), inner) + END))
    assert [request.path for request in client.handler.requests] == [b"/", b"/"]
    assert [request.body for request in client.handler.requests] == [inner, inner]


def test_a_get_without_length_has_no_body() -> None:
    client = Client()
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 2)
    assert len(client.handler.requests) == 2
