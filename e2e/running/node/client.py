"""The API server as the node agent speaks to it: asynchronous, and patient when it is away."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from typing import Any

import httpx

from running.cluster.api import MERGE, connection

Object = dict[str, Any]
RETRY_SECONDS = 0.5
WATCH_SECONDS = 300
CONNECTIONS = httpx.Limits(max_connections=40, max_keepalive_connections=40)
"""A thousand pods at once wait for one of these, rather than shake hands for each request."""


class Client:
    """The node's credentials at the API server."""

    def __init__(self, kubeconfig: Path) -> None:
        self._http = httpx.AsyncClient(
            timeout=20, trust_env=False, limits=CONNECTIONS, **connection(kubeconfig)
        )

    async def get(self, path: str, **parameters: str) -> Object | None:
        """One object or list; ``None`` where there is none."""
        answer = await self._http.get(path, params=parameters)
        if answer.status_code == httpx.codes.NOT_FOUND:
            return None
        found: Object = answer.raise_for_status().json()
        return found

    async def post(self, path: str, item: Object) -> Object | None:
        """Create; ``None`` when it exists."""
        answer = await self._http.post(path, json=item)
        if answer.status_code == httpx.codes.CONFLICT:
            return None
        created: Object = answer.raise_for_status().json()
        return created

    async def patch(self, path: str, change: Object) -> None:
        """JSON merge patch; nothing where the object is gone or another by now."""
        answer = await self._http.patch(
            path, content=json.dumps(change), headers={"Content-Type": MERGE}
        )
        if answer.status_code not in {httpx.codes.NOT_FOUND, httpx.codes.CONFLICT}:
            answer.raise_for_status()

    async def delete_now(self, path: str, uid: str) -> None:
        """Delete without any grace, if it still is the object with this uid."""
        options = {"gracePeriodSeconds": 0, "preconditions": {"uid": uid}}
        answer = await self._http.request("DELETE", path, json=options)
        if answer.status_code not in {httpx.codes.NOT_FOUND, httpx.codes.CONFLICT}:
            answer.raise_for_status()

    async def follow(
        self, path: str, changed: Callable[[Object], None], gone: Callable[[Object], None]
    ) -> None:
        """List and watch for ever.

        Args:
            path: Of a collection.
            changed: Called with every object at first and after each change.
            gone: Called with the last state of an object that is no more.
        """
        known: dict[str, Object] = {}
        while True:
            try:
                listed = await self._http.get(path)
                version = _sync(known, listed.raise_for_status().json(), changed, gone)
                async for event in self._events(path, version):
                    item = event["object"]
                    if event["type"] == "ERROR":
                        break
                    if event["type"] == "DELETED":
                        gone(known.pop(item["metadata"]["uid"], item))
                    elif event["type"] != "BOOKMARK":
                        known[item["metadata"]["uid"]] = item
                        changed(item)
            except (httpx.HTTPError, json.JSONDecodeError):
                await asyncio.sleep(RETRY_SECONDS)

    async def _events(self, path: str, version: str) -> AsyncIterator[Object]:
        query = {"watch": "1", "resourceVersion": version, "timeoutSeconds": str(WATCH_SECONDS)}
        patience = httpx.Timeout(20, read=WATCH_SECONDS + 30)
        async with self._http.stream("GET", path, params=query, timeout=patience) as answer:
            answer.raise_for_status()
            async for line in answer.aiter_lines():
                yield json.loads(line)


def _sync(
    known: dict[str, Object],
    listed: Object,
    changed: Callable[[Object], None],
    gone: Callable[[Object], None],
) -> str:
    """Tell what is different from before; returns the version to watch from."""
    items: Iterable[Object] = listed["items"]
    now = {item["metadata"]["uid"]: item for item in items}
    for uid in known.keys() - now.keys():
        gone(known.pop(uid))
    for uid, item in now.items():
        known[uid] = item
        changed(item)
    version: str = listed["metadata"]["resourceVersion"]
    return version
