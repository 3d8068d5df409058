"""The socket's side of a connection, in memory."""

import asyncio
from typing import Any


class FakeTransport(asyncio.Transport):
    """Keeps what is written; unlike a socket it takes nothing away unless ``stuck_bytes`` says.

    Attributes:
        sent: Everything written so far.
        stuck_bytes: What ``get_write_buffer_size`` tells: bytes that the peer does not take.
        eof: The writing side is closed.
        closed: ``close`` was called.
        aborted: ``abort`` was called.
        paused: Reading is paused.
    """

    def __init__(self) -> None:
        super().__init__()
        self.sent = b""
        self.stuck_bytes = 0
        self.eof = False
        self.closed = False
        self.aborted = False
        self.paused = False
        self.high_water: int | None = None

    def write(self, data: Any) -> None:
        if self.eof or self.closed or self.aborted:
            raise RuntimeError("write() after the end")
        self.sent += bytes(data)

    def writelines(self, list_of_data: Any) -> None:
        self.write(b"".join(list_of_data))

    def write_eof(self) -> None:
        self.eof = True

    def can_write_eof(self) -> bool:
        return True

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.aborted = True

    def is_closing(self) -> bool:
        return self.closed or self.aborted

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        del low
        self.high_water = high

    def get_write_buffer_size(self) -> int:
        return self.stuck_bytes

    def take(self) -> bytes:
        """What was written since the last call."""
        sent, self.sent = self.sent, b""
        return sent
