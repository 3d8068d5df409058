"""Services of type ClusterIP, in the way of kube-proxy's first mode: connections are handed on.

Each Service's address is on the loopback device of the outer network namespace, which is the
gateway of every pod. Each connection goes to the next ready endpoint; one that refuses is passed
over. A connection outlives its endpoint's removal, as under every kube-proxy. No UDP, no session
affinity, no node ports; names are in the hosts file that each pod gets when it starts.
"""

import asyncio
import contextlib

from running.node.directory import DOMAIN, HEADLESS, Directory, Key, Object, key_of
from running.node.sandbox import SandboxError, shell

CHUNK_BYTES = 65_536
CONNECT_SECONDS = 3.0


class Services(Directory):
    """Listens for every Service there is."""

    def __init__(self) -> None:
        super().__init__()
        self._listeners: dict[Key, list[asyncio.Server]] = {}
        self._ports: dict[Key, Object] = {}
        self._turn = 0
        self._stale: asyncio.Queue[Key] = asyncio.Queue()

    def service_changed(self, item: Object) -> None:
        super().service_changed(item)
        self._stale.put_nowait(key_of(item))

    def service_gone(self, item: Object) -> None:
        super().service_gone(item)
        self._stale.put_nowait(key_of(item))

    def hosts(self, namespace: str) -> str:
        """Lines of a hosts file with every Service, those of this namespace by short name too."""
        lines = []
        for space, name in self:
            names = [f"{name}.{space}{end}" for end in ("", ".svc", f".svc.{DOMAIN}")]
            names += [name] if space == namespace else []
            addresses = self.addresses((space, name))
            lines += [f"{address} {' '.join(names)}\n" for address in addresses]
        return "".join(lines)

    async def serve(self) -> None:
        """Listen for Services that come and stop for those that go, for ever."""
        while True:
            key = await self._stale.get()
            spec = self.spec(key)
            wanted = {"address": spec.get("clusterIP"), "ports": spec.get("ports", [])}
            if wanted == self._ports.get(key):
                continue
            for server in self._listeners.pop(key, []):
                server.close()
            self._ports[key] = wanted
            if wanted["address"] not in HEADLESS:
                with contextlib.suppress(SandboxError):
                    await shell(f"ip addr add {wanted['address']}/32 dev lo")
                self._listeners[key] = [
                    await self._listen(key, wanted["address"], port)
                    for port in wanted["ports"]
                    if port.get("protocol", "TCP") == "TCP"
                ]

    async def _listen(self, key: Key, address: str, port: Object) -> asyncio.Server:
        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with contextlib.suppress(OSError):
                await self._hand_on(key, port.get("name", ""), reader, writer)
            writer.close()

        return await asyncio.start_server(accept, address, port["port"], backlog=1_024)

    async def _hand_on(
        self, key: Key, port: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        targets = self.ready(key, port)
        self._turn += 1
        for offset in range(len(targets)):
            target = targets[(self._turn + offset) % len(targets)]
            try:
                async with asyncio.timeout(CONNECT_SECONDS):
                    inner_reader, inner_writer = await asyncio.open_connection(*target)
            except (OSError, TimeoutError):
                continue
            try:
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(_copy(reader, inner_writer))
                    tasks.create_task(_copy(inner_reader, writer))
            finally:
                inner_writer.close()
            return


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(CHUNK_BYTES):
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
    except OSError:
        # One side broke off: the other must see it too.
        writer.transport.abort()
