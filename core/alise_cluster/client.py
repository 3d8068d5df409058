"""Requests to an API server: JSON mappings in and out, every failure a ``ClusterError``.

HTTP is httpx, which gateway and operator have loaded anyway. Whether the server can be reached is
logged once per change, here and not by each of the many who ask.
"""

import asyncio
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import httpx
import msgspec
import structlog

from alise_cluster.config import ClusterConfig
from alise_cluster.errors import Unreachable, api_error
from alise_cluster.lines import JsonLines
from alise_cluster.loading import load_config
from alise_cluster.resources import RawObject, Resource
from alise_core.clock import Clock, MonotonicClock
from alise_core.errors import WireError

JSON = "application/json"
MERGE_PATCH = "application/merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"

_UNAUTHORIZED = 401
_MAX_ANSWER_BYTES = 256 * 1024 * 1024
_USER_AGENT = "alise"

Query = Mapping[str, str]


def _keep_alive() -> list[tuple[int, int, int]]:
    """Ask the kernel whether a silent peer still lives: a watch may rightly be silent for long.

    Three questions, 10 s apart, after 20 s of silence: a machine that is gone is noticed in 50 s.
    """
    options = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]
    for name, value in (("TCP_KEEPIDLE", 20), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3)):
        number = getattr(socket, name, None)  # absent on some systems
        if number is not None:
            options.append((socket.IPPROTO_TCP, number, value))
    return options


