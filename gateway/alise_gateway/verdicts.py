"""What the ending of an attempt says about its backend: for the breaker, the metrics, the queue."""

import structlog

from alise_core.clock import Clock
from alise_gateway.domain.backend import Backend
from alise_gateway.domain.breaker import BreakerState
from alise_gateway.domain.failure import FailureKind
from alise_gateway.measure.metrics import GatewayMetrics
from alise_gateway.queueing.controller import QueueController
from alise_gateway.queueing.events import Ticket

_LOG = structlog.get_logger(__name__)


class BackendVerdicts:
    """Turns endings into verdicts; one for all requests."""

    def __init__(self, clock: Clock, metrics: GatewayMetrics, queue: QueueController) -> None:
        self._clock = clock
        self._metrics = metrics
        self._queue = queue

    def dispatched(self, backend: Backend, ticket: Ticket) -> None:
        """A request is on its way; it may be the one that a half-open breaker lets through."""
        if ticket.is_trial:
            self._metrics.breaker_moved(backend.name, BreakerState.HALF_OPEN)

    def answers(self, backend: Backend, ticket: Ticket) -> None:
        """The first bytes of an answer are there.

        That is what a half-open breaker waits to see: a long stream must not keep the backend
        from other requests until its end.
        """
        if ticket.is_trial:
            ticket.is_trial = False
            self._close_breaker(backend)

    def ended(self, backend: Backend, ticket: Ticket, failure: FailureKind | None) -> None:
        """An attempt is over; ``failure`` is ``None`` when the backend did its part."""
        breaker = backend.breaker
        was_trial = ticket.is_trial
        if failure is None:
            if was_trial:
                self._close_breaker(backend)
            else:
                breaker.succeeded(was_trial=False)
            return
        self._metrics.backend_failed(backend.name, failure)
        if failure is FailureKind.OVERLOADED:
            breaker.abandoned(was_trial=was_trial)
        elif breaker.failed(self._clock.now(), was_trial=was_trial):
            self._metrics.breaker_moved(backend.name, BreakerState.OPEN)
            _LOG.warning("breaker_opened", backend=backend.name, failure=str(failure))

    def abandoned(self, backend: Backend, ticket: Ticket) -> None:
        """The attempt was stopped for reasons that are not the backend's."""
        backend.breaker.abandoned(was_trial=ticket.is_trial)

    def _close_breaker(self, backend: Backend) -> None:
        """Whoever waits for this backend may have it."""
        backend.breaker.succeeded(was_trial=True)
        self._metrics.breaker_moved(backend.name, BreakerState.CLOSED)
        _LOG.info("breaker_closed", backend=backend.name)
        self._queue.backends_changed(backend)
