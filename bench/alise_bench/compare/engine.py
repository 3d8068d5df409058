"""What serves a comparison's rows: simulated pods, or engines that are real.

An engine is found by name and imported only when it is asked for; each ``make`` takes an
``EngineWish``.
"""

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol, cast

from alise_bench.compare.rows import ENGINE_ROWS, ROWS, Dispatcher, Knowledge, Row
from alise_bench.compare.served import ServedRequest
from alise_bench.workloads.traces import TraceRow
from alise_core.errors import ConfigError

ENGINES: Mapping[str, str] = {
    "sim": "alise_bench.compare.simulated:make",
    "vllm": "alise_bench.compare.vllm:make",
    "plugin": "alise_bench.compare.plugin:make",
}
"""``module:function`` by the name that ``--engine`` takes."""


@dataclass(frozen=True, slots=True)
class Usual:
    """What an engine is compared on where the command line does not say.

    Attributes:
        rows: Names.
        pods: How many, for a workload.
        trace_pods: How many, for a trace.
        requests: Of a workload.
        seeds: Runs with other draws.
        knowledge: What its gateway can be told; rows that need more are refused.
        among: All rows that there are.
        document: Name of the published files.
    """

    rows: tuple[str, ...] = tuple(ROWS)
    pods: int = 4
    trace_pods: int = 1
    requests: int = 6_000
    seeds: int = 1
    knowledge: frozenset[Knowledge] = frozenset(Knowledge)
    among: Mapping[str, Row] = field(default_factory=lambda: ROWS)
    document: str = "compare"


USUAL: Mapping[str, Usual] = {
    "sim": Usual(),
    "vllm": Usual(
        rows=("direct-least", "fcfs", "default", "cost"),
        pods=2,
        trace_pods=2,
        requests=240,
        seeds=3,
        knowledge=frozenset({Knowledge.PREDICTED}),
        document="compare-vllm",
    ),
    "plugin": Usual(
        rows=tuple(ENGINE_ROWS),
        pods=1,
        trace_pods=1,
        requests=240,
        seeds=2,
        knowledge=frozenset({Knowledge.PREDICTED}),
        among=ENGINE_ROWS,
        document="engine",
    ),
}
"""By the same names. A simulated pod holds 30 requests at a time and more: on four, a trace of some
hundred would be served all at once and no order would matter. Real engines take a minute a row."""


class Engine(Protocol):
    """Serves a trace in the way that a row describes."""

    @property
    def context_tokens(self) -> int:
        """The longest prompt and answer together that it takes."""
        ...

    def facts(self) -> dict[str, object]:
        """For the conditions of a result: what serves, on what."""
        ...

    def capacity(self, trace: Sequence[TraceRow]) -> float:
        """Requests of a trace that are completed per second while enough of them wait.

        Of all pods behind the gateway, first come first served, everything (or a sample that
        says as much) waiting at once, between 10 % and 80 % of the completions.
        """
        ...

    def run(self, row: Row, trace: Sequence[TraceRow], seed: int) -> list[ServedRequest]:
        """Serve a trace to its end.

        Args:
            row: Who dispatches, by which policy, and what it knows.
            trace: By arrival, the first at 0.
            seed: Of everything that is drawn.

        Returns: One for each request, in the trace's order. An engine that counts preemptions for
            all its requests together puts them on any one of them.
        """
        ...

    def alone_seconds(self, item: TraceRow) -> float | None:
        """How long a request takes on an idle engine; ``None`` where nobody knows."""
        ...


@dataclass(frozen=True, slots=True)
class EngineWish:
    """What the command line asks of an engine.

    Attributes:
        profile: Name of a profile; engines that are real have none.
        pods: How many.
        tier1: Whether the gateway's predictor asks its encoder.
        vllm: Where vLLM is, as ``--vllm`` says; ``None`` where nobody does.
        rows: Names of what is compared; of an engine that has a server for each row.
    """

    profile: str
    pods: int
    tier1: bool = True
    vllm: str | None = None
    rows: tuple[str, ...] = ()


def usual_of(name: str) -> Usual:
    """What an engine is compared on.

    Raises:
        ConfigError: There is none of that name.
    """
    if name not in ENGINES:
        raise ConfigError(f"--engine: there is no engine {name!r}; there are {', '.join(ENGINES)}")
    return USUAL[name]


def refuse_untold(name: str, rows: Sequence[Row]) -> None:
    """Refuse rows whose gateway would have to be told what an engine's gateway cannot be.

    Raises:
        ConfigError: There is one.
    """
    for row in rows:
        if row.dispatcher is Dispatcher.GATEWAY and row.knowledge not in usual_of(name).knowledge:
            raise ConfigError(
                f"--rows {row.name}: a real gateway predicts lengths itself (a client's hint moves "
                "its prediction and does not replace it); leave the row out, or take --engine sim"
            )


def open_engine(name: str, wish: EngineWish) -> Engine:
    """An engine by name.

    Raises:
        ConfigError: There is none of that name, or it cannot be had.
    """
    usual_of(name)
    module, _, function = ENGINES[name].partition(":")
    make = cast(
        "Callable[[EngineWish], Engine]", getattr(importlib.import_module(module), function)
    )
    return make(wish)


def fit_context(trace: Sequence[TraceRow], context_tokens: int) -> tuple[list[TraceRow], int]:
    """Cut requests to what an engine's context holds.

    The prompt keeps what the answer leaves it, at least half the context; the answer gets the rest.

    Returns: The trace, and how many of its requests were cut.
    """
    fitted = [_fit(item, context_tokens) for item in trace]
    return fitted, sum(new is not old for new, old in zip(fitted, trace, strict=True))


def _fit(item: TraceRow, context_tokens: int) -> TraceRow:
    if item.prompt_tokens + item.output_tokens <= context_tokens:
        return item
    prompt = min(item.prompt_tokens, max(context_tokens - item.output_tokens, context_tokens // 2))
    return replace(
        item, prompt_tokens=prompt, output_tokens=min(item.output_tokens, context_tokens - prompt)
    )
