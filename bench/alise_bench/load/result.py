"""What is known about one request after it ended, and what a whole run adds up to."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple


class ErrorKind(StrEnum):
    """Why a request does not count as completed."""

    CONNECT = "connect"
    """No connection could be opened."""
    RESET = "reset"
    """The connection ended before a byte of the reply."""
    TRUNCATED = "truncated"
    """The reply ended early: the connection closed, or a stream had no ``[DONE]``."""
    PROTOCOL = "protocol"
    """The bytes received are not HTTP."""
    STATUS = "status"
    """A status other than 200."""
    STREAM_ERROR = "stream_error"
    """Status 200, and an error event inside the stream."""
    UNFINISHED = "unfinished"
    """Still running when the run's time was over."""
    WRONG_REPLY = "wrong_reply"
    """Complete, but not the reply the request asks for (see the checks of the caller)."""


class RequestResult(NamedTuple):
    """One issued request. A tuple, because a run makes tens of thousands of them.

    Attributes:
        number: Position of the request in the run.
        started: Mark on the run's clock when the bytes were handed to the socket, seconds.
        ttfb: Seconds from ``started`` to the first byte of the body; 0 when there was none.
        total: Seconds from ``started`` to the end of the reply or the error.
        status: HTTP status; 0 when no status line arrived.
        events: Server-sent events in the body, ``[DONE]`` included; 0 for other bodies.
        body_bytes: Length of the body without HTTP framing.
        tokens: ``usage.completion_tokens`` where the reply has it and the request asks to read it.
        error: ``None`` when the request completed.
    """

    number: int
    started: float
    ttfb: float
    total: float
    status: int
    events: int
    body_bytes: int
    tokens: int | None
    error: ErrorKind | None


@dataclass(frozen=True, slots=True)
class LoadRun:
    """All results of one run.

    Attributes:
        results: One per issued request, in order of completion.
        wall_seconds: From the first send to the end of the last reply.
        lateness_seconds: Open loop: how far the worst send was behind its planned arrival. A
            value above a few milliseconds says that the load generator was the bottleneck.
    """

    results: Sequence[RequestResult]
    wall_seconds: float
    lateness_seconds: float = 0.0

    def completed(self) -> list[RequestResult]:
        """The results without an error."""
        return [result for result in self.results if result.error is None]

    def errors(self) -> dict[str, int]:
        """How many requests ended in each kind of error; empty when all completed."""
        kinds = Counter(result.error.value for result in self.results if result.error is not None)
        return dict(sorted(kinds.items()))
