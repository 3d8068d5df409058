"""Asks the gateways what they predict; what each said is kept until it is asked again."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping

from alise_core.clock import Clock
from alise_operator.tuning.demand import GatewaySaid, demand_of, said_of
from alise_operator.tuning.engines import EngineSilent
from alise_operator.tuning.observed import DemandObserved

ReadPage = Callable[[str], Awaitable[str]]
"""The text at a URL. Raises EngineSilent where there is none."""

_AT_ONCE = 8


class Gateways:
    """See the module.

    Args:
        find: ``HOST:PORT`` of each gateway's metrics.
        read_page: Asks one.
        clock: Says how old an answer is.
        keep_seconds: For so long an answer is not asked for again, however many pools want it.
    """

    def __init__(
        self,
        find: Callable[[], Iterable[str]],
        read_page: ReadPage,
        clock: Clock,
        keep_seconds: float,
    ) -> None:
        self._find = find
        self._read_page = read_page
        self._clock = clock
        self._keep_seconds = keep_seconds
        self._heard: dict[str, GatewaySaid] = {}
        self._asked_at: float | None = None
        self._asking = asyncio.Lock()
        self._slots = asyncio.Semaphore(_AT_ONCE)

    async def demand(self, shares: Mapping[str, float]) -> DemandObserved | None:
        """What all gateways predict for a pool, by its part of each model; ``None`` without any.

        One that does not answer counts with what it said last, which grows old, or as missing.
        """
        places = sorted(self._find())
        async with self._asking:
            now = self._clock.now()
            if self._asked_at is None or now - self._asked_at >= self._keep_seconds:
                self._asked_at = now
                await asyncio.gather(*map(self._ask, places))
        self._heard = {place: said for place, said in self._heard.items() if place in places}
        heard = [self._heard[place] for place in places if place in self._heard]
        return demand_of(heard, len(places) - len(heard), shares, self._clock.now())

    async def _ask(self, place: str) -> None:
        async with self._slots:
            try:
                page = await self._read_page(f"http://{place}/metrics")
            except EngineSilent:
                return  # what it said last grows old
        said = said_of(page, self._clock.now())
        if said is not None:
            self._heard[place] = said
