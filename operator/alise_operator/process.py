"""The operator as a process: event loop, signals, exit code."""

import asyncio
import signal
import sys

import structlog
import uvloop

from alise_cluster.client import load_cluster
from alise_core.clock import MonotonicClock
from alise_core.errors import AliseError
from alise_core.logs import configure_logging
from alise_operator.act.parents import remove_parents
from alise_operator.app import Operator, namespace_of, parent_of
from alise_operator.settings import OperatorSettings
from alise_operator.tuning.engines import Engines
from alise_operator.tuning.tender import KvTuner
from alise_operator.tuning.tokens import AdminTokens


def run(settings: OperatorSettings) -> int:
    """Serve until SIGTERM or SIGINT; returns the exit code."""
    configure_logging(settings.log_level, sys.stdout)
    uvloop.run(_serve(settings))
    return 0


def clean_up(settings: OperatorSettings) -> int:
    """Take our entries out of the status of InferencePools; returns the exit code."""
    configure_logging(settings.log_level, sys.stdout)
    return uvloop.run(_clean_up(settings))


async def _serve(settings: OperatorSettings) -> None:
    clock = MonotonicClock()
    client = load_cluster(settings.kubeconfig, settings.context, clock)
    engines = Engines(clock, settings.scrape_timeout_seconds)
    tokens = AdminTokens(client, clock)
    tuner = KvTuner(engines, tokens.read, clock, settings.tuner_interval_seconds)
    operator, stop = Operator(settings, tuner, client), asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    log = structlog.get_logger("alise_operator")
    log.info(
        "operator_starts",
        lease=settings.lease_name,
        metrics=f"{settings.metrics_host}:{settings.metrics_port}",
        all_namespaces=settings.all_namespaces,
    )
    try:
        await operator.run(stop)
    finally:
        await tuner.close()
    log.info("operator_stopped")


async def _clean_up(settings: OperatorSettings) -> int:
    log = structlog.get_logger("alise_operator")
    client = load_cluster(settings.kubeconfig, settings.context)
    where, parent = namespace_of(settings, client), parent_of(settings, client)
    try:
        removed = await remove_parents(client, where, parent)
    except AliseError as error:
        log.error("cleanup_failed", reason=str(error))  # noqa: TRY400  its text says all
        return 1
    finally:
        await client.close()
    log.info("cleanup_done", inference_pools=removed)
    return 0
