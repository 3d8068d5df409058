"""The stage's face: header fields in, tenant out, or a 401 that says what to do.

``authenticate`` runs for every request on the event loop and does no I/O; a background task, the
only owner of the files and of the key set, reads them again every ``reload_seconds``. What it finds
replaces the whole table at once, so a request sees the old file or the new one, never a mixture. A
new version that is wrong changes nothing and is reported once.

Rules:
- The credential is ``Authorization: Bearer X`` (OpenAI's clients) or ``x-api-key: X``
  (Anthropic's). Both may be sent when they agree. Anything ambiguous is refused.
- A credential that is presented must be good, even where anonymous requests are allowed.
- Where nothing is configured to check credentials against, and anonymous requests are allowed,
  credentials are ignored: clients that insist on sending some key still work.
"""

import asyncio
import contextlib
import hashlib
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Protocol

import httpx
import structlog

from alise_core.clock import Clock
from alise_core.errors import ConfigError, Unauthorized
from alise_core.units import TenantId
from alise_gateway.domain.request import ANONYMOUS, RawHeaders, Tenant
from alise_gateway.domain.tenant_keys import TenantKeys
from alise_gateway.identity.files import WatchedFile
from alise_gateway.identity.keys import NO_KEYS, KeyRecord, KeyTable, parse_keys
from alise_gateway.settings import IdentitySettings

if TYPE_CHECKING:
    from alise_gateway.identity.jwt import JwtVerifier

_AUTHORIZATION = b"authorization"
_API_KEY = b"x-api-key"
_BEARER = b"bearer "
_JWT_DOTS = 2


class _KeySource(Protocol):
    async def refresh(self) -> None: ...

    async def stop(self) -> None: ...


