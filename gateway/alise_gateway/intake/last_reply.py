"""How long a connection stays open behind its last reply."""

import asyncio

_LINGER_SECONDS = 2.0


class LastReply:
    """Follows the last bytes to a client: slowly is well, as long as it takes them.

    Once they are out the client gets a moment to read them and to close: a connection closed with
    unread bytes is reset, and a reset destroys the reply on its way.

    Args:
        transport: All of the reply has been written to it.
        patience_seconds: How long the client may take nothing.
        now: Monotonic seconds.
    """

    __slots__ = ("_deadline", "_patience_seconds", "_transport", "_unsent_bytes")

    def __init__(self, transport: asyncio.Transport, patience_seconds: float, now: float) -> None:
        self._transport = transport
        self._patience_seconds = patience_seconds
        self._wait(transport.get_write_buffer_size(), now)

    def is_over(self, now: float) -> bool:
        """Whether the connection is to be closed by now."""
        unsent = self._transport.get_write_buffer_size()
        if unsent < self._unsent_bytes:
            self._wait(unsent, now)
        return now >= self._deadline

    def _wait(self, unsent_bytes: int, now: float) -> None:
        self._unsent_bytes = unsent_bytes
        self._deadline = now + (self._patience_seconds if unsent_bytes else _LINGER_SECONDS)
