"""Shortest job first, by the predicted mean.

Source: SSJF, arXiv 2404.08509.
"""

from alise_gateway.queueing.events import Ticket
from alise_gateway.queueing.orderings.base import Load, aged


class Sjf:
    """By predicted mean service time.

    Args:
        aging_half_life_seconds: A wait this long halves the size; ``None`` for no aging.
    """

    def __init__(self, aging_half_life_seconds: float | None = None) -> None:
        self._half_life = aging_half_life_seconds

    def rank(self, ticket: Ticket, load: Load) -> float:
        """Logarithm of the size, aged."""
        del load
        return aged(ticket.work.service_seconds, ticket.enqueued, self._half_life)
