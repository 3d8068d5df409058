"""Which backend serves the next request: filter, score, pick. Pure.

Filter: listed, healthy, not draining, breaker lets it through, room below its in-flight limit,
not tried before by this request. Score: the free share of its in-flight limit, in [0, 1], 1 best.
Pick: the best score; among equals the one after the last pick, so that idle backends take turns.
"""

from collections.abc import Collection, Sequence

from alise_gateway.domain.backend import Backend, Placed, ProbeState

_SATURATED = Placed(None, usable=True)
_UNAVAILABLE = Placed(None, usable=False)


def is_usable(backend: Backend, now: float) -> bool:
    """Whether a backend may be sent requests at all (``now``: monotonic seconds)."""
    return (
        backend.probe is ProbeState.HEALTHY and not backend.removed and backend.breaker.allows(now)
    )


def free_share(backend: Backend) -> float:
    """Score: the part of the in-flight limit that is free, in [0, 1]."""
    return max(0.0, 1.0 - backend.in_flight / backend.max_in_flight)


class LeastOutstanding:
    """Picks the backend with the largest free share of its in-flight limit."""

    def __init__(self) -> None:
        self._turn = 0

    def pick(self, candidates: Sequence[Backend], tried: Collection[Backend], now: float) -> Placed:
        """The backend to use, or why there is none.

        Args:
            candidates: Every backend that serves the model, whatever its health.
            tried: Backends that have failed this request.
            now: Monotonic seconds.
        """
        best: Backend | None = None
        best_score = 0.0
        usable = False
        count = len(candidates)
        start = after = self._turn
        for offset in range(count):
            backend = candidates[(start + offset) % count]
            if not is_usable(backend, now) or backend in tried:
                continue
            usable = True
            score = free_share(backend)
            if score > best_score:
                best, best_score, after = backend, score, start + offset + 1
        if best is None:
            return _SATURATED if usable else _UNAVAILABLE
        self._turn = after
        return Placed(best, usable=True)
