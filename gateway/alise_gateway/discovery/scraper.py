"""Reading the engines' metrics: asks every backend for ``/metrics`` and corrects its admission.

A backend that has none, or whose answer is of no use, is served as before: its admission goes by
what it was told last, until that is too old. Only changes of how reading goes are logged.
"""

from collections.abc import Callable
from dataclasses import dataclass

import httpx

from alise_core.clock import Clock
from alise_core.errors import WireError
from alise_gateway.discovery.engine_metrics import parse_figures
from alise_gateway.discovery.probe import ClientFactory, ProbeFailed, fetch
from alise_gateway.discovery.registry import BackendRegistry
from alise_gateway.discovery.rounds import BackendRounds, Pacing
from alise_gateway.domain.backend import Backend
from alise_gateway.domain.engine_figures import EngineFigures
from alise_gateway.domain.scrape import ScrapeResult
from alise_gateway.settings import HealthSettings

_PATH = "/metrics"
_NOT_THERE = frozenset(
    {httpx.codes.NOT_FOUND, httpx.codes.METHOD_NOT_ALLOWED, httpx.codes.NOT_IMPLEMENTED}
)


@dataclass(slots=True)
class _Reading:
    """What the scraper remembers of one backend."""

    backend: Backend
    result: ScrapeResult = ScrapeResult.READ
    """Of the last attempt; a backend that is read from the start is not worth a line."""


class Scraper(BackendRounds[_Reading]):
    """Keeps the figures in the backends' admissions fresh.

    Args:
        registry: Whose backends are asked; additions and removals are followed.
        settings: Interval and limit.
        clock: Dates the figures.
        create_client: Makes the HTTP client of one backend; the usual ones by default.
        pacing: How to wait.

    Attributes:
        on_scraped: Told the backend and the result of every attempt, after its figures have
            changed.
    """

    asking = "scrape"

    def __init__(
        self,
        registry: BackendRegistry,
        settings: HealthSettings,
        clock: Clock,
        create_client: ClientFactory | None = None,
        pacing: Pacing | None = None,
    ) -> None:
        super().__init__(registry, settings.scrape_interval_seconds, create_client, pacing)
        self._timeout_seconds = settings.scrape_timeout_seconds
        self._clock = clock
        self.on_scraped: Callable[[Backend, ScrapeResult], None] = _nobody_listens

    def _remember(self, backend: Backend) -> _Reading:
        return _Reading(backend)

    async def _ask(self, memory: _Reading, client: httpx.AsyncClient) -> None:
        backend, reason = memory.backend, None
        try:
            figures = await self._read(backend, client)
            result = ScrapeResult.ABSENT if figures is None else ScrapeResult.READ
        except ProbeFailed as error:
            figures, result, reason = None, ScrapeResult.FAILED, str(error)
        if figures is not None:
            backend.admission.observe(figures, figures.at, backend.max_in_flight)
        before, memory.result = memory.result, result
        if result is not before:
            self._log_change(backend, before, result, reason)
        self.on_scraped(backend, result)

    async def _read(self, backend: Backend, client: httpx.AsyncClient) -> EngineFigures | None:
        """The figures; ``None`` where the backend has none that are known."""
        status, body = await fetch(client, backend.address, _PATH, self._timeout_seconds)
        if status in _NOT_THERE:
            return None
        if status != httpx.codes.OK:
            raise ProbeFailed(f"GET {_PATH} answered {status}")
        now = self._clock.now()
        try:
            figures = parse_figures(body, now)
        except WireError as error:
            raise ProbeFailed(f"GET {_PATH}: {error}") from error
        return None if figures == EngineFigures(now) else figures

    def _log_change(
        self, backend: Backend, before: ScrapeResult, now: ScrapeResult, reason: str | None
    ) -> None:
        log = self._log.warning if now is ScrapeResult.FAILED else self._log.info
        log(
            "backend_figures_changed",
            backend=backend.name,
            before=before.value,
            now=now.value,
            reason=reason,
        )


def _nobody_listens(backend: Backend, result: ScrapeResult) -> None:
    """Until somebody wants to know."""
