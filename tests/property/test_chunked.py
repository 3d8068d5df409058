"""Chunked framing: what the gateway's readers make of it, against h11's."""

from itertools import pairwise

import h11
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from alise_core.errors import WireError
from alise_gateway.proxy.chunked import ChunkDecoder, WholeChunks, parse_size

_payloads = st.one_of(
    st.binary(max_size=40),
    st.sampled_from(
        [b"data: {}\n\n", b"data: [DONE]\n\n", b"\n", b"\n\n", b": ping\n\n", b"0\r\n\r\n"]
    ),
)
_size_lines = st.sampled_from(
    [b"%x", b"%X", b"0%x", b"%x;a=b", b"%x;", b"%x ", b" %x", b"0x%x", b"+%x", b"-%x", b"%x_",
     b"%x;a\rb", b"%x;a\nb", b"f%x", b"000000000000%x", b"00000000000000000000%x"]
)  # fmt: skip
_ends = st.sampled_from([b"\r\n"] * 8 + [b"\n", b"\r", b"", b"\r\r\n", b"x\r\n"])


@st.composite
def _streams(draw: st.DrawFn) -> bytes:
    wild = draw(st.booleans())
    data = b""
    for payload in draw(st.lists(_payloads, max_size=4)):
        line = (draw(_size_lines) if wild else b"%x") % len(payload)
        end = draw(_ends) if wild else b"\r\n"
        data += line + b"\r\n" + payload + end
    if draw(st.booleans()):
        data += b"0\r\n" + draw(st.sampled_from([b"", b"X: y\r\n", b"X: y\r\nZ: 1\r\n"])) + b"\r\n"
    if wild and draw(st.booleans()):
        at = draw(st.integers(0, len(data)))
        data = data[:at] + draw(st.binary(max_size=2)) + data[at + 1 :]
    return data


def split(data: bytes, cuts: list[int]) -> list[bytes]:
    points = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[a:b] for a, b in pairwise(points)]


def ours(reads: list[bytes]) -> tuple[bytes, bool, bool]:
    """Payload, whether the body ended, whether it broke."""
    decoder = ChunkDecoder()
    payload = b""
    for data in reads:
        try:
            payload += decoder.feed(data)
        except WireError:
            return payload, False, True
        # Between chunks means just that: a chunk may follow.
        if decoder.between_chunks:
            probe = ChunkDecoder()
            assert probe.between_chunks
            assert probe.feed(b"1\r\na\r\n") == b"a"
    return payload, decoder.finished, False


def theirs(data: bytes) -> tuple[bytes, bool, bool]:
    connection = h11.Connection(h11.CLIENT)
    connection.send(h11.Request(method="GET", target="/", headers=[("host", "a")]))
    connection.send(h11.EndOfMessage())
    connection.receive_data(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + data)
    connection.next_event()
    payload = b""
    while True:
        try:
            event = connection.next_event()
        except h11.RemoteProtocolError:
            return payload, False, True
        if event is h11.NEED_DATA:
            return payload, False, False
        if isinstance(event, h11.EndOfMessage):
            return payload, True, bool(connection.trailing_data[0])
        assert isinstance(event, h11.Data)
        payload += bytes(event.data)


@pytest.mark.slow
@settings(max_examples=500, deadline=None)
@given(_streams(), st.lists(st.integers(0, 200), max_size=6))
@example(b"5;a\nb\r\ndata:\r\n", [])
@example(b"3\r\nabcd\r\n", [])
def test_the_decoder_agrees_with_h11_or_is_stricter(data: bytes, cuts: list[int]) -> None:
    payload, finished, broken = ours(split(data, cuts))
    reference, ended, wrong = theirs(data)
    if broken:
        # Stricter: whitespace around sizes, bare line ends in extensions, bytes after the end.
        # Never laxer about payload: what was read before is the same.
        assert reference.startswith(payload) or payload.startswith(reference)
        return
    if wrong and finished:
        # Laxer in one thing: trailers are dropped unread, so their syntax is nobody's concern.
        assert payload == reference
        return
    assert not wrong
    assert (payload, finished) == (reference, ended)


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(_streams(), st.lists(st.integers(0, 200), max_size=8))
def test_splitting_changes_nothing(data: bytes, cuts: list[int]) -> None:
    whole, parts = ours([data]), ours(split(data, cuts))
    assert parts[1:] == whole[1:]
    if not whole[2]:
        assert parts[0] == whole[0]


@pytest.mark.slow
@settings(max_examples=500, deadline=None)
@given(st.lists(_streams(), min_size=1, max_size=3))
@example([b"1\r\n\n\r\n"])
@example([b"5;a\nb\r\nx: \n\n\r\n"])
@example([b"a\r\ndata: 12\n\n\r\n" * 2])
def test_whole_chunks_are_what_the_decoder_calls_whole(streams: list[bytes]) -> None:
    whole = WholeChunks()
    for data in streams:
        if not whole.end_with_event(data):
            continue
        decoder = ChunkDecoder()
        payload = decoder.feed(data)
        assert decoder.between_chunks
        assert payload.endswith(b"\n\n")
        # Twice: the second look finds the sizes already known.
        assert whole.end_with_event(data)


@settings(deadline=None)
@given(st.lists(st.binary(max_size=30).map(lambda text: b"data: " + text + b"\n\n"), min_size=1))
def test_whole_chunks_are_recognised(events: list[bytes]) -> None:
    data = b"".join(b"%x\r\n%b\r\n" % (len(event), event) for event in events)
    assert WholeChunks().end_with_event(data) == all(len(event) >= 8 for event in events)


def test_an_event_that_spans_chunks_is_not_passed() -> None:
    assert not WholeChunks().end_with_event(b'9\r\ndata: "us\r\n6\r\nage"\n\n\r\n')


@settings(deadline=None)
@given(st.integers(0, 2**64 - 1))
def test_sizes(size: int) -> None:
    assert parse_size(b"%x" % size) == size
    assert parse_size(b"%X;ext=1" % size) == size


@pytest.mark.parametrize(
    "line",
    [b"", b";", b" 1", b"1 ", b"+1", b"-1", b"0x1", b"1_0", b"g", b"1" * 17, b"1;a\rb", b"1;a\nb",
     b"\xb2", b"1\t", b"1\x00"],
)  # fmt: skip
def test_what_is_no_size(line: bytes) -> None:
    with pytest.raises(WireError):
        parse_size(line)


@pytest.mark.parametrize(
    "data",
    [
        b"1;" + b"x" * 300,
        b"0\r\n" + b"X: " + b"y" * 9_000,
        b"0\r\n" + b"X: y\r\n" * 2_000,
        b"1\r\nab",
        b"1\r\na\n",
        b"1\n",
        b"0\r\n\r\nx",
    ],
)
def test_framing_that_is_refused(data: bytes) -> None:
    for reads in ([data], [data[i : i + 1] for i in range(len(data))]):
        assert ours(reads)[2]


def test_remembered_sizes_are_bounded() -> None:
    whole = WholeChunks()
    for digits in range(1, 17):
        for size in range(10, 300):
            line = (b"%x" % size).rjust(digits, b"0")
            assert whole.end_with_event(line + b"\r\n" + b"x" * (size - 2) + b"\n\n\r\n")
    assert len(whole.event_sizes) <= 4_096
