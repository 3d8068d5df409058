"""A pool with a clock and tickets that number themselves."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import count

from alise_core.policy import (
    ClassLimits,
    FairnessPolicy,
    OrderingName,
    OrderingPolicy,
    SchedulingPolicy,
)
from alise_core.service_class import ServiceClass
from alise_gateway.queueing.events import Ticket
from alise_gateway.queueing.pool import Pool
from fakes.tickets import Asked, anybody, tenant, ticket

NEVER = 1e12
PRIORITY, SCALE, DEFAULT, FLEX, BATCH = ServiceClass
NO_TRICKLE: Mapping[ServiceClass, float] = {}


def policy_of(
    trickle: Mapping[ServiceClass, float] = NO_TRICKLE,
    ordering: OrderingPolicy | None = None,
    ttl_seconds: float = 60.0,
) -> SchedulingPolicy:
    """First come, first served unless ``ordering`` says otherwise, and nobody is overdue."""
    if ordering is None:
        ordering = OrderingPolicy(name=OrderingName.FCFS, guard_seconds=NEVER, guard_factor=0.0)
    return SchedulingPolicy(
        classes={
            item: ClassLimits(ttl_seconds=ttl_seconds, trickle_share=trickle.get(item, 0.0))
            for item in ServiceClass
        },
        ordering=ordering,
        fairness=FairnessPolicy(
            enabled=True, input_weight=1.0, output_weight=2.0, idle_half_life_seconds=60.0
        ),
    )


@dataclass
class World:
    """A pool, the clock, and the numbers of its requests."""

    policy: SchedulingPolicy = field(default_factory=policy_of)
    now: float = 100.0

    def __post_init__(self) -> None:
        self.pool = Pool("m", self.policy)
        self.numbers = count()

    def ask(self, item: ServiceClass, tokens: float = 10, name: str = "t") -> Ticket:
        asked = Asked(tenant(name), item)
        return ticket(next(self.numbers), tokens, enqueued=self.now, asked=asked)

    def wait(self, item: ServiceClass = DEFAULT, tokens: float = 10, name: str = "t") -> Ticket:
        made = self.ask(item, tokens, name)
        self.pool.arrived(made.work, 4, self.now)
        self.pool.add(made, 4, self.now)
        return made

    def first(self, may_dispatch: Callable[[Ticket], bool] = anybody) -> Ticket:
        return next(self.pool.in_turn(self.now, may_dispatch))

    def serve(self, may_dispatch: Callable[[Ticket], bool] = anybody) -> Ticket:
        first = self.first(may_dispatch)
        self.pool.remove(first, self.now)
        self.pool.dispatched(first, self.now)
        return first

    def turn(self) -> list[Ticket]:
        return list(self.pool.in_turn(self.now, anybody))
