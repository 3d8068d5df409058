"""The rows of a comparison: who dispatches, in which order, and what it knows of lengths. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from alise_bench.workloads.traces import TraceRow
from alise_core.errors import ConfigError
from alise_core.policy import OrderingName, OrderingPolicy, SchedulingPolicy


class Dispatcher(StrEnum):
    """Who chooses a backend."""

    ROUND_ROBIN = "round_robin"
    """A load balancer that takes turns; the engines queue."""
    LEAST_OUTSTANDING = "least_outstanding"
    """A load balancer that takes the backend with the fewest requests; the engines queue."""
    GATEWAY = "gateway"


class Knowledge(StrEnum):
    """What the gateway is told of an answer's length."""

    PREDICTED = "predicted"
    """What the shipped predictor says, corrected by the answers that have ended before."""
    EXACT = "exact"
    """The truth: the upper bound for any predictor."""
    SHUFFLED = "shuffled"
    """The prediction of some other request of the trace: as good as no prediction, and the lower
    bound of what ordering by any number does."""
    NOISE = "noise60"
    """The truth times a factor drawn evenly from 0.4 to 1.6."""


@dataclass(frozen=True, slots=True)
class Row:
    """One way to serve the trace.

    Attributes:
        name: As in the results.
        dispatcher: Who chooses a backend.
        policy: What the gateway obeys; unused without it.
        knowledge: What the gateway is told; unused without it.
        history: Requests whose answers the predictor has learned from before the run.
    """

    name: str
    dispatcher: Dispatcher
    policy: SchedulingPolicy = field(default_factory=lambda: DEFAULT)
    knowledge: Knowledge = Knowledge.PREDICTED
    history: tuple[TraceRow, ...] = ()


_NEVER_SECONDS = 1e9


def _patient(policy: SchedulingPolicy) -> SchedulingPolicy:
    """The same with a queue that refuses nobody: what is refused would be missing from the tail."""
    classes = {
        item: replace(limits, max_waiting=None, ttl_seconds=_NEVER_SECONDS)
        for item, limits in policy.classes.items()
    }
    return replace(policy, max_waiting=1 << 40, classes=classes)


DEFAULT: SchedulingPolicy = _patient(SchedulingPolicy())
"""What ships, but for limits on the queue's length and on waiting."""


def with_ordering(ordering: OrderingPolicy, base: SchedulingPolicy = DEFAULT) -> SchedulingPolicy:
    """The default policy with another ordering."""
    return replace(base, ordering=ordering)


def _ordered(name: OrderingName) -> Row:
    ordering = replace(DEFAULT.ordering, name=name)
    return Row(str(name), Dispatcher.GATEWAY, with_ordering(ordering))


ROWS: dict[str, Row] = {
    row.name: row
    for row in (
        Row("direct-rr", Dispatcher.ROUND_ROBIN),
        Row("direct-least", Dispatcher.LEAST_OUTSTANDING),
        *map(_ordered, OrderingName),
        Row("default", Dispatcher.GATEWAY),
        Row("oracle", Dispatcher.GATEWAY, knowledge=Knowledge.EXACT),
        Row("shuffled", Dispatcher.GATEWAY, knowledge=Knowledge.SHUFFLED),
        Row("noise60", Dispatcher.GATEWAY, knowledge=Knowledge.NOISE),
    )
}
"""Every row by name. ``oracle``, ``shuffled`` and ``noise60`` order as ``default`` does: they
differ in knowledge alone."""


ENGINE_ROWS: dict[str, Row] = {
    row.name: row
    for row in (
        Row("vllm-fcfs", Dispatcher.LEAST_OUTSTANDING),
        Row("vllm-priority", Dispatcher.LEAST_OUTSTANDING),
        Row("mlfq", Dispatcher.LEAST_OUTSTANDING),
        Row("srpt", Dispatcher.LEAST_OUTSTANDING),
        Row("default", Dispatcher.LEAST_OUTSTANDING),
        Row("oracle", Dispatcher.LEAST_OUTSTANDING, knowledge=Knowledge.EXACT),
        Row("gateway", Dispatcher.GATEWAY),
    )
}
"""Rows of one engine, by how it schedules; a gateway is before the last: see ``compare.plugin``."""


def choose_rows(names: Sequence[str], among: Mapping[str, Row] = ROWS) -> list[Row]:
    """Rows by name.

    Args:
        names: Which.
        among: Those that there are.

    Raises:
        ConfigError: One does not exist; lists those that do.
    """
    unknown = [name for name in names if name not in among]
    if unknown:
        raise ConfigError(f"--rows: there is no row {unknown[0]!r}; there are {', '.join(among)}")
    return [among[name] for name in dict.fromkeys(names)]
