"""The ``alise_engine_*`` series in the API server's own Prometheus registry.

A scrape cannot wait for the engine, so it gets what the engine said last: a task asks it every
``REFRESH_SECONDS``. vLLM shows this registry under ``/metrics`` unless it runs several API
servers, whose metrics it takes from files; ``/alise/metrics`` shows the series in both cases, asked
for anew.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from alise_vllm.control.engine_access import EngineSilent
from alise_vllm.control.series import samples
from alise_vllm.tunable import Json

REFRESH_SECONDS = 5.0
"""A third of Prometheus's usual interval; asking costs the engine well under a millisecond."""

States = Sequence[Mapping[str, Json]]


class EngineSeries(Collector):
    """What the engines said last.

    Args:
        look: Asks the engines for their states.
        sleep: Waits some seconds.
    """

    def __init__(
        self,
        look: Callable[[], Awaitable[States]],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._look = look
        self._sleep = sleep
        self._last: States = ()

    def describe(self) -> Iterator[Metric]:
        """Nothing in advance: what there is to see depends on what is loaded."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """The series; none while the engine is silent."""
        return metrics(self._last)

    async def keep_fresh(self) -> None:
        """Ask again and again, for as long as the server lives."""
        while True:
            try:
                self._last = await self._look()
            except EngineSilent:
                self._last = ()
            await self._sleep(REFRESH_SECONDS)


class _Once(Collector):
    def __init__(self, states: States) -> None:
        self._states = states

    def collect(self) -> Iterator[Metric]:
        return metrics(self._states)


def metrics(states: States) -> Iterator[Metric]:
    """States as Prometheus's client has them."""
    for name, found in samples(states).items():
        is_counter = found[0].is_counter
        family = Metric(
            name.removesuffix("_total") if is_counter else name,
            "Of the ALISE engine plugin; see docs/engine.md.",
            "counter" if is_counter else "gauge",
        )
        for sample in found:
            family.add_sample(name, dict(sample.labels), sample.value)
        yield family


def page(states: States) -> bytes:
    """One exposition with these series alone."""
    registry = CollectorRegistry()
    registry.register(_Once(states))
    return generate_latest(registry)
