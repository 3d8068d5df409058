"""What a pool's backends make of a request's work, and when to come back to them. Pure."""

from collections.abc import Sequence
from operator import attrgetter

from alise_core.prediction import LengthDistribution
from alise_gateway.domain.backend import Backend
from alise_gateway.domain.cost_model import CostModel
from alise_gateway.domain.work import Work, expected_work
from alise_gateway.queueing.events import Ticket

MIN_RETRY_AFTER_SECONDS = 1.0
_MAX_RETRY_AFTER_SECONDS = 600.0
_in_flight = attrgetter("in_flight")


def work_of(
    ticket: Ticket,
    prediction: LengthDistribution | None,
    candidates: Sequence[Backend],
    in_flight: int,
) -> Work:
    """Expected on the first of the candidates that has shown its speed; else on any engine.

    Args:
        ticket: The request.
        prediction: Of its answer.
        candidates: Backends that list its model.
        in_flight: ``parallel_of`` them, by this gateway alone.
    """
    known = (backend.cost for backend in candidates if backend.cost.observations)
    cost = next(known, None) or CostModel()
    others = sum([backend.admission.room.others for backend in candidates])
    batch = max(1.0, (in_flight + others) / max(1, len(candidates)))
    return expected_work(ticket.prompt_tokens, prediction, cost, batch)


def parallel_of(candidates: Sequence[Backend]) -> int:
    """Requests that the backends serve at a time now."""
    return sum(map(_in_flight, candidates))


def bounded_retry_after(seconds: float) -> float:
    """A time that is worth telling a client: not at once, and not for ever."""
    return min(_MAX_RETRY_AFTER_SECONDS, max(MIN_RETRY_AFTER_SECONDS, seconds))
