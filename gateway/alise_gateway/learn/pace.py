"""How many answers are learned from: as many as help, not as many as there are.

Learning from an answer takes a fifth of a millisecond of the core that serves requests, and beyond
some hundred a second one more teaches next to nothing. A bucket of tokens decides; pairs of tenant
and model of which little is known yet may overdraw it, so that a busy tenant does not keep a new
one from being learned about.
"""

from alise_core.clock import Clock

_BURST_SECONDS = 2.0
_YOUNG_ANSWERS = 500
"""A pair is young until so many answers: quantiles and heads have settled by then."""
_MOST_PAIRS = 10_000


class LearningPace:
    """Decides about each finished answer.

    Args:
        clock: Refills the bucket.
        per_second: Answers learned from in the long run.
    """

    __slots__ = ("_burst", "_clock", "_filled_at", "_known", "_per_second", "_tokens")

    def __init__(self, clock: Clock, per_second: float) -> None:
        self._clock = clock
        self._per_second = per_second
        self._burst = max(1.0, per_second * _BURST_SECONDS)
        self._tokens = self._burst
        self._filled_at = clock.now()
        self._known: dict[tuple[str, str], int] = {}

    def take(self, tenant: str, model: str) -> bool:
        """Whether the next answer of this pair is learned from; if so, it counts."""
        now = self._clock.now()
        refilled = self._tokens + (now - self._filled_at) * self._per_second
        self._tokens, self._filled_at = min(self._burst, refilled), now
        pair = (tenant, model)
        known = self._known.get(pair, 0)
        floor = 1.0 if known >= _YOUNG_ANSWERS else 1.0 - self._burst
        if self._tokens < floor:
            return False
        self._tokens -= 1.0
        if pair not in self._known and len(self._known) >= _MOST_PAIRS:
            # Forgotten pairs are young again, which costs a few answers more.
            self._known.clear()
        self._known[pair] = known + 1
        return True
