"""KV tokens that everybody who waits or runs is predicted to need, by model. Pure.

Sums are kept, so that reading them costs the same with ten requests as with ten thousand.
"""

from dataclasses import dataclass

from alise_gateway.queueing.events import Ticket


@dataclass(slots=True)
class ModelDemand:
    """Of one model, in tokens of prompt and output.

    Attributes:
        median: With every answer at its predicted median.
        high: With every answer at its predicted 90th percentile.
        requests: How many there are.
    """

    median: float = 0.0
    high: float = 0.0
    requests: int = 0


class Demand:
    """See the module."""

    def __init__(self) -> None:
        self._models: dict[str, ModelDemand] = {}
        self._held: dict[int, tuple[float, float]] = {}

    def hold(self, ticket: Ticket) -> None:
        """A request waits or runs; or more is known of one that does."""
        work = ticket.work
        needs = (ticket.prompt_tokens + work.median_tokens, ticket.prompt_tokens + work.high_tokens)
        if self._held.get(ticket.number) == needs:
            return
        self.release(ticket)
        self._held[ticket.number] = needs
        demand = self._models.setdefault(ticket.model, ModelDemand())
        demand.median += needs[0]
        demand.high += needs[1]
        demand.requests += 1

    def release(self, ticket: Ticket) -> None:
        """A request is over; unknown ones are ignored."""
        needs = self._held.pop(ticket.number, None)
        if needs is None:
            return
        demand = self._models[ticket.model]
        demand.requests -= 1
        demand.median -= needs[0]
        demand.high -= needs[1]
        if not demand.requests:
            demand.median = demand.high = 0.0  # rounding must not outlive an idle moment

    def of_models(self) -> dict[str, ModelDemand]:
        """By model, of every model that was ever asked for."""
        return self._models
