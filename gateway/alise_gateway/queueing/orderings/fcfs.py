"""First come, first served: what every engine does by itself, and the yardstick."""

from alise_gateway.queueing.events import Ticket
from alise_gateway.queueing.orderings.base import Load


class Fcfs:
    """By arrival."""

    def rank(self, ticket: Ticket, load: Load) -> float:
        """When it came."""
        del load
        return ticket.enqueued
