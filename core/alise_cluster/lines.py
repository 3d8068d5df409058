"""A stream of JSON objects, one a line: bytes in as they come, objects out. Pure."""

import msgspec

from alise_cluster.resources import RawObject
from alise_core.errors import WireError

MOST_LINE_BYTES = 16 * 1024 * 1024
"""etcd refuses objects of more than some megabytes."""


class JsonLines:
    """Puts lines together again, however they were cut."""

    __slots__ = ("_decoder", "_rest")

    def __init__(self) -> None:
        self._rest = bytearray()
        self._decoder = msgspec.json.Decoder(dict)

    def feed(self, read: bytes) -> list[RawObject]:
        """The objects that ``read`` completes.

        Raises:
            WireError: A line is no JSON object, or absurdly long.
        """
        self._rest += read
        if b"\n" not in read:
            if len(self._rest) > MOST_LINE_BYTES:
                raise WireError(f"a line of more than {MOST_LINE_BYTES} bytes")
            return []
        *lines, rest = bytes(self._rest).split(b"\n")
        self._rest = bytearray(rest)
        try:
            return [self._decoder.decode(line) for line in lines if line.strip()]
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise WireError(f"not a JSON object: {error}") from error

    def end(self) -> None:
        """Note that nothing more comes.

        Raises:
            WireError: In the middle of a line.
        """
        if self._rest.strip():
            raise WireError("it ended in the middle of a line")
