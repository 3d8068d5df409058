"""Faults on demand: which of the next requests misbehaves, and how. Pure bookkeeping.

In: armed faults and the stream of requests. Out: for each request the fault it suffers, if
any. Deterministic: a fault counts the requests it could apply to and strikes the next ``count``
of them, or every ``every``-th. The first armed fault that strikes wins. What a fault does to
the connection is in ``misbehaviour``.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum


class FaultKind(StrEnum):
    """What goes wrong."""

    SLOW = "slow"
    """The first byte comes ``seconds`` late, and steps take ``factor`` times longer."""
    HANG_BEFORE_HEADERS = "hang_before_headers"
    HANG_MIDSTREAM = "hang_midstream"
    """Silence after ``after_events`` token events; the connection stays open."""
    DIE_MIDSTREAM = "die_midstream"
    """The connection is reset after ``after_events`` token events."""
    CLOSE_MIDSTREAM = "close_midstream"
    """The body ends in good form after ``after_events`` token events, unfinished."""
    GARBAGE_SSE = "garbage_sse"
    """After ``after_events`` token events come bytes that are no event; then it goes on."""
    GARBAGE_HTTP = "garbage_http"
    """Bytes that are no HTTP response."""
    ERROR_FIRST_EVENT = "error_first_event"
    """HTTP 200 whose first event is an error with ``status`` as its code."""
    STATUS = "status"
    """An error reply with ``status``."""
    REFUSE = "refuse"
    """Connections are reset as soon as they are accepted."""
    WRONG_LENGTH = "wrong_length"
    """A content length larger than the body, then the connection closes."""
    HUGE_HEADER = "huge_header"
    """A good reply with one header of ``size`` bytes."""
    NEVER_ENDING = "never_ending"
    """Token events without end, one each ``seconds``."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One armed fault."""

    kind: FaultKind
    count: int | None = 1
    """How many requests it strikes; ``None`` until cleared."""
    every: int = 1
    """Strikes each ``every``-th request it sees."""
    path: str | None = None
    """Only requests to this path; ``None`` for every inference path."""
    after_events: int = 2
    seconds: float = 0.05
    factor: float = 1.0
    status: int = 500
    size: int = 256 * 1024

    def __post_init__(self) -> None:
        if self.every < 1 or (self.count is not None and self.count < 1):
            raise ValueError("count and every must be at least 1")
        if self.after_events < 0 or self.seconds < 0 or self.factor <= 0:
            raise ValueError("after_events and seconds must not be negative, factor must be > 0")


@dataclass(slots=True)
class _Armed:
    fault: Fault
    seen: int = 0
    struck: int = 0

    def strikes(self) -> bool:
        self.seen += 1
        if self.seen % self.fault.every:
            return False
        self.struck += 1
        return True

    @property
    def spent(self) -> bool:
        return self.fault.count is not None and self.struck >= self.fault.count


class FaultPlan:
    """The armed faults of one engine."""

    def __init__(self, faults: tuple[Fault, ...] = ()) -> None:
        self._armed = [_Armed(fault) for fault in faults]

    def arm(self, fault: Fault) -> None:
        """Add a fault behind those already armed."""
        self._armed.append(_Armed(fault))

    def clear(self) -> None:
        """Disarm everything; requests already struck are not healed."""
        self._armed.clear()

    def armed(self) -> list[Fault]:
        """Faults that may still strike, in order."""
        return [item.fault for item in self._armed]

    def for_request(self, path: str) -> Fault | None:
        """The fault that the next request to ``path`` suffers."""
        return self._next(
            lambda fault: fault.kind is not FaultKind.REFUSE and fault.path in {None, path}
        )

    def for_connection(self) -> Fault | None:
        """The fault that the next connection suffers."""
        return self._next(lambda fault: fault.kind is FaultKind.REFUSE)

    def _next(self, applies: Callable[[Fault], bool]) -> Fault | None:
        for item in self._armed:
            if applies(item.fault) and item.strikes():
                if item.spent:
                    self._armed.remove(item)
                return item.fault
        return None
