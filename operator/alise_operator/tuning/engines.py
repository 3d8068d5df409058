"""Asks engines over HTTP: a look at one, and a change of its settings that is read back."""

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import httpx

from alise_core.clock import Clock
from alise_core.errors import AliseError
from alise_operator.tuning.reading import sample_of
from alise_operator.tuning.samples import PodSample

_MOST_BYTES = 4 * 1024 * 1024
_MOST_REASON_CHARS = 200


class EngineSilent(AliseError):
    """An engine did not answer as it should; the text never holds a token."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where an engine is.

    Attributes:
        base: ``SCHEME://HOST:PORT/BASE_PATH`` without a slash at the end.
        token: Of the plugin's admin routes; ``None`` sends none.
    """

    base: str
    token: str | None = field(default=None, repr=False)


class Engines:
    """All engines that the tuner looks at.

    Args:
        clock: Says when a look was.
        timeout_seconds: Of one exchange.
        create_client: Makes the HTTP client, on first use.
    """

    def __init__(
        self,
        clock: Clock,
        timeout_seconds: float,
        create_client: Callable[[], httpx.AsyncClient] | None = None,
    ) -> None:
        self._clock = clock
        self._timeout_seconds = timeout_seconds
        self._create_client = create_client or _create_client
        self._client: httpx.AsyncClient | None = None

    async def look(self, address: Address) -> PodSample:
        """One sample; without the plugin's part where there is no plugin, or it does not answer.

        Raises:
            EngineSilent: There is no page of metrics.
        """
        page = await self._exchange("GET", f"{address.base}/metrics", address, None)
        state: object = None
        try:
            text = await self._exchange("GET", f"{address.base}/alise/state", address, None)
            state = json.loads(text)
        except (EngineSilent, ValueError, RecursionError):
            state = None
        return sample_of(page, state, self._clock.now())

    async def page(self, url: str) -> str:
        """The text at a URL, without a token.

        Raises:
            EngineSilent: There is none.
        """
        return await self._exchange("GET", url, Address(url), None)

    async def tune(self, address: Address, changes: Mapping[str, Mapping[str, int | str]]) -> None:
        """Change settings; the same changes again change nothing.

        Raises:
            EngineSilent: It refused, or did not answer; nothing or everything has changed.
        """
        await self._exchange("POST", f"{address.base}/alise/tune", address, json.dumps(changes))

    async def close(self) -> None:
        """Close connections; a later exchange opens new ones."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    async def _exchange(self, method: str, url: str, address: Address, body: str | None) -> str:
        if self._client is None:
            self._client = self._create_client()
        headers = {"accept-encoding": "identity"}
        if address.token is not None and "/alise/" in url:
            headers["authorization"] = f"Bearer {address.token}"
        read = bytearray()
        try:
            async with (
                asyncio.timeout(self._timeout_seconds),
                self._client.stream(method, url, headers=headers, content=body) as answer,
            ):
                async for part in answer.aiter_raw():
                    read += part
                    if len(read) > _MOST_BYTES:
                        raise EngineSilent(f"{url}: more than {_MOST_BYTES} bytes")
        except TimeoutError:
            raise EngineSilent(f"{url}: no answer in {self._timeout_seconds:g} s") from None
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, OSError) as error:
            reason = f"{url}: {type(error).__name__}: {error}"
            raise EngineSilent(reason[:_MOST_REASON_CHARS]) from error
        if answer.status_code != httpx.codes.OK:
            said = read[:_MOST_REASON_CHARS].decode("utf-8", "replace")
            raise EngineSilent(f"{url} answered {answer.status_code}: {said}")
        return read.decode("utf-8", "replace")


def _create_client() -> httpx.AsyncClient:
    """No proxies or credentials from the environment."""
    # The whole exchange is bounded, which httpx's timeouts per read do not do.
    return httpx.AsyncClient(timeout=None, trust_env=False)  # noqa: S113
