"""A request as far as the order is concerned."""

from dataclasses import dataclass, field

from alise_vllm.ordering.forecast import LEAST_TOKENS, Estimate, Forecast

PRIOR_TOKENS = 512
"""An answer that nothing is known of is taken for one of at most so many tokens."""


@dataclass(slots=True, eq=False)
class Work:
    """One request from its arrival to its end.

    Attributes:
        number: Requests are numbered as they arrive.
        rank: Of its class; smaller is better and always goes first.
        prompt_tokens: Tokens of the prompt.
        max_tokens: The answer is cut here, tokens.
        arrived: When, seconds.
        forecast: What is expected of its output; None is unknown. Replaced by ``expect``.
        told: What was said of it by whoever sent it; None is nothing.
        call_seconds: How long the tool call takes that the answer ends with; 0 without one.
        generated: Tokens so far.
        preemptions: How often it gave way; forced by memory or not.
        gave_way_at: Tokens that it had generated the last time; 0 is never.
        waiting_since: Since when it waits, if it does; seconds.
        promoted: It starved once and goes ahead of its class.
        forgiven_seconds: Service that no longer counts against it.
        standing: Among those that run: higher is worse. Good until ``standing_until`` tokens are
            generated, for costs change slowly.
        standing_until: See there; 0 is not known.
        lane_value: Its place among those of whom nothing is known, once it has one.
    """

    number: int
    rank: int
    prompt_tokens: int
    max_tokens: int
    arrived: float
    forecast: Estimate | None = None
    told: Forecast | None = None
    call_seconds: float = 0.0
    generated: int = 0
    preemptions: int = 0
    gave_way_at: int = 0
    waiting_since: float | None = None
    promoted: bool = False
    forgiven_seconds: float = 0.0
    standing: int = 0
    standing_until: int = 0
    lane_value: float | None = None
    _remaining: tuple[int, float] | None = field(default=None, init=False, repr=False)
    """Of how many generated tokens, and the estimate then: it is asked for several times."""

    @property
    def context_tokens(self) -> int:
        """Tokens that it holds memory for while it runs."""
        return self.prompt_tokens + self.generated

    def expect(self, estimate: Estimate) -> None:
        """Expect something else of its output; it does not wait."""
        self.forecast = estimate
        self._remaining = self.lane_value = None
        self.standing_until = 0

    def remaining_tokens(self) -> float:
        """Tokens still to come on average; without a forecast a guess that only max_tokens bounds.

        The guess is half of the most that is believed possible, and again half of twice the
        answer once it has outrun that.
        """
        if self.forecast is not None:
            known = self._remaining
            if known is None or known[0] != self.generated:
                left = self.forecast.remaining(self.generated, self.max_tokens)
                known = self._remaining = (self.generated, left)
            return known[1]
        most = min(self.max_tokens, max(PRIOR_TOKENS, 2 * self.generated))
        return max((most - self.generated) / 2, LEAST_TOKENS)

    def index_tokens(self) -> float:
        """Tokens that it takes by the chance that they are enough: what ``gittins`` orders by."""
        if self.forecast is None:
            return self.remaining_tokens()
        return self.forecast.index(self.generated, self.max_tokens)
