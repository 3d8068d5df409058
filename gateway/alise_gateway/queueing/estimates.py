"""What a pool's backends make of a request's work, and when to come back to them. Pure."""

from collections.abc import Sequence

from alise_core.prediction import LengthDistribution
from alise_gateway.domain.backend import Backend
from alise_gateway.domain.cost_model import CostModel
from alise_gateway.domain.work import Work, expected_work
from alise_gateway.queueing.events import Ticket

MIN_RETRY_AFTER_SECONDS = 1.0
_MAX_RETRY_AFTER_SECONDS = 600.0


def work_of(
    ticket: Ticket, prediction: LengthDistribution | None, candidates: Sequence[Backend]
) -> Work:
    """Expected on the first of the candidates that has shown its speed; else on any engine."""
    known = (backend.cost for backend in candidates if backend.cost.observations)
    cost = next(known, None) or CostModel()
    batch = max(1.0, parallel_of(candidates) / max(1, len(candidates)))
    return expected_work(ticket.prompt_tokens, prediction, cost, batch)


def parallel_of(candidates: Sequence[Backend]) -> int:
    """Requests that the backends serve at a time now."""
    return sum(backend.in_flight for backend in candidates)


def bounded_retry_after(seconds: float) -> float:
    """A time that is worth telling a client: not at once, and not for ever."""
    return min(_MAX_RETRY_AFTER_SECONDS, max(MIN_RETRY_AFTER_SECONDS, seconds))