class ClusterClient:
    """One API server; used on one event loop.

    Args:
        config: Where it is, and with which credentials it is asked.
        clock: For how long it has not been reached.
        request_seconds: Every exchange but a watch ends within this.
    """

    def __init__(
        self, config: ClusterConfig, clock: Clock | None = None, request_seconds: float = 15.0
    ) -> None:
        self.config = config
        self._clock = clock or MonotonicClock()
        self._request_seconds = request_seconds
        self._http: httpx.AsyncClient | None = None
        self._unreachable_since: float | None = None
        self._log = structlog.get_logger("alise_cluster")

    @property
    def namespace(self) -> str:
        """Our own, where nothing else is said."""
        return self.config.namespace

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Query | None = None,
        body: RawObject | None = None,
        content_type: str = JSON,
        accept: str = JSON,
    ) -> RawObject:
        """One exchange.

        Returns: The answer's object.

        Raises:
            ApiError: The server says no; ``Expired`` for 410.
            Unreachable: It does not answer in time, or not in JSON.
        """
        content = None if body is None else msgspec.json.encode(body)
        headers = {"accept": accept, "content-type": content_type}
        try:
            async with asyncio.timeout(self._request_seconds):
                answer = await self._exchange(method, path, query, content, headers)
        except TimeoutError:
            reason = f"{method} {path}: no answer within {self._request_seconds:g} s"
            raise self._gone(reason) from None
        return _object(answer)

    async def get(self, resource: Resource, namespace: str | None, name: str) -> RawObject:
        """One object."""
        return await self.request("GET", resource.path(namespace, name))

    async def create(self, resource: Resource, namespace: str | None, body: RawObject) -> RawObject:
        """A new object; the server may add to it."""
        return await self.request("POST", resource.path(namespace), body=body)

    async def replace(
        self,
        resource: Resource,
        namespace: str | None,
        name: str,
        body: RawObject,
        subresource: str = "",
    ) -> RawObject:
        """Put ``body`` in its place; 409 where it carries another version than the server has."""
        return await self.request("PUT", resource.path(namespace, name, subresource), body=body)

    async def merge(
        self,
        resource: Resource,
        namespace: str | None,
        name: str,
        patch: RawObject,
        subresource: str = "",
    ) -> RawObject:
        """Change the fields that ``patch`` has (RFC 7396: null takes one away)."""
        path = resource.path(namespace, name, subresource)
        return await self.request("PATCH", path, body=patch, content_type=MERGE_PATCH)

    async def delete(self, resource: Resource, namespace: str | None, name: str) -> None:
        """Have it deleted; its finalizers may keep it for a while."""
        await self.request("DELETE", resource.path(namespace, name))

    async def watch(
        self,
        path: str,
        query: Query,
        on_events: Callable[[list[RawObject]], None],
        idle_seconds: float,
        on_open: Callable[[], None] | None = None,
    ) -> None:
        """Hand on events as they come, until the server ends the answer.

        Args:
            path: Of a collection.
            query: ``watch`` is added.
            on_events: Called with all events of one read.
            idle_seconds: A connection that is silent for longer is taken to be dead.
            on_open: Called once the server has agreed to watch.

        Raises:
            ApiError: The server refuses; errors that come as events are the caller's to read.
            Unreachable: The connection broke or fell silent.
        """
        renewed = False
        while True:
            response = await self._open_watch(path, {**query, "watch": "1"}, renewed=renewed)
            if response.status_code != _UNAUTHORIZED or renewed:
                break
            await response.aclose()
            renewed = True
        if on_open is not None and response.is_success:
            on_open()
        try:
            await self._read_watch(response, path, on_events, idle_seconds)
        finally:
            await response.aclose()

    async def close(self) -> None:
        """Close connections; a later request opens new ones."""
        http, self._http = self._http, None
        if http is not None:
            await http.aclose()

    async def _exchange(
        self,
        method: str,
        path: str,
        query: Query | None,
        content: bytes | None,
        headers: Mapping[str, str],
    ) -> httpx.Response:
        for renewed in (False, True):
            request = await self._request(method, path, query, content, headers, renewed=renewed)
            try:
                response = await self._client().send(request)
            except (httpx.HTTPError, OSError) as error:
                raise self._gone(f"{method} {path}: {_reason(error)}") from error
            self._reached()
            # A token may have been replaced since it was read.
            if response.status_code != _UNAUTHORIZED:
                break
        if response.is_error:
            raise _refusal(response)
        return response

    async def _request(
        self,
        method: str,
        path: str,
        query: Query | None,
        content: bytes | None,
        headers: Mapping[str, str],
        *,
        renewed: bool,
    ) -> httpx.Request:
        credentials = await self.config.credentials.headers(renewed=renewed)
        name = self.config.server_name
        return self._client().build_request(
            method,
            self.config.server + path,
            params=query,
            content=content,
            headers={**headers, **credentials},
            extensions={"sni_hostname": name} if name else None,
        )

    async def _open_watch(self, path: str, query: Query, *, renewed: bool) -> httpx.Response:
        # Unencoded: an encoder would hold events back.
        headers = {"accept": JSON, "accept-encoding": "identity"}
        request = await self._request("GET", path, query, None, headers, renewed=renewed)
        try:
            async with asyncio.timeout(self._request_seconds):
                response = await self._client().send(request, stream=True)
        except TimeoutError:
            raise self._gone(f"watch {path}: no answer in time") from None
        except (httpx.HTTPError, OSError) as error:
            raise self._gone(f"watch {path}: {_reason(error)}") from error
        self._reached()
        return response

    async def _read_watch(
        self,
        response: httpx.Response,
        path: str,
        on_events: Callable[[list[RawObject]], None],
        idle_seconds: float,
    ) -> None:
        lines = JsonLines()
        reads = response.aiter_bytes()
        try:
            if response.is_error:
                await response.aread()
                raise _refusal(response)
            while True:
                async with asyncio.timeout(idle_seconds):
                    read = await anext(reads, None)
                if read is None:
                    lines.end()
                    return
                events = lines.feed(read)
                if events:
                    on_events(events)
        except TimeoutError:
            raise Unreachable(f"watch {path}: silent for {idle_seconds:g} s") from None
        except (httpx.HTTPError, OSError, WireError) as error:
            raise Unreachable(f"watch {path}: {_reason(error)}") from error

    def _client(self) -> httpx.AsyncClient:
        if self._http is None:
            config = self.config
            transport = httpx.AsyncHTTPTransport(
                # Without TLS there is nothing to verify, and loading authorities takes long.
                verify=config.tls if config.tls is not None else False,
                limits=httpx.Limits(max_connections=None, max_keepalive_connections=8),
                proxy=config.proxy,
                socket_options=_keep_alive(),
            )
            self._http = httpx.AsyncClient(
                transport=transport,
                timeout=None,  # noqa: S113  every exchange is bounded as a whole
                headers={"user-agent": _USER_AGENT},
                trust_env=False,
            )
        return self._http

    def _gone(self, reason: str) -> Unreachable:
        if self._unreachable_since is None:
            self._unreachable_since = self._clock.now()
            self._log.warning("api_server_unreachable", server=self.config.server, reason=reason)
        return Unreachable(reason)

    def _reached(self) -> None:
        since, self._unreachable_since = self._unreachable_since, None
        if since is not None:
            away = round(self._clock.now() - since, 1)
            self._log.info("api_server_reached_again", server=self.config.server, seconds=away)


def load_cluster(
    kubeconfig: Path | None, context: str | None, clock: Clock | None = None
) -> ClusterClient:
    """A client for the cluster of a kubeconfig, or for the one that we run in.

    Raises:
        ConfigError: Neither leads anywhere; says what is missing.
    """
    return ClusterClient(load_config(kubeconfig, context, clock), clock)


def _object(response: httpx.Response) -> RawObject:
    try:
        found: Any = msgspec.json.decode(response.content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Unreachable(f"{response.url.path}: not JSON: {error}") from error
    if not isinstance(found, dict):
        raise Unreachable(f"{response.url.path}: not an object")
    return found


def _refusal(response: httpx.Response) -> Exception:
    try:
        answer = _object(response)
    except Unreachable:
        answer = {}
    asked = response.headers.get("retry-after", "")
    return api_error(response.status_code, answer, float(asked) if asked.isdecimal() else None)


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
