"""Where the API server is and with which credentials it is asked.

In a pod that is two variables and three files, which are read here: the official client's
configuration would load 28 MB of model classes for them. A kubeconfig, with its exec plugins,
identity providers and embedded certificates, is the official client's business; it is loaded for
that alone.
"""

import asyncio
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from alise_cluster.settings import SERVICE_ACCOUNT_DIR, InClusterSettings
from alise_core.clock import Clock
from alise_core.errors import ConfigError

_REREAD_SECONDS = 60.0
"""Tokens of pods live for an hour and are replaced when four fifths of it are over."""


class Credentials(Protocol):
    """What is sent to be let in."""

    async def headers(self, *, renewed: bool = False) -> Mapping[str, str]:
        """Header fields; ``renewed`` after the last ones were refused."""
        ...


class NoCredentials:
    """Client certificates speak for themselves."""

    async def headers(self, *, renewed: bool = False) -> Mapping[str, str]:
        """Nothing."""
        del renewed
        return {}


class TokenFile:
    """A bearer token in a file that is replaced from time to time.

    Args:
        file: Holds the token and nothing else.
        clock: Decides when to read it again.
    """

    def __init__(self, file: Path, clock: Clock) -> None:
        self._file = file
        self._clock = clock
        self._token = ""
        self._read_at = float("-inf")

    async def headers(self, *, renewed: bool = False) -> Mapping[str, str]:
        """The token that the file holds, at most a minute old.

        A file that has become unreadable leaves the last token in use: it may be valid yet.

        Raises:
            ConfigError: There never was a token.
        """
        now = self._clock.now()
        if renewed or now - self._read_at >= _REREAD_SECONDS:
            self._read(now)
        return {"authorization": f"Bearer {self._token}"}

    def _read(self, now: float) -> None:
        try:
            token = self._file.read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            if self._token:
                return
            raise ConfigError(
                f"cannot read the service account token {self._file}: {error}; "
                "set automountServiceAccountToken: true"
            ) from error
        if token:
            self._token, self._read_at = token, now


class HeaderSource:
    """Credentials of a kubeconfig, from a function that may block (exec plugins run programs)."""

    def __init__(self, read: Callable[[], Mapping[str, str]]) -> None:
        self._read = read

    async def headers(self, *, renewed: bool = False) -> Mapping[str, str]:
        """What the function says now."""
        del renewed
        return await asyncio.to_thread(self._read)


@dataclass(frozen=True, slots=True)
class ClusterConfig:
    """One API server.

    Attributes:
        server: Base URL.
        credentials: Sent with every request.
        namespace: Ours, where nothing else is said.
        tls: How to check its certificate; ``None`` for plain HTTP.
        server_name: Name in its certificate, where it is not the host of ``server``.
        proxy: URL of an HTTP proxy.
    """

    server: str
    credentials: Credentials = field(default_factory=NoCredentials, repr=False)
    namespace: str = "default"
    tls: ssl.SSLContext | None = field(default=None, repr=False)
    server_name: str | None = None
    proxy: str | None = None


def in_cluster(clock: Clock, directory: Path = SERVICE_ACCOUNT_DIR) -> ClusterConfig:
    """The configuration of the pod that we run in.

    Raises:
        ConfigError: We do not run in one, or it has no service account.
    """
    told = InClusterSettings()
    if not told.service_host:
        raise ConfigError(
            "not in a pod (KUBERNETES_SERVICE_HOST is not set): name a kubeconfig file"
        )
    authority = directory / "ca.crt"
    try:
        tls = ssl.create_default_context(cafile=str(authority))
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            f"cannot read {authority}: {error}; set automountServiceAccountToken: true"
        ) from error
    host = told.service_host
    shown = f"[{host}]" if ":" in host else host
    return ClusterConfig(
        server=f"https://{shown}:{told.service_port}",
        credentials=TokenFile(directory / "token", clock),
        namespace=_namespace(directory / "namespace"),
        tls=tls,
    )


def _namespace(file: Path) -> str:
    try:
        return file.read_text(encoding="ascii").strip() or "default"
    except (OSError, UnicodeDecodeError):
        return "default"
