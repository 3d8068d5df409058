"""KV tokens that everybody who waits or runs is predicted to need, by model. Pure.

Sums are kept, so that reading them costs the same with ten requests as with ten thousand. The peak,
which is what memory has to have room for, is worked out when somebody asks: requests are not all
long at the same time, so it is well below the sums.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from alise_gateway.domain.future_peak import Held, future_peak, high_peak
from alise_gateway.queueing.events import Ticket

MOST_LOOKED_AT = 1_024
"""Requests of one model, of which a peak is made: a scrape runs on the event loop."""
_MEDIAN, _HIGH = 0.5, 0.9


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
        self._held: dict[int, tuple[tuple[float, float], Ticket]] = {}

    def hold(self, ticket: Ticket) -> None:
        """A request waits or runs; or more is known of one that does."""
        work = ticket.work
        needs = (ticket.prompt_tokens + work.median_tokens, ticket.prompt_tokens + work.high_tokens)
        known = self._held.get(ticket.number)
        if known is not None:
            if known[0] == needs:
                return
            self.release(ticket)
        self._held[ticket.number] = (needs, ticket)
        demand = self._models.get(ticket.model)
        if demand is None:
            demand = self._models[ticket.model] = ModelDemand()
        demand.median += needs[0]
        demand.high += needs[1]
        demand.requests += 1

    def release(self, ticket: Ticket) -> None:
        """A request is over; unknown ones are ignored."""
        held = self._held.pop(ticket.number, None)
        if held is None:
            return
        needs = held[0]
        demand = self._models[ticket.model]
        demand.requests -= 1
        demand.median -= needs[0]
        demand.high -= needs[1]
        if not demand.requests:
            demand.median = demand.high = 0.0  # rounding must not outlive an idle moment

    def of_models(self) -> dict[str, ModelDemand]:
        """By model, of every model that was ever asked for."""
        return self._models

    def peaks(self, now: float) -> dict[str, tuple[float, float]]:
        """The most KV tokens held at one time if nobody else comes, and what that hardly exceeds.

        Whoever waits counts as if it began now: what memory would be needed if there were enough.
        Of many requests every so-manieth stands for all, so that it takes milliseconds at most.

        Args:
            now: Monotonic seconds.

        Returns: By model, of every model that was ever asked for.
        """
        by_model: dict[str, list[Ticket]] = {model: [] for model in self._models}
        for _, ticket in self._held.values():
            by_model[ticket.model].append(ticket)
        return {model: _peaks_of(tickets, now) for model, tickets in by_model.items()}


def _peaks_of(tickets: Sequence[Ticket], now: float) -> tuple[float, float]:
    chosen = tickets[:: len(tickets) // MOST_LOOKED_AT + 1]
    if not chosen:
        return 0.0, 0.0
    middles: list[Held] = []
    highs: list[Held] = []
    for ticket in chosen:
        generated = _generated(ticket, now)
        held = ticket.prompt_tokens + generated
        middle, high = _rest(ticket, generated)
        middles.append((held, middle))
        highs.append((held, high))
    middle = future_peak(middles)
    scale = len(tickets) / len(chosen)
    return scale * middle, scale * high_peak(middle, future_peak(highs), len(tickets))


def _generated(ticket: Ticket, now: float) -> float:
    """Output tokens so far, by the pace of its backend; 0 of one that waits."""
    if ticket.backend is None:
        return 0.0
    return ticket.backend.admission.ledger.generated(ticket.number, now)


def _rest(ticket: Ticket, generated: float) -> tuple[float, float]:
    """Tokens still to come, p50 and p90: of what outlasts its prediction, predicted anew."""
    middle, high = ticket.work.median_tokens - generated, ticket.work.high_tokens - generated
    if middle > 0 or ticket.prediction is None:
        return max(0.0, middle), max(0.0, high)
    known = ticket.prediction.given_more_than(generated)
    anew = high if high > 0 else known.quantile(_HIGH) - generated
    return max(0.0, known.quantile(_MEDIAN) - generated), max(0.0, anew)
