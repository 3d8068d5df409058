"""A Kubernetes API server in the test's own process, over a real socket.

``FakeApiServer`` speaks HTTP for ``api_server_store.Store`` and does what an API server can do to
its clients: refuse, expire, hang, break watches, be away. Nothing waits for time to pass.
"""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from aiohttp import web

from alise_cluster.client import ClusterClient
from alise_cluster.config import ClusterConfig
from alise_cluster.resources import (
    EVENTS,
    LEASES,
    PODS,
    SECRETS,
    Resource,
    resource_of,
)
from alise_core.clock import Clock
from alise_core.crds.names import Kind
from fakes.api_server_store import Chosen, Entry, Path, Raw, Refused, Served, Store, event_for

_NO_STATUS = {"secrets", "leases", "events"}


@dataclass(frozen=True)
class Asked:
    """One request as RBAC sees it."""

    verb: str
    resource: str
    namespace: str | None
    name: str | None
    query: Mapping[str, str]


@dataclass(eq=False)
class _Watch:
    path: Path
    chosen: Chosen
    bookmarks: bool
    lines: "asyncio.Queue[bytes | None]" = field(default_factory=asyncio.Queue)
    transport: asyncio.BaseTransport | None = None

    def tell(self, type_: str, raw: Raw) -> None:
        self.lines.put_nowait(json.dumps({"type": type_, "object": raw}).encode() + b"\n")


