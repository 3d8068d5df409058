"""The way from the API server into the engine's process, and what is found there.

Outside of vLLM's supported surface, all of it, and kept in this module: vLLM's contract for
endpoint plugins allows the engine client's own methods only, of which none reaches the scheduler.
``register`` (entry point of ``vllm.general_plugins``, called in every process) therefore puts
methods on ``EngineCore``, and ``ask`` has them called the way vLLM calls its own ``sleep``: as a
utility, between two steps of the engine. Texts travel, not objects: vLLM's own serialization would
fail for a number beyond 64 bits.

A part of the plugin is found where it lives: on the scheduler, on the KV connector, on that one's
scheduler half or on its offloading manager, each by an attribute ``alise_tunable``.
"""

import asyncio
import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from alise_core.errors import AliseError, ConfigError
from alise_vllm.control.panel import Panel, Refused
from alise_vllm.tunable import Json, Tunable

STATE, PLAN, TUNE = "alise_state", "alise_plan", "alise_tune"
ATTRIBUTE = "alise_tunable"
_LOG = logging.getLogger("vllm.alise")
"""vLLM shows what is said under its own name and nothing else."""
LONGEST_STEP_SECONDS = 20.0
"""The engine answers between steps, and one prefill of a long prompt takes seconds."""


class Utilities(Protocol):
    """What is used of vLLM's ``AsyncMPClient``."""

    async def call_utility_all_async(self, method: str, *args: str) -> list[str]:
        """Call a method of every engine's ``EngineCore``; one result for each."""
        ...


class EngineClient(Protocol):
    """What is used of vLLM's ``AsyncLLM``."""

    @property
    def engine_core(self) -> Utilities:
        """The client of the engines' processes."""
        ...


class Scheduler(Protocol):
    """What is used of vLLM's scheduler."""

    def get_request_counts(self) -> tuple[int, int]:
        """Running and waiting."""
        ...

    def get_kv_cache_usage(self) -> float:
        """Share of the blocks that requests hold."""
        ...


class Core(Protocol):
    """What is used of vLLM's ``EngineCore``, and one attribute that the plugin adds.

    Attributes:
        alise_changes: What changes have cost.
    """

    alise_changes: "Changes"

    @property
    def scheduler(self) -> Scheduler:
        """Of this engine."""
        ...


class EngineSilent(AliseError):
    """The engine did not answer: it is dead, shuts down, or a step takes too long."""


def register() -> None:
    """Let the engine answer; may be called again.

    Where this vLLM has no such engine that is said and nothing is done: vLLM calls this in every
    server beside which ALISE is installed, whether anybody wants to look at its engine or not.
    """
    try:
        from vllm.v1.engine.core import EngineCore  # noqa: PLC0415  vLLM calls this to load it
    except ImportError as error:
        _LOG.warning("/alise/state needs EngineCore as vLLM 0.32 has it: %s", error)
        return
    for name, method in ((STATE, answer_state), (PLAN, answer_plan), (TUNE, answer_tune)):
        setattr(EngineCore, name, method)


async def ask(engine_client: EngineClient, method: str, *texts: str) -> list[Any]:
    """Have every engine behind an API server answer.

    Args:
        engine_client: Of the API server.
        method: ``STATE``, ``PLAN`` or ``TUNE``.
        texts: Its arguments.

    Returns: What each engine answered, one for each data-parallel rank.

    Raises:
        EngineSilent: One did not answer.
    """
    try:
        async with asyncio.timeout(LONGEST_STEP_SECONDS):
            answers = await engine_client.engine_core.call_utility_all_async(method, *texts)
    except TimeoutError as error:
        raise EngineSilent(f"no answer within {LONGEST_STEP_SECONDS:g} s") from error
    except Exception as error:
        # The boundary to vLLM: what its client raises is its own affair.
        raise EngineSilent(str(error)[:200] or type(error).__name__) from error
    return [json.loads(answer) for answer in answers]


def answer_state(core: Core) -> str:
    """State of all parts; a method of ``EngineCore``."""
    return json.dumps(Panel(parts_of(core)).state())


def answer_plan(core: Core, changes: str) -> str:
    """Check changes; a method of ``EngineCore``."""
    return _answer(core, changes, lambda apply: {})


def answer_tune(core: Core, changes: str) -> str:
    """Make changes; a method of ``EngineCore``."""
    begin = time.perf_counter()
    answer = _answer(core, changes, lambda apply: apply())
    changes_of(core).note(time.perf_counter() - begin)
    return answer


@dataclass(slots=True)
class Changes:
    """What changes have cost one engine, refused ones too: no step runs meanwhile.

    Attributes:
        made: How many were asked for.
        seconds: Of all together.
        longest_seconds: Of one.
    """

    made: int = 0
    seconds: float = 0.0
    longest_seconds: float = 0.0

    def note(self, seconds: float) -> None:
        """One more."""
        self.made += 1
        self.seconds += seconds
        self.longest_seconds = max(self.longest_seconds, seconds)


def changes_of(core: Core) -> Changes:
    """Those of an engine since its start."""
    found: Changes | None = getattr(core, "alise_changes", None)
    if found is None:
        found = core.alise_changes = Changes()
    return found


def _answer(core: Core, changes: str, done: Callable[[Callable[[], Any]], Json]) -> str:
    """A refusal is an answer too: vLLM would log an exception with its traceback as an error."""
    try:
        changed = done(Panel(parts_of(core)).plan(json.loads(changes)))
    except Refused as refused:
        return json.dumps({"refused": str(refused), "param": refused.param})
    return json.dumps({"changed": changed})


def parts_of(core: Core) -> Iterator[Tunable]:
    """Everything of an engine that can be looked at."""
    yield EngineView(core)
    for holder in _holders(core):
        part = getattr(holder, ATTRIBUTE, None)
        if part is not None:
            yield part


def _holders(core: Core) -> Iterator[object]:
    scheduler = core.scheduler
    yield scheduler
    connectors: list[object] = [getattr(scheduler, "connector", None)]
    for connector in connectors:
        # Several connectors behind one. Source: vLLM 0.32, ``v1/multi_connector.py``.
        connectors += getattr(connector, "_connectors", ())
        half = getattr(connector, "connector_scheduler", None)
        yield from (connector, half, getattr(half, "manager", None))


class EngineView:
    """What every engine shows, with vLLM's own scheduler too; nothing of it can be changed."""

    name = "core"

    def __init__(self, core: Core) -> None:
        self._scheduler = core.scheduler
        self._changes = changes_of(core)

    def state(self) -> Mapping[str, Json]:
        """Requests and memory as the scheduler counts them now."""
        scheduler = self._scheduler
        running, waiting = scheduler.get_request_counts()
        return {
            "scheduler": type(scheduler).__name__,
            "running": running,
            "waiting": waiting,
            "max_running": getattr(scheduler, "max_num_running_reqs", None),
            "max_active": getattr(scheduler, "max_num_active_reqs", None),
            "kv_cache_usage_ratio": scheduler.get_kv_cache_usage(),
            "changes_total": self._changes.made,
            "change_seconds_total": self._changes.seconds,
            "longest_change_seconds": self._changes.longest_seconds,
        }

    def plan(self, changes: Mapping[str, object]) -> Callable[[], Mapping[str, Json]]:
        """Refuse everything.

        Raises:
            ConfigError: Something was to be changed.
        """
        for key in changes:
            raise ConfigError(f"{key!r} cannot be changed; 'core' is there to be looked at")
        return dict
