"""The operator as a process: event loop, signals, exit code."""

import asyncio
import json
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
from alise_operator.canary.plan import State
from alise_operator.canary.probing import Probing
from alise_operator.canary.restarter import Canaries
from alise_operator.explaining import explain_pool
from alise_operator.settings import OperatorSettings
from alise_operator.tuning.engines import Engines
from alise_operator.tuning.explain import Explanation
from alise_operator.tuning.explain_text import lines_of
from alise_operator.tuning.gateways import Gateways
from alise_operator.tuning.recorder import Recorder
from alise_operator.tuning.recording import Look
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


def explain(settings: OperatorSettings, pool: str, *, as_json: bool) -> int:
    """Print how the tuner stands at a pool; returns the exit code.

    Raises:
        CannotExplain: There is nothing to explain, or it may not be seen.
    """
    configure_logging("error", sys.stderr)
    found = asyncio.run(_explain(settings, pool))
    lines = [json.dumps(found.as_json(), indent=1)] if as_json else lines_of(found)
    sys.stdout.writelines(f"{line}\n" for line in lines)
    return 0


async def _explain(settings: OperatorSettings, pool: str) -> Explanation:
    clock = MonotonicClock()
    client = load_cluster(settings.kubeconfig, settings.context, clock)
    try:
        namespace = settings.namespace or client.namespace
        return await explain_pool(client, namespace, pool, clock.unix())
    finally:
        await client.close()


async def _serve(settings: OperatorSettings) -> None:
    clock = MonotonicClock()
    client = load_cluster(settings.kubeconfig, settings.context, clock)
    engines = Engines(clock, settings.scrape_timeout_seconds)
    tokens = AdminTokens(client, clock)
    canaries = Canaries(client, Probing(), tokens.read, clock, allowed=settings.change_workloads)
    tuner = KvTuner(engines, tokens.read, clock, settings.tuner_interval_seconds, canaries)
    operator, stop = Operator(settings, tuner, client), asyncio.Event()
    keep_seconds = settings.tuner_interval_seconds / 2
    gateways = Gateways(operator.gateway_addresses, engines.page, clock, keep_seconds)
    tuner.predict = gateways.demand
    if settings.tuner_record is not None:
        most_bytes = settings.tuner_record_most_bytes
        tuner.record = Recorder(settings.tuner_record, most_bytes, _warn_of_recording).note
    tuner.on_decided = lambda decided: operator.metrics.decided(decided.verdict, decided.why)
    tuner.on_news = _log_decision
    operator.metrics.expect_steps(State)
    canaries.on_step = operator.metrics.stepped
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
        await canaries.close()
        await tuner.close()
    log.info("operator_stopped")


def _log_decision(look: Look) -> None:
    """The decision log: a line whenever a pool is decided upon otherwise than a look before."""
    observed, decided = look.observed, look.decided
    structlog.get_logger("alise_operator").info(
        "tuner_decided",
        namespace=observed.namespace,
        pool=observed.pool,
        mode=look.spec.mode.value,
        verdict=decided.verdict,
        why=decided.why,
        step=decided.step,
        message=decided.message,
    )


def _warn_of_recording(reason: str) -> None:
    structlog.get_logger("alise_operator").warning("recording_failed", reason=reason)


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