class Authenticator:
    """Knows every credential that the gateway accepts.

    Args:
        settings: Which kinds of credentials there are.
        clock: Decides what has expired.
        expects_tenants: Somebody will call ``set_tenants``.
        sleep: Waits between two looks at the files.
        transport: How to reach ``jwks_url``; httpx's own when ``None``.

    Attributes:
        on_keys_read: Told whether a changed keys file could be used; for metrics.

    Raises:
        ConfigError: A file is unusable, or nothing says who may call.
    """

    def __init__(
        self,
        settings: IdentitySettings,
        clock: Clock,
        *,
        expects_tenants: bool = False,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._allow_anonymous = settings.allow_anonymous
        self._reload_seconds = settings.reload_seconds
        self._clock = clock
        self._sleep = sleep
        self.on_keys_read: Callable[[bool], None] = _nobody_counts
        self._log = structlog.get_logger("alise_gateway.identity")
        self._task: asyncio.Task[None] | None = None
        self._keys_file: WatchedFile | None = None
        self._keys: KeyTable = NO_KEYS
        if settings.keys_file is not None:
            self._keys_file = WatchedFile(settings.keys_file, "keys file")
            keys = self._read_keys(self._keys_file)
            # Not ``or``: a file of tenants without keys is an empty table, and false.
            self._keys = NO_KEYS if keys is None else keys
        self._verifier = _build_verifier(settings, clock)
        self._key_source = _build_key_source(settings, self._verifier, clock, transport)
        self._more_keys: KeyTable = NO_KEYS
        self._has_source = self._keys_file is not None or self._verifier is not None
        # Where anonymous requests are allowed, a cluster without tenants is nothing to check
        # credentials against.
        self._checks = self._has_source or not self._allow_anonymous
        if self._checks and not self._has_source and not expects_tenants:
            raise ConfigError(
                "nothing says who may call: set identity.keys_file ('alise keys create' makes "
                "keys), or configure JWT (identity.jwt_issuer, jwt_audience and jwks_file or "
                "jwks_url), or read Tenants of a cluster (kubernetes.enabled), or serve everybody "
                "with --insecure-no-auth"
            )

    @property
    def enabled(self) -> bool:
        """Credentials are checked at all."""
        return self._checks

    def set_tenants(self, tenants: Sequence[TenantKeys]) -> None:
        """Accept these keys from now on, beside those of the file; what the file says comes first.

        Args:
            tenants: All of them, from another source; those of the last call count no more.
        """
        records = [
            KeyRecord(digest, found.tenant, None) for found in tenants for digest in found.digests
        ]
        self._more_keys = KeyTable(records, [found.tenant for found in tenants])
        self._checks = self._has_source or not self._allow_anonymous or bool(tenants)

    def authenticate(self, headers: RawHeaders) -> Tenant:
        """Who pays for a request with these header fields.

        Raises:
            Unauthorized: 401 with code ``missing_api_key``, ``invalid_authorization``,
                ``conflicting_credentials``, ``invalid_api_key``, ``expired_api_key``,
                ``invalid_token`` or ``token_expired``.
        """
        if not self._checks:
            return ANONYMOUS
        credential = _presented(headers)
        if credential is None:
            if self._allow_anonymous:
                return ANONYMOUS
            raise Unauthorized(
                "no API key was sent; send it as 'Authorization: Bearer KEY' or 'x-api-key: KEY'",
                code="missing_api_key",
            )
        digest = hashlib.sha256(credential).digest()
        record = self._keys.find(digest) or self._more_keys.find(digest)
        if record is not None:
            if record.expires_unix is not None and self._clock.unix() >= record.expires_unix:
                raise Unauthorized(
                    "the API key has expired; ask the gateway's operator for a new one",
                    code="expired_api_key",
                )
            return record.tenant
        if self._verifier is not None and credential.count(b".") == _JWT_DOTS:
            return self._tenant(self._verifier.verify(credential, digest))
        raise Unauthorized(
            "the API key is not known here; check for a cut or outdated key", code="invalid_api_key"
        )

    async def start(self) -> None:
        """Fetch what has to be fetched, then keep looking for changes until ``stop``."""
        await self.reload()
        if self._task is None and self._has_source:
            self._task = asyncio.create_task(self._keep_reloading(), name="identity-reload")

    async def stop(self) -> None:
        """End the background task and close connections; may be called twice."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        if self._key_source is not None:
            await self._key_source.stop()

    async def reload(self) -> None:
        """Look once for changed keys; wrong ones change nothing and are logged once."""
        if self._keys_file is not None:
            await self._reload_keys(self._keys_file)
        if self._key_source is None:
            return
        try:
            await self._key_source.refresh()
        except ConfigError as error:
            self._log.warning("jwks_rejected", reason=str(error))

    async def _keep_reloading(self) -> None:
        while True:
            await self._sleep(self._reload_seconds)
            try:
                await self.reload()
            except Exception:
                # The boundary of a background loop: the next look starts afresh.
                self._log.exception("identity_reload_failed")

    @staticmethod
    def _read_keys(file: WatchedFile) -> KeyTable | None:
        content = file.read_if_changed()
        return None if content is None else parse_keys(content, str(file.path))

    async def _reload_keys(self, file: WatchedFile) -> None:
        try:
            # In a thread: a slow volume or a large file must not hold up requests.
            keys = await asyncio.to_thread(self._read_keys, file)
        except ConfigError as error:
            self._log.warning("keys_file_rejected", reason=str(error), kept_keys=len(self._keys))
            self.on_keys_read(False)
            return
        if keys is not None:
            self._keys = keys
            self.on_keys_read(True)
            self._log.info("keys_reloaded", file=str(file.path), keys=len(keys))

    def _tenant(self, tenant_id: TenantId) -> Tenant:
        known = self._keys.tenant(tenant_id) or self._more_keys.tenant(tenant_id)
        return known or Tenant(tenant_id)


def _nobody_counts(succeeded: bool) -> None:
    """Until somebody wants to know."""


def check_model_allowed(tenant: Tenant, model: str) -> None:
    """Refuse a model that the tenant may not use.

    Args:
        tenant: Who asks.
        model: As the client wrote it: an alias has to be allowed by its own name.

    Raises:
        Unauthorized: 403 with code ``model_not_allowed``.
    """
    if tenant.allowed_models is not None and model not in tenant.allowed_models:
        raise Unauthorized(
            "this API key may not use the requested model; the gateway's operator can allow it",
            status=403,
            code="model_not_allowed",
            param="model",
        )


def _presented(headers: RawHeaders) -> bytes | None:
    """The one credential that the header fields carry."""
    bearer: bytes | None = None
    api_key: bytes | None = None
    for name, value in headers:
        if name == _AUTHORIZATION:
            if bearer is not None:
                raise _conflicting("several Authorization headers were sent")
            bearer = _bearer(value)
        elif name == _API_KEY:
            if api_key is not None:
                raise _conflicting("several x-api-key headers were sent")
            api_key = _plain(value)
    if bearer is not None and api_key is not None and bearer != api_key:
        raise _conflicting("Authorization and x-api-key carry different keys")
    return api_key if bearer is None else bearer


def _bearer(value: bytes) -> bytes:
    credential = value[len(_BEARER) :].strip()
    if value[: len(_BEARER)].lower() != _BEARER or not credential or b" " in credential:
        raise _malformed("the Authorization header must read 'Bearer KEY'")
    return credential


def _plain(value: bytes) -> bytes:
    credential = value.strip()
    if not credential:
        raise _malformed("the x-api-key header is empty")
    return credential


def _conflicting(reason: str) -> Unauthorized:
    return Unauthorized(f"{reason}; send one credential", code="conflicting_credentials")


def _malformed(reason: str) -> Unauthorized:
    return Unauthorized(
        f"{reason}; send the key as 'Authorization: Bearer KEY' or 'x-api-key: KEY'",
        code="invalid_authorization",
    )


def _build_verifier(settings: IdentitySettings, clock: Clock) -> "JwtVerifier | None":
    if settings.jwt_issuer is None or settings.jwt_audience is None:
        return None
    # Loaded only here: the cryptography behind it costs megabytes that key files do without.
    from alise_gateway.identity.jwt import JwtRules, JwtVerifier  # noqa: PLC0415

    rules = JwtRules(settings.jwt_issuer, settings.jwt_audience, settings.jwt_tenant_claim)
    return JwtVerifier(rules, clock)


def _build_key_source(
    settings: IdentitySettings,
    verifier: "JwtVerifier | None",
    clock: Clock,
    transport: httpx.AsyncBaseTransport | None,
) -> _KeySource | None:
    if verifier is None:
        return None
    from alise_gateway.identity.jwks import JwksFile, JwksUrl  # noqa: PLC0415  as above

    if settings.jwks_file is not None:
        return JwksFile(WatchedFile(settings.jwks_file, "JWKS file"), verifier)
    return JwksUrl(str(settings.jwks_url), verifier, clock, transport)
