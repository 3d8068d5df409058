"""How requests are scheduled: the resolved, validated form that the gateway obeys. Pure values.

Whatever configures scheduling (settings today) becomes one ``SchedulingPolicy``; nothing
downstream reads configuration.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

from alise_core.service_class import ServiceClass


class OrderingName(StrEnum):
    """Orderings of the requests of one tenant in one class."""

    FCFS = "fcfs"
    SJF = "sjf"
    RANK = "rank"
    COST = "cost"
    BOOST = "boost"
    TOOL_AWARE = "tool-aware"


@dataclass(frozen=True, slots=True)
class ClassLimits:
    """What one service class may take up while it waits.

    Attributes:
        max_waiting: Requests that may wait; ``None`` for no limit besides the queue's.
        ttl_seconds: One that has waited this long is refused.
        trickle_share: Work that the class may dispatch, while better classes wait too, for each
            unit that they dispatch; 0 for none.
    """

    max_waiting: int | None = None
    ttl_seconds: float = 60.0
    trickle_share: float = 0.0


@dataclass(frozen=True, slots=True)
class OrderingPolicy:
    """Which request of a tenant is next.

    Attributes:
        name: The ordering.
        gamma: ``boost``: rate in 1/s that trades mean for tail; ``None`` adapts it to the load.
        gamma_share: ``boost``, adaptive: gamma times the predicted wait.
        beta: ``cost``: weight of the tail's cost; ``None`` adapts it to the load.
        aging_half_life_seconds: ``sjf``, ``rank``, ``cost``: a wait this long halves the rank;
            ``None`` for no aging.
        guard_seconds: No wait below this makes a request go first regardless of its rank.
        guard_factor: Nor one below this multiple of its own predicted service.
    """

    name: OrderingName = OrderingName.BOOST
    gamma: float | None = None
    gamma_share: float = 1.0
    beta: float | None = None
    aging_half_life_seconds: float | None = None
    guard_seconds: float = 30.0
    guard_factor: float = 10.0


@dataclass(frozen=True, slots=True)
class AdmissionPolicy:
    """How much a backend is given at a time.

    Attributes:
        quantile: Of the predicted length at which KV memory is reserved.
        high_quantile: The same once a backend preempts more than ``preemption_ratio``.
        preemption_ratio: Preemptions per finished request that are too many.
        run_ahead: Requests in a backend's own queue that are not yet a sign of too many: it
            never waits for the gateway then.
        stale_seconds: Older figures of a backend's metrics are not used.
        ordering_run_ahead: In place of ``run_ahead`` for a backend that orders its requests by what
            is predicted, and preempts for them: what it is not given it cannot order.
    """

    quantile: float = 0.5
    high_quantile: float = 0.7
    preemption_ratio: float = 0.25
    run_ahead: int = 2
    stale_seconds: float = 10.0
    ordering_run_ahead: int = 8


@dataclass(frozen=True, slots=True)
class FairnessPolicy:
    """How tenants share a class (virtual token counter, arXiv 2401.00588).

    Attributes:
        enabled: Off, all tenants of a class wait in one line.
        input_weight: Of a prompt token.
        output_weight: Of an output token.
        idle_half_life_seconds: An idle tenant's lead or debt halves in this time.
    """

    enabled: bool = True
    input_weight: float = 1.0
    output_weight: float = 2.0
    idle_half_life_seconds: float = 60.0


def _default_classes() -> Mapping[ServiceClass, ClassLimits]:
    return MappingProxyType(
        {
            ServiceClass.PRIORITY: ClassLimits(),
            ServiceClass.SCALE: ClassLimits(),
            ServiceClass.DEFAULT: ClassLimits(),
            ServiceClass.FLEX: ClassLimits(ttl_seconds=300.0, trickle_share=0.05),
            ServiceClass.BATCH: ClassLimits(ttl_seconds=600.0, trickle_share=0.05),
        }
    )


_USUAL = _default_classes()


def class_limits(
    item: ServiceClass,
    queue_ttl_seconds: float,
    max_waiting: int | None = None,
    ttl_seconds: float | None = None,
    trickle_share: float | None = None,
) -> ClassLimits:
    """The limits of one class, of which a configuration states some.

    Args:
        item: The class.
        queue_ttl_seconds: Of requests of no particular class. Work that may wait keeps its longer
            patience unless it is told otherwise.
        max_waiting: As stated; no limit of its own without it.
        ttl_seconds: As stated.
        trickle_share: As stated.
    """
    usual = _USUAL[item]
    patience = usual.ttl_seconds if usual.trickle_share else queue_ttl_seconds
    return ClassLimits(
        max_waiting,
        max(patience, queue_ttl_seconds) if ttl_seconds is None else ttl_seconds,
        usual.trickle_share if trickle_share is None else trickle_share,
    )


@dataclass(frozen=True, slots=True)
class SchedulingPolicy:
    """Everything the queue obeys.

    Attributes:
        max_waiting: Requests that may wait in all classes together.
        classes: Limits of each class.
        ordering: Which request of a tenant is next.
        fairness: Which tenant is next.
        admission: How much a backend is given.
        backfill: Requests behind one that does not fit that are tried in its place.
    """

    max_waiting: int = 10_000
    classes: Mapping[ServiceClass, ClassLimits] = field(default_factory=_default_classes)
    ordering: OrderingPolicy = OrderingPolicy()
    fairness: FairnessPolicy = FairnessPolicy()
    admission: AdmissionPolicy = AdmissionPolicy()
    backfill: int = 4
