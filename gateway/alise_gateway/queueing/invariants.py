"""What must hold of the queue's structures after every event; for tests. Pure."""

from collections.abc import Iterable

from alise_gateway.domain.backend import Backend
from alise_gateway.queueing.events import Ticket
from alise_gateway.queueing.pool import Pool


def check_places(pools: Iterable[Pool], in_flight: Iterable[Ticket]) -> int:
    """Every request is in one place, and backends know what they have.

    Returns: How many wait.

    Raises:
        AssertionError: With the first violation.
    """
    waiting = []
    for pool in pools:
        pool.check()
        waiting += pool.everybody()
    for ticket in waiting:
        require(ticket.waiting and ticket.backend is None, "waiting is not in flight")
    load: dict[Backend, int] = {}
    for ticket in in_flight:
        if ticket.backend is None or ticket.waiting:
            raise AssertionError("violated: a request in flight has a backend and does not wait")
        load[ticket.backend] = load.get(ticket.backend, 0) + 1
    for backend, count in load.items():
        require(backend.in_flight == count, "in-flight counts agree")
        require(len(backend.admission.ledger) == count, "ledgers know what is in flight")
        backend.admission.ledger.check()
    return len(waiting)


def require(condition: bool, what: str) -> None:
    """Raise AssertionError unless a condition holds."""
    if not condition:
        raise AssertionError(f"violated: {what}")