class FakeApiServer:
    """One API server; ``start`` it, then ``stop`` it.

    Args:
        token: Demanded as bearer credential; nothing is demanded without.

    Attributes:
        store: Its objects, to be looked at.
        asked: Every request so far, in order.
        forbidden: Pairs of verb and resource (``pods``, ``modelpools.alise.dev``) that get 403.
        failures: What the next requests are answered instead.
        hanging: While set, requests get no answer at all.
    """

    def __init__(self, token: str | None = None) -> None:
        self.store = Store()
        self.store.on_entry = self._on_entry
        self.token = token
        self.asked: list[Asked] = []
        self.forbidden: set[tuple[str, str]] = set()
        self.failures: list[Refused] = []
        self.hanging = False
        self.url = ""
        self._port = 0
        self._runner: web.AppRunner | None = None
        self._watches: set[_Watch] = set()
        self._moved = asyncio.Condition()
        self._tasks: set[asyncio.Task[None]] = set()
        for resource in (PODS, SECRETS, LEASES, EVENTS):
            self.install(resource)

    async def start(self) -> "FakeApiServer":
        """Listen; on the port of before, where there was one."""
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_route("*", "/{path:.*}", self._handle)
        runner = web.AppRunner(
            app, access_log=None, shutdown_timeout=0.01, handler_cancellation=True
        )
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", self._port, reuse_address=True)
        await site.start()
        self._runner = runner
        self._port = runner.addresses[0][1]
        self.url = f"http://127.0.0.1:{self._port}"
        return self

    async def stop(self) -> None:
        """Be away: connections break, nobody listens; objects stay."""
        runner, self._runner = self._runner, None
        self.break_watches()
        if runner is not None:
            await runner.cleanup()

    def client(self, clock: Clock | None = None, request_seconds: float = 5.0) -> ClusterClient:
        """A client of this server; the caller closes it."""
        return ClusterClient(ClusterConfig(self.url, namespace="ns"), clock, request_seconds)

    def install(self, resource: Resource) -> None:
        """Have a collection."""
        self.store.serve(
            Served(
                resource.group,
                resource.version,
                resource.plural,
                resource.kind,
                has_status=resource.plural not in _NO_STATUS,
            )
        )

    def install_crds(self) -> None:
        """Have all collections that ALISE reads."""
        for kind in Kind:
            self.install(resource_of(kind))

    def put(self, resource: Resource, raw: Raw, namespace: str = "ns") -> Raw:
        """Create an object or change it, status included, as its owners do."""
        path = (resource.group, resource.version, resource.plural)
        return self.store.upsert(path, namespace, raw)

    def remove(self, resource: Resource, name: str, namespace: str = "ns") -> None:
        """Delete an object."""
        self.store.delete((resource.group, resource.version, resource.plural), namespace, name)

    def read(self, resource: Resource, name: str, namespace: str = "ns") -> Raw:
        """An object as it is now."""
        return self.store.get((resource.group, resource.version, resource.plural), namespace, name)

    def all(self, resource: Resource) -> list[Raw]:
        """All objects of a collection."""
        return self.store.select((resource.group, resource.version, resource.plural), Chosen())

    @property
    def watches(self) -> int:
        """Watches that are open."""
        return len(self._watches)

    def watches_of(self, resource: Resource) -> int:
        """Watches of one collection that are open."""
        path = (resource.group, resource.version, resource.plural)
        return sum(watch.path == path for watch in self._watches)

    async def until_watches(self, count: int) -> None:
        """Wait until exactly so many watches are open."""
        async with self._moved:
            await self._moved.wait_for(lambda: len(self._watches) == count)

    async def until_asked(self, verb: str, resource: str, times: int = 1) -> None:
        """Wait until something was asked for so many times in all."""
        async with self._moved:
            await self._moved.wait_for(
                lambda: (
                    sum((it.verb, it.resource) == (verb, resource) for it in self.asked) >= times
                )
            )

    def bookmark(self) -> None:
        """Tell every watch that wants it how far it is."""
        for watch in self._watches:
            if watch.bookmarks:
                meta = {"resourceVersion": str(self.store.version)}
                watch.tell("BOOKMARK", {"metadata": meta})

    def expire_watches(self) -> None:
        """End every watch with the event that its version is too old."""
        for watch in self._watches:
            watch.tell("ERROR", Refused(410, "Expired", "too old resource version").status())
            watch.lines.put_nowait(None)

    def end_watches(self) -> None:
        """End every watch in good order, as its timeout does."""
        for watch in self._watches:
            watch.lines.put_nowait(None)

    def break_watches(self) -> None:
        """Cut every watch's connection."""
        for watch in self._watches:
            if watch.transport is not None:
                watch.transport.close()
            watch.lines.put_nowait(None)

    def _on_entry(self, entry: Entry) -> None:
        for watch in self._watches:
            if watch.path == entry.path:
                event = event_for(entry, watch.chosen)
                if event is not None:
                    watch.tell(*event)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        try:
            return await self._answer(request)
        except Refused as refused:
            await self._tell_moved()
            return web.json_response(refused.status(), status=refused.code, headers=refused.headers)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        path, namespace, name, subresource = _parse(request.path)
        query = dict(request.query)
        verb = _verb(request.method, name, query)
        full_name = ".".join(part for part in (path[2], path[0]) if part)
        asked = f"{full_name}/{subresource}" if subresource else full_name
        self.asked.append(Asked(verb, asked, namespace, name, query))
        if self.hanging:
            await self._tell_moved()
            await asyncio.Event().wait()
        if self.token and request.headers.get("authorization") != f"Bearer {self.token}":
            raise Refused(401, "Unauthorized", "Unauthorized")
        if self.failures:
            raise self.failures.pop(0)
        self.store.collection(path)
        if (verb, asked) in self.forbidden:
            raise Refused(403, "Forbidden", f'{full_name} is forbidden: User "u" cannot {verb}')
        chosen = Chosen(namespace, query.get("labelSelector", ""), query.get("fieldSelector", ""))
        if verb == "watch":
            return await self._watch(request, path, chosen, query)
        body = json.loads(await request.read() or b"{}")
        result = self._act(
            verb, path, (namespace or "", name or "", subresource), body, chosen, query
        )
        await self._tell_moved()
        return web.json_response(result, status=201 if verb == "create" else 200)

    def _act(
        self,
        verb: str,
        path: Path,
        which: tuple[str, str, str],
        body: Raw,
        chosen: Chosen,
        query: Mapping[str, str],
    ) -> Raw:
        namespace, name, subresource = which
        store = self.store
        match verb:
            case "list":
                limit = int(query.get("limit", "0"))
                return store.page(path, chosen, limit, query.get("continue", ""))
            case "get":
                return store.get(path, namespace, name)
            case "create":
                return store.create(path, namespace, body)
            case "update":
                return store.replace(path, namespace, name, body, subresource)
            case "patch":
                return store.merge(path, namespace, name, body, subresource)
            case "delete":
                return store.delete(path, namespace, name)
        raise Refused(405, "MethodNotAllowed", verb)

    async def _watch(
        self, request: web.Request, path: Path, chosen: Chosen, query: Mapping[str, str]
    ) -> web.StreamResponse:
        since = int(query.get("resourceVersion") or 0)
        if since < self.store.oldest_version and since:
            raise Refused(410, "Expired", "too old resource version")
        response = web.StreamResponse()
        response.content_type = "application/json"
        response.enable_chunked_encoding()
        watch = _Watch(path, chosen, query.get("allowWatchBookmarks") == "true")
        watch.transport = request.transport
        for event in self.store.since(since, path, chosen):
            watch.tell(*event)
        self._watches.add(watch)
        try:
            await response.prepare(request)
            await self._tell_moved()
            while (line := await watch.lines.get()) is not None:
                await response.write(line)
            await response.write_eof()
        except ConnectionError:
            pass
        finally:
            self._watches.discard(watch)
            self._note_moved()
        return response

    async def _tell_moved(self) -> None:
        async with self._moved:
            self._moved.notify_all()

    def _note_moved(self) -> None:
        task = asyncio.get_running_loop().create_task(self._tell_moved())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _verb(method: str, name: str | None, query: Mapping[str, str]) -> str:
    if method == "GET" and name is None:
        return "watch" if query.get("watch") in {"1", "true"} else "list"
    return {
        "GET": "get",
        "POST": "create",
        "PUT": "update",
        "PATCH": "patch",
        "DELETE": "delete",
    }[method]


def _parse(path: str) -> tuple[Path, str | None, str | None, str]:
    parts = path.strip("/").split("/")
    if parts[0] == "api":
        group, version, rest = "", parts[1], parts[2:]
    else:
        group, version, rest = parts[1], parts[2], parts[3:]
    namespace = None
    if rest[0] == "namespaces" and len(rest) > 2:
        namespace, rest = rest[1], rest[2:]
    name = rest[1] if len(rest) > 1 else None
    return (group, version, rest[0]), namespace, name, "/".join(rest[2:])
