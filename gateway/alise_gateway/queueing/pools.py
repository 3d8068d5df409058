"""The pools of all models, each under the policy of its model, and who finds a place in them. Pure.

A model with a policy of its own has the limits of that policy to itself; all others share those of
the default. Policies change while requests wait: what waits is ranked anew and keeps its place even
where a limit has shrunk below what is there; only later arrivals find it full.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from alise_core.service_class import ServiceClass
from alise_gateway.domain.drop_reason import DropReason
from alise_gateway.domain.policies import Policies
from alise_gateway.queueing.events import Ticket
from alise_gateway.queueing.pool import Pool


class Pools:
    """See the module.

    Args:
        policies: What to obey.

    Attributes:
        policies: As given, or as changed by ``obey``.
    """

    def __init__(self, policies: Policies) -> None:
        self.policies = policies
        self._pools: dict[str, Pool] = {}
        self._common: list[Pool] = []
        """Those that share the default's limits."""

    def __iter__(self) -> Iterator[Pool]:
        return iter(self._pools.values())

    def of(self, model: str) -> Pool:
        """The pool of a model; a new one where it was never asked for."""
        pool = self._pools.get(model)
        if pool is None:
            pool = self._pools[model] = Pool(model, self.policies.of(model))
            self._sort_out()
        return pool

    def obey(
        self,
        policies: Policies,
        in_flight: Mapping[str, int],
        flying: Iterable[Ticket],
        now: float,
    ) -> None:
        """From now on other policies hold; pools whose policy is the same do not notice.

        Args:
            policies: All of them.
            in_flight: Requests on the backends of each model in which somebody waits.
            flying: Requests on any backend.
            now: Monotonic seconds.
        """
        self.policies = policies
        self._sort_out()
        changed = [pool for pool in self if pool.policy != policies.of(pool.model)]
        if not changed:
            return
        by_model: dict[str, list[Ticket]] = {pool.model: [] for pool in changed}
        for ticket in flying:
            if ticket.model in by_model:
                by_model[ticket.model].append(ticket)
        for pool in changed:
            policy = policies.of(pool.model)
            pool.obey(policy, in_flight.get(pool.model, 0), by_model[pool.model], now)

    def busy(self) -> list[Pool]:
        """Pools in which somebody waits, by whose turn it is: best class, then longest wait."""
        pools = [pool for pool in self if pool.waiting]
        if len(pools) > 1:
            pools.sort(key=_urgency)
        return pools

    def waiting_in(self, service_class: ServiceClass) -> int:
        """Requests of one class, of all models."""
        return sum(pool.waiting_in(service_class) for pool in self)

    def oldest_enqueued(self) -> float | None:
        """Monotonic mark of the request that has waited longest; ``None`` if none waits."""
        found = [pool.oldest() for pool in self]
        return min((ticket.enqueued for ticket in found if ticket is not None), default=None)

    def everybody(self) -> list[Ticket]:
        """All who wait."""
        return [ticket for pool in self for ticket in pool.everybody()]

    def why_full(self, pool: Pool, service_class: ServiceClass) -> DropReason | None:
        """Why one more request of a class may not wait in a pool, if so."""
        most = pool.policy.classes[service_class].max_waiting
        sharing = self._sharing(pool)
        if most is not None and sum(it.waiting_in(service_class) for it in sharing) >= most:
            return DropReason.CLASS_FULL
        is_full = sum([it.waiting for it in sharing]) >= pool.policy.max_waiting
        return DropReason.QUEUE_FULL if is_full else None

    def shed(self, pool: Pool, service_class: ServiceClass) -> Ticket | None:
        """Whose place a request of a class may take where its pool's queue is full."""
        found = [it.shed(service_class) for it in self._sharing(pool)]
        return max(
            filter(None, found), key=lambda it: (it.service_class.rank, it.number), default=None
        )

    def _sharing(self, pool: Pool) -> Sequence[Pool]:
        """The pools whose requests count against the same limits."""
        return (pool,) if pool.model in self.policies.by_model else self._common

    def _sort_out(self) -> None:
        own = self.policies.by_model
        self._common = [pool for pool in self if pool.model not in own]


def _urgency(pool: Pool) -> tuple[int, float]:
    best, oldest = pool.best_class(), pool.oldest()
    return (
        0 if best is None else best.rank,
        0.0 if oldest is None else oldest.enqueued,
    )
