"""Chunked transfer coding of backend answers: strict, incremental, pure.

In: the bytes after a response head, split anywhere. Out: payload bytes. Two readers share the
rules: ``ChunkDecoder`` takes any input; ``WholeChunks`` only answers whether a read consists of
complete chunks, which is how an engine's token events nearly always arrive, so that they can be
forwarded as they are. Requests are not read here: llhttp does that.

Source: RFC 9112 section 7.1. Stricter than the RFC where leniency has no use: no whitespace
around the size, at most 16 hexadecimal digits, bounded extensions and trailers.
"""

from alise_core.errors import WireError

_MAX_SIZE_DIGITS = 16
_MAX_LINE_BYTES = 256
_MAX_TRAILER_BYTES = 8_192
_MAX_CACHED_SIZES = 4_096
_MIN_EVENT_BYTES = len(b"data:x\n\n")
_CRLF = b"\r\n"
_EVENT_AND_CHUNK_END = b"\n\n\r\n"
_HEX_DIGITS = frozenset(b"0123456789abcdefABCDEF")


def parse_size(line: bytes) -> int:
    """Chunk size from a size line without its CRLF; an extension is ignored.

    Raises:
        WireError: The line is not a chunk size.
    """
    digits, _, extension = line.partition(b";")
    if not digits or len(digits) > _MAX_SIZE_DIGITS or not _HEX_DIGITS.issuperset(digits):
        raise WireError("chunk size is not a hexadecimal number")
    if b"\r" in extension or b"\n" in extension:
        raise WireError("chunk extension holds a bare line end")
    return int(digits, 16)


class WholeChunks:
    """Recognises reads that are complete, non-final chunks ending an SSE event.

    Attributes:
        event_sizes: Size lines seen before and what they say, for chunks that can hold an event.
            An engine's chunk sizes repeat: a dictionary look-up replaces parsing.
    """

    __slots__ = ("event_sizes",)

    def __init__(self) -> None:
        self.event_sizes: dict[bytes, int] = {}

    def end_with_event(self, data: bytes) -> bool:
        """Whether ``data`` is whole chunks that each end with an event; none is the last chunk.

        Each one, because in an event that spans chunks, words are cut by framing: a look at the
        bytes as they are would miss them.
        """
        if not data.endswith(_EVENT_AND_CHUNK_END):
            return False
        length = len(data)
        position = 0
        while position < length:
            end_of_line = data.find(_CRLF, position, position + _MAX_SIZE_DIGITS + 2)
            line = data[position:end_of_line] if end_of_line > 0 else b""
            size = self.event_sizes.get(line)
            if size is None:
                size = self._learn(line)
            if size < _MIN_EVENT_BYTES:
                return False
            position = end_of_line + size + 4
            if not data.startswith(_EVENT_AND_CHUNK_END, position - 4):
                return False
        return position == length

    def _learn(self, line: bytes) -> int:
        try:
            size = parse_size(line)
        except WireError:
            return 0  # the strict decoder gives the error its message
        if size >= _MIN_EVENT_BYTES and len(self.event_sizes) < _MAX_CACHED_SIZES:
            self.event_sizes[line] = size
        return size


class ChunkDecoder:
    """Decodes one chunked body.

    Attributes:
        finished: The last chunk and its trailer section were read.
    """

    __slots__ = ("_line", "_remaining", "_trailer_bytes", "_trailers", "finished")

    def __init__(self) -> None:
        self._line = b""
        self._remaining = 0  # payload still to come, plus 2 for the CRLF that closes the chunk
        self._trailers = False
        self._trailer_bytes = 0
        self.finished = False

    @property
    def between_chunks(self) -> bool:
        """No chunk is half read: the next byte starts a size line."""
        return not self._remaining and not self._line and not self._trailers and not self.finished

    def feed(self, data: bytes) -> bytes:
        """Decode the next bytes.

        Returns: The payload they contain, possibly empty.
        Raises: WireError: The framing is broken, or bytes follow the end of the body.
        """
        pieces: list[bytes] = []
        position = 0
        length = len(data)
        while position < length:
            if self.finished:
                raise WireError("bytes after the last chunk")
            if self._remaining:
                position = self._read_chunk(data, position, pieces)
            else:
                position = self._read_line(data, position)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _read_chunk(self, data: bytes, position: int, pieces: list[bytes]) -> int:
        payload = self._remaining - 2
        if payload > 0:
            piece = data[position : position + payload]
            pieces.append(piece)
            self._remaining -= len(piece)
            position += len(piece)
        while 0 < self._remaining <= 2 and position < len(data):  # noqa: PLR2004  the closing CRLF
            if data[position] != _CRLF[2 - self._remaining]:
                raise WireError("chunk data is longer than its size")
            self._remaining -= 1
            position += 1
        return position

    def _read_line(self, data: bytes, position: int) -> int:
        end = data.find(b"\n", position)
        if end < 0:
            self._line += data[position:]
            self._check_line_length()
            return len(data)
        line = self._line + data[position : end + 1]
        self._line = line
        self._check_line_length()
        self._line = b""
        if not line.endswith(_CRLF):
            raise WireError("line of chunked framing does not end with CRLF")
        if self._trailers:
            self._end_trailer_line(line)
        else:
            self._end_size_line(line[:-2])
        return end + 1

    def _end_size_line(self, line: bytes) -> None:
        size = parse_size(line)
        if size:
            self._remaining = size + 2
        else:
            self._trailers = True

    def _end_trailer_line(self, line: bytes) -> None:
        self._trailer_bytes += len(line)
        if self._trailer_bytes > _MAX_TRAILER_BYTES:
            raise WireError("trailer section is too long")
        if line == _CRLF:
            self.finished = True

    def _check_line_length(self) -> None:
        limit = _MAX_TRAILER_BYTES if self._trailers else _MAX_LINE_BYTES
        if len(self._line) > limit:
            raise WireError("line of chunked framing is too long")
