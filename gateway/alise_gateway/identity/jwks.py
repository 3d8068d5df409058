"""Where the issuer's public keys come from, and when to look again: a file or a URL.

A file is read again when it changed. A URL is fetched at start, then every ``REFRESH_SECONDS``, so
that a key which an issuer publishes ahead of its use is known by then, and at most every
``MIN_REFRESH_SECONDS`` when a token names an unknown key or the last fetch failed: made-up key
names cannot turn the gateway into a load on the issuer. A failed refresh keeps the keys there are.
"""

import asyncio
from urllib.parse import urlsplit

import httpx
import structlog

from alise_core.clock import Clock
from alise_core.errors import ConfigError
from alise_gateway.identity.files import WatchedFile
from alise_gateway.identity.jwt import JwtVerifier, KeySet, parse_jwks

REFRESH_SECONDS = 300.0
MIN_REFRESH_SECONDS = 10.0
_FETCH_TIMEOUT_SECONDS = 5.0
_MAX_BYTES = 1024 * 1024


class JwksFile:
    """Keeps a verifier's keys as a file says.

    Raises:
        ConfigError: At construction, when the file is unusable.
    """

    def __init__(self, file: WatchedFile, verifier: JwtVerifier) -> None:
        self._file = file
        self._verifier = verifier
        self._use(self._read())

    async def refresh(self) -> None:
        """Read the file again if it changed; raises ConfigError once per bad version."""
        self._use(await asyncio.to_thread(self._read))

    async def stop(self) -> None:
        """Nothing is held open."""

    def _read(self) -> KeySet | None:
        content = self._file.read_if_changed()
        return None if content is None else parse_jwks(content, str(self._file.path))

    def _use(self, keys: KeySet | None) -> None:
        if keys is not None:
            self._verifier.replace_keys(keys)


class JwksUrl:
    """Keeps a verifier's keys as a URL says.

    Args:
        url: ``https``, or ``http`` where the network is trusted.
        verifier: Whose keys to keep.
        clock: Decides when a fetch is due.
        transport: How to reach the issuer; httpx's own when ``None``.

    Raises:
        ConfigError: The URL is not one.
    """

    def __init__(
        self,
        url: str,
        verifier: JwtVerifier,
        clock: Clock,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ConfigError(f"identity.jwks_url {url!r} must look like https://issuer/jwks.json")
        self._url = url
        self._verifier = verifier
        self._clock = clock
        self._transport = transport
        self._client: httpx.AsyncClient | None = None
        self._fetched_at: float | None = None
        self._failed = False
        self._content: bytes | None = None
        self._log = structlog.get_logger("alise_gateway.identity")

    async def refresh(self) -> None:
        """Fetch the keys if that is due; failures are logged once until one succeeds."""
        if not self._is_due():
            return
        self._fetched_at = self._clock.now()
        try:
            content = await self._fetch()
            if content != self._content:
                self._verifier.replace_keys(parse_jwks(content, self._url))
                self._content = content
        except (httpx.HTTPError, TimeoutError, ConfigError) as error:
            if not self._failed:
                reason = str(error) or type(error).__name__
                self._log.warning("jwks_refresh_failed", url=self._url, reason=reason[:256])
            self._failed = True
            return
        self._verifier.wants_refresh = False
        if self._failed:
            self._log.info("jwks_refresh_recovered", url=self._url)
        self._failed = False

    async def stop(self) -> None:
        """Close the connection to the issuer."""
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    def _is_due(self) -> bool:
        if self._fetched_at is None:
            return True
        age = self._clock.now() - self._fetched_at
        is_urgent = self._failed or self._verifier.wants_refresh
        return age >= (MIN_REFRESH_SECONDS if is_urgent else REFRESH_SECONDS)

    async def _fetch(self) -> bytes:
        if self._client is None:
            # trust_env is off: only settings decide where credentials' keys come from.
            self._client = httpx.AsyncClient(transport=self._transport, trust_env=False)
        body = bytearray()
        async with (
            asyncio.timeout(_FETCH_TIMEOUT_SECONDS),
            self._client.stream(
                "GET", self._url, headers={"accept": "application/json"}, timeout=None
            ) as response,
        ):
            if response.status_code != httpx.codes.OK:
                raise ConfigError(f"the issuer answered {response.status_code}")
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > _MAX_BYTES:
                    raise ConfigError(f"the key set is larger than {_MAX_BYTES} bytes")
        return bytes(body)
