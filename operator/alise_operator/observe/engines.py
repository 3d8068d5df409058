"""Reads the engines' metrics pages, gently: what they say of memory and models seldom changes.

Who wants an endpoint read says so, with what tells one incarnation of its engine from the next; a
new one is read at once, the same one again after the interval. What was read stays known until the
endpoint is not wanted any more or its engine is another one.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import httpx

from alise_core.errors import AliseError
from alise_operator.decide.engine import EngineFacts
from alise_operator.decide.scope import WorkKey
from alise_operator.observe.exposition import engine_facts

_MOST_BYTES = 4 * 1024 * 1024
_MOST_REASON_CHARS = 200
_SPREAD_RATIO = 0.2
"""Engines that started together must not be asked together for ever."""


class EngineUnreadable(AliseError):
    """An endpoint did not answer with a page of metrics."""


@dataclass(frozen=True, slots=True)
class EngineTarget:
    """Where an endpoint's metrics are.

    Attributes:
        name: Of the endpoint, ``IP:PORT``.
        url: Of its metrics page.
        incarnation: Another one is another engine.
    """

    name: str
    url: str
    incarnation: str


class EngineReader:
    """What is known of engines, and the reading of one.

    Args:
        interval_seconds: Between two readings of an endpoint.
        timeout_seconds: Of one reading.
        chance: A number in [0, 1), a new one with each call.
        create_client: Makes the HTTP client, on first use.

    Attributes:
        on_wanted: Told the name of an endpoint that should be read now.
        on_unwanted: Told the name of one that need not be read any more.
        on_facts: Told the objects whose endpoint says something else than before.
    """

    def __init__(
        self,
        interval_seconds: float,
        timeout_seconds: float,
        chance: Callable[[], float],
        create_client: Callable[[], httpx.AsyncClient] | None = None,
    ) -> None:
        self._interval_seconds = interval_seconds
        self._timeout_seconds = timeout_seconds
        self._chance = chance
        self._create_client = create_client or _create_client
        self._client: httpx.AsyncClient | None = None
        self._wanted: dict[WorkKey, dict[str, EngineTarget]] = {}
        self._targets: dict[str, EngineTarget] = {}
        self._facts: dict[str, EngineFacts] = {}
        self.on_wanted: Callable[[str], None] = _nobody_listens
        self.on_unwanted: Callable[[str], None] = _nobody_listens
        self.on_facts: Callable[[Iterable[WorkKey]], None] = _nobody_listens

    @property
    def facts(self) -> Mapping[str, EngineFacts]:
        """By the endpoint's name; live, not to be changed.

        An endpoint that was asked in vain says nothing; one that is missing was not asked yet.
        """
        return self._facts

    def want(self, pool: WorkKey, targets: Iterable[EngineTarget]) -> None:
        """A pool has exactly these endpoints to be read now."""
        before = self._wanted.get(pool, {})
        now = {target.name: target for target in targets}
        if now:
            self._wanted[pool] = now
        else:
            self._wanted.pop(pool, None)
        for name, target in now.items():
            if self._targets.get(name) != target:
                self._targets[name] = target
                self._facts.pop(name, None)
                self.on_wanted(name)
        for name in before.keys() - now.keys():
            self._let_go(name)

    def forget_all(self) -> None:
        """Nobody wants anything: another process reads from now on."""
        for pool in tuple(self._wanted):
            self.want(pool, ())

    async def read(self, name: str) -> float | None:
        """Read one endpoint.

        Returns: Seconds until it should be read again; ``None`` where nobody wants it any more.

        Raises:
            EngineUnreadable: It does not answer as it should.
        """
        target = self._targets.get(name)
        if target is None:
            return None
        try:
            facts = await self._ask(target)
        except EngineUnreadable:
            # What was read before is still the best that is known.
            self._learn(target, self._facts.get(name, EngineFacts()))
            raise
        if not self._learn(target, facts):
            return None
        return self._interval_seconds * (1 + _SPREAD_RATIO * (self._chance() - 0.5))

    async def close(self) -> None:
        """Close connections; a later reading opens new ones."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    def _learn(self, target: EngineTarget, facts: EngineFacts) -> bool:
        """Take facts over, unless another engine has the endpoint by now."""
        name = target.name
        if self._targets.get(name) is not target:
            return False
        if facts != self._facts.get(name):
            self._facts[name] = facts
            self.on_facts([pool for pool, wanted in self._wanted.items() if name in wanted])
        return True

    def _let_go(self, name: str) -> None:
        if any(name in wanted for wanted in self._wanted.values()):
            return
        self._targets.pop(name, None)
        self._facts.pop(name, None)
        self.on_unwanted(name)

    async def _ask(self, target: EngineTarget) -> EngineFacts:
        facts = engine_facts(await self._fetch(target.url))
        if facts is None:
            raise EngineUnreadable(f"{target.url} says nothing of an engine that is known")
        return facts

    async def _fetch(self, url: str) -> str:
        if self._client is None:
            self._client = self._create_client()
        body = bytearray()
        try:
            async with (
                asyncio.timeout(self._timeout_seconds),
                # Unencoded, because a few compressed bytes can stand for many.
                self._client.stream("GET", url, headers={"accept-encoding": "identity"}) as answer,
            ):
                if answer.status_code != httpx.codes.OK:
                    raise EngineUnreadable(f"{url} answered {answer.status_code}")
                async for read in answer.aiter_raw():
                    body += read
                    if len(body) > _MOST_BYTES:
                        raise EngineUnreadable(f"{url}: more than {_MOST_BYTES} bytes")
        except TimeoutError:
            raise EngineUnreadable(f"{url}: no answer in {self._timeout_seconds:g} s") from None
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, OSError) as error:
            reason = f"{url}: {type(error).__name__}: {error}"
            raise EngineUnreadable(reason[:_MOST_REASON_CHARS]) from error
        return body.decode("utf-8", "replace")


def _create_client() -> httpx.AsyncClient:
    """No proxies or credentials from the environment, no connections kept for a minute."""
    limits = httpx.Limits(max_keepalive_connections=0)
    # The whole exchange is bounded, which httpx's timeouts per read do not do.
    return httpx.AsyncClient(limits=limits, timeout=None, trust_env=False)  # noqa: S113


def _nobody_listens(what: object) -> None:
    """Until somebody wants to know."""
