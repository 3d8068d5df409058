"""Probes and hooks as pods declare them."""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from running.node.sandbox import Container

Object = dict[str, Any]
PATIENCE_SECONDS = 5.0
"""A probe is given at least this long, whatever the pod says: everything here shares few cores."""
SUCCESS = range(200, 400)


@dataclass(frozen=True, slots=True)
class Probe:
    """One probe of a container, defaults filled in."""

    handler: Object
    initial_delay: float
    period: float
    timeout: float
    successes: int
    failures: int

    @classmethod
    def of(cls, declared: Object) -> "Probe":
        return cls(
            handler=declared,
            initial_delay=declared.get("initialDelaySeconds", 0),
            period=declared.get("periodSeconds", 10),
            timeout=max(declared.get("timeoutSeconds", 1), PATIENCE_SECONDS),
            successes=declared.get("successThreshold", 1),
            failures=declared.get("failureThreshold", 3),
        )


async def watch(probe: Probe, container: Container, told: Callable[[bool], None]) -> None:
    """Probe for ever and tell each change of opinion, once enough results agree."""
    await asyncio.sleep(probe.initial_delay)
    opinion: bool | None = None
    agreeing = 0
    last: bool | None = None
    while True:
        result = await attempt(probe.handler, container, probe.timeout)
        agreeing = agreeing + 1 if result is last else 1
        last = result
        if agreeing >= (probe.successes if result else probe.failures) and result is not opinion:
            opinion = result
            told(result)
        await asyncio.sleep(probe.period)


async def attempt(handler: Object, container: Container, seconds: float) -> bool:
    """Do once what a probe or a hook says; whether it succeeded in time."""
    if "exec" in handler:
        return await container.execute(handler["exec"]["command"], seconds)
    if "sleep" in handler:
        await asyncio.sleep(handler["sleep"]["seconds"])
        return True
    target = handler.get("httpGet") or handler.get("tcpSocket")
    if target is None:
        return False
    try:
        async with asyncio.timeout(seconds):
            return await _answers(target, container, http="httpGet" in handler)
    except (OSError, TimeoutError, ValueError, asyncio.IncompleteReadError):
        return False


async def _answers(target: Object, container: Container, *, http: bool) -> bool:
    host = target.get("host") or container.plan.network.address
    reader, writer = await asyncio.open_connection(host, _port(target["port"], container))
    try:
        if not http:
            return True
        path = target.get("path", "/")
        request = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: kube-probe/1.20\r\n"
        writer.write(f"{request}Connection: close\r\n\r\n".encode())
        line = await reader.readuntil(b"\r\n")
        return int(line.split()[1]) in SUCCESS
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


def _port(wanted: int | str, container: Container) -> int:
    if isinstance(wanted, int):
        return wanted
    ports = {port.get("name"): port["containerPort"] for port in container.plan.spec["ports"]}
    number: int = ports[wanted]
    return number
