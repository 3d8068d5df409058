"""The gateway as a process: event loop, signals, exit code."""

import asyncio
import contextlib
import gc
import signal
import sys

import structlog
import uvloop

from alise_core.logs import configure_logging
from alise_gateway.app import Gateway
from alise_gateway.settings import GatewaySettings

_LOG = structlog.get_logger(__name__)
_GC_THRESHOLDS = (20_000, 20, 50)
"""Requests leave no reference cycles (see ``Attempt.let_go``), so frequent collections would
only pause streams; client connections do leave one each, which this still collects."""


def run(settings: GatewaySettings) -> int:
    """Serve until SIGTERM or SIGINT; returns the exit code."""
    configure_logging(settings.observability.log_level, sys.stdout)
    uvloop.run(_serve(settings))
    return 0


async def _serve(settings: GatewaySettings) -> None:
    gateway = Gateway(settings, sys.stdout.buffer)
    loop = asyncio.get_running_loop()
    stop = gateway.drain_requested
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await gateway.start()
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_GC_THRESHOLDS)
    await stop.wait()
    stopping = asyncio.ensure_future(gateway.stop())
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.remove_signal_handler(number)
        loop.add_signal_handler(number, gateway.hurry)  # a second signal is impatient
    with contextlib.suppress(asyncio.CancelledError):
        await stopping
