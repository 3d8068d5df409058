"""Learning to rank: the order of predicted lengths alone, whatever they cost.

Source: LTR, arXiv 2408.15792, which ranks by a score that needs no unit; the median plays it here.
"""

from alise_gateway.queueing.events import Ticket
from alise_gateway.queueing.orderings.base import Load, aged


class Rank:
    """By predicted median length.

    Args:
        aging_half_life_seconds: A wait this long halves the length; ``None`` for no aging.
    """

    def __init__(self, aging_half_life_seconds: float | None = None) -> None:
        self._half_life = aging_half_life_seconds

    def rank(self, ticket: Ticket, load: Load) -> float:
        """Logarithm of the median, aged."""
        del load
        return aged(1.0 + ticket.work.median_tokens, ticket.enqueued, self._half_life)
