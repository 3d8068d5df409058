"""The admin tokens of engine plugins, out of Secrets. They stay in memory and are never told."""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from alise_cluster.errors import ClusterError
from alise_cluster.resources import SECRETS, Resource
from alise_core.clock import Clock
from alise_core.crds.base import SecretRef

_ENTRY = "token"
"""Of a Secret with several, where the pool names none."""
_BELIEVED_SECONDS = 60.0


class Reads(Protocol):
    """What is needed of a cluster's client."""

    async def get(self, resource: Resource, namespace: str | None, name: str) -> Mapping[str, Any]:
        """One object."""
        ...


@dataclass(frozen=True, slots=True)
class _Known:
    token: str | None = field(repr=False)
    until: float


class AdminTokens:
    """Reads tokens, and believes what it read for a minute.

    Args:
        client: Of the cluster.
        clock: Says when a minute is over.
    """

    def __init__(self, client: Reads, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._known: dict[tuple[str, str, str | None], _Known] = {}

    async def read(self, namespace: str, ref: SecretRef) -> str | None:
        """The token; ``None`` where there is none, or we may not see it."""
        key, now = (namespace, ref.name, ref.key), self._clock.now()
        known = self._known.get(key)
        if known is None or known.until <= now:
            try:
                raw = await self._client.get(SECRETS, namespace, ref.name)
            except ClusterError:
                # The last one is more likely right than none; asked again at the next look.
                return None if known is None else known.token
            known = self._known[key] = _Known(token_of(raw, ref.key), now + _BELIEVED_SECONDS)
        return known.token


def token_of(secret: Mapping[str, Any], entry: str | None) -> str | None:
    """The token in a Secret's JSON: the entry named, else its only one, else ``token``."""
    data = secret.get("data")
    if not isinstance(data, Mapping) or not data:
        return None
    name = entry or (next(iter(data)) if len(data) == 1 else _ENTRY)
    try:
        text = base64.b64decode(str(data[name]), validate=True).decode("ascii").strip()
    except (KeyError, binascii.Error, ValueError):
        return None
    return text if text.isprintable() and text else None
