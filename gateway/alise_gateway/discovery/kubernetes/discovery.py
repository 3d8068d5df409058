"""The cluster as the gateway obeys it: what is read becomes backends, names, policies and tenants.

A pod's change reaches the registry in the very call that brings it. Everything else is worked out
once per turn of the loop, however much has changed. Nothing is ever written to the cluster, and
what is known stays in force while the API server is away.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

import structlog

from alise_cluster.cache import Change, ChangeKind
from alise_cluster.client import ClusterClient
from alise_cluster.pacing import Pacing
from alise_core.clock import Clock
from alise_core.crds.governing import PoolRef
from alise_core.policy import SchedulingPolicy
from alise_core.shares import WHOLE, Share
from alise_gateway.discovery.kubernetes.books import Books
from alise_gateway.discovery.kubernetes.membership import Membership
from alise_gateway.discovery.kubernetes.names import Names, merge_names
from alise_gateway.discovery.kubernetes.peers import share_among
from alise_gateway.discovery.kubernetes.pods import read_pod
from alise_gateway.discovery.kubernetes.policies import (
    policies_of_models,
    policies_of_pools,
    policy_problems,
)
from alise_gateway.discovery.kubernetes.pools import PoolPlan, plan_pools, with_key
from alise_gateway.discovery.kubernetes.problems import Problem
from alise_gateway.discovery.kubernetes.tenants import secrets_of, tenant_keys
from alise_gateway.discovery.kubernetes.view import ClusterView
from alise_gateway.discovery.kubernetes.watches import Watches
from alise_gateway.discovery.registry import BackendRegistry
from alise_gateway.domain.cluster_figures import ClusterFigures, Watched
from alise_gateway.domain.tenant_keys import TenantKeys
from alise_gateway.settings_kubernetes import KubernetesSettings


def _nobody(_: object) -> None:
    """Until somebody wants to know."""


@dataclass(slots=True)
class Obeying:
    """Who is told what the cluster says, besides the registry.

    Attributes:
        set_tenants: Everybody who may call.
        set_policies: The policy of each model that has one of its own.
        set_share: Our part of every backend.
        on_applied: Seconds from reading a change of pods to the registry's change.
    """

    set_tenants: Callable[[Sequence[TenantKeys]], None] = _nobody
    set_policies: Callable[[Mapping[str, SchedulingPolicy]], None] = _nobody
    set_share: Callable[[Share], None] = _nobody
    on_applied: Callable[[float], None] = _nobody


class KubernetesDiscovery:
    """See the module.

    Args:
        client: Of the cluster; closed by ``stop``.
        settings: What to look for.
        registry: Whose backends, aliases and fallbacks follow the cluster.
        clock: For durations.
        obeying: Who is told the rest.
        pacing: How to wait after failures.

    Attributes:
        is_settled: Everything was read once, and what was found has been probed.
        gave_up_waiting: The first look has taken too long; it still goes on.
        problems: What is wrong with objects.
    """

    def __init__(
        self,
        client: ClusterClient,
        settings: KubernetesSettings,
        registry: BackendRegistry,
        clock: Clock,
        obeying: Obeying,
        pacing: Pacing | None = None,
    ) -> None:
        self.is_settled = False
        self.gave_up_waiting = False
        self.problems: tuple[Problem, ...] = ()
        self._client = client
        self._settings = settings
        self._registry = registry
        self._clock = clock
        self._obeying = obeying
        self._own_names = Names(registry.aliases, registry.fallback_models)
        self._view = ClusterView()
        self._membership = Membership(registry)
        self._books = Books()
        self._watches = Watches(
            client,
            settings,
            clock,
            on_changes=self._on_changes,
            on_stand=self._reconcile_soon,
            pacing=pacing,
        )
        self._policies: dict[PoolRef, SchedulingPolicy] = {}
        self._plans: tuple[PoolPlan, ...] = ()
        self._share = WHOLE
        self._due: set[Callable[[], None]] = set()
        self._unsubscribe: Callable[[], None] | None = None
        self._log = structlog.get_logger("alise_gateway.discovery")

    def start(self) -> None:
        """Begin to follow the cluster."""
        self._unsubscribe = self._registry.subscribe(lambda: self._soon(self._tell_policies))
        self._watches.start()

    async def settle(self, then: Callable[[], Awaitable[None]]) -> None:
        """Wait for the first look at everything.

        After ``sync_seconds`` it is said what is missing, and waited on.

        Args:
            then: Waited for when all is read, before the gateway counts as settled.
        """
        looking = asyncio.ensure_future(self._look())
        try:
            await asyncio.wait([looking], timeout=self._settings.sync_seconds)
            if not looking.done():
                self.gave_up_waiting = True
                self._log.warning(
                    "cluster_not_read",
                    missing=self._watches.unsettled(),
                    remedy="check the API server's address and the gateway's RBAC",
                )
            await looking
        finally:
            looking.cancel()
        await then()
        self.is_settled, self.gave_up_waiting = True, False
        self._log.info(
            "cluster_read",
            namespace=self._watches.namespace or "*",
            pools=len(self._plans),
            endpoints=len(self._membership.endpoints),
            problems=len(self.problems),
        )

    async def _look(self) -> None:
        """Until all is read: what was read may name Secrets that are to be read too."""
        while True:
            await self._watches.settle()
            self._do(self._reconcile)
            if not self._watches.unsettled():
                return

    async def stop(self) -> None:
        """Follow it no more; what is known stays in force. May be called without ``start``."""
        if self._unsubscribe is not None:
            self._unsubscribe()
            self._unsubscribe = None
        await self._watches.stop()
        await self._client.close()

    def missing(self) -> list[str]:
        """What was not read yet, and why, for people."""
        return self._watches.unsettled()

    def figures(self) -> ClusterFigures:
        """For metrics."""
        return ClusterFigures(
            watches=self._watches.figures(),
            endpoints=len(self._membership.endpoints),
            problems=len(self.problems),
            share_count=self._share.count,
        )

    def _on_changes(self, watched: Watched, changes: Sequence[Change]) -> None:
        match watched:
            case Watched.PODS:
                self._take_pods(changes)
            case Watched.PEERS:
                self._soon(self._tell_share)
            case Watched.SECRETS:
                self._reconcile_soon()
            case _:
                self._books.take(watched, changes)
                self._reconcile_soon()

    def _take_pods(self, changes: Sequence[Change]) -> None:
        began = self._clock.now()
        for change in changes:
            if change.kind is ChangeKind.DELETED:
                self._view.remove_pod(change.key.namespace, change.key.name)
            else:
                self._view.put_pod(read_pod(change.object))
        if self._apply():
            self._obeying.on_applied(self._clock.now() - began)

    def _apply(self) -> bool:
        """Whether the registry has changed."""
        changed = self._view.take_changed()
        if not changed:
            return False
        new, gone = self._membership.apply(changed, self._view.endpoint)
        if new or gone:
            total = len(self._membership.endpoints)
            self._log.info("endpoints_changed", added=new, removed=gone, endpoints=total)
            self._soon(self._tell_policies)
        return True

    def _reconcile_soon(self) -> None:
        self._soon(self._reconcile)

    def _soon(self, what: Callable[[], None]) -> None:
        """Once in the next turn of the loop, however often it is asked for."""
        if what not in self._due:
            self._due.add(what)
            asyncio.get_running_loop().call_soon(self._do, what)

    def _do(self, what: Callable[[], None]) -> None:
        self._due.discard(what)
        try:
            what()
        except Exception:
            # The boundary of a background loop: what is in force stays, the next change may do.
            self._log.exception("cluster_reconcile_failed")

    def _reconcile(self) -> None:
        """Bring everything but pods into line with what is known."""
        books = self._books
        pools = plan_pools(
            books.model_pools.items(),
            books.inference_pools.items(),
            serve_picked=self._settings.serve_picked_inference_pools,
        )
        tenants = books.tenants.items()
        named = {plan.key_name for plan in pools.plans} - {None}
        self._watches.follow_secrets({*filter(None, named), *secrets_of(tenants)})
        problems = list(pools.problems)
        problems += self._take_plans(pools.plans)
        problems += self._take_names()
        policies = books.policies.items()
        problems += policy_problems(policies)
        self._policies = policies_of_pools(self._plans, policies)
        self._tell_policies()
        keys, unusable = tenant_keys(tenants, self._watches.secrets())
        problems += unusable
        self._obeying.set_tenants(keys)
        self._report([*problems, *self._view.problems(), *self._refused()])

    def _take_plans(self, plans: Sequence[PoolPlan]) -> list[Problem]:
        secrets = self._watches.secrets()
        problems: list[Problem] = []
        found: list[PoolPlan] = []
        for wished in plans:
            plan, problem = with_key(wished, secrets)
            if problem is not None:
                problems.append(problem)
            if plan is None:
                # Its Secret is being read: a pool that is served already goes on as it was.
                plan = self._view.plans.get(wished.ref)
            if plan is not None:
                found.append(plan)
        self._plans = tuple(found)
        self._view.set_plans(found)
        self._apply()
        return problems

    def _take_names(self) -> list[Problem]:
        names, problems = merge_names(self._own_names, self._plans)
        self._registry.set_names(names.aliases, names.fallbacks)
        return problems

    def _refused(self) -> list[Problem]:
        found = []
        for name in sorted(self._membership.refused):
            endpoint = self._view.endpoint(name)
            if endpoint is not None:
                pool = endpoint.pool
                message = f"{name} is listed in the settings already; they count"
                found.append(Problem(pool.kind.value, pool.namespace, pool.name, message))
        return found

    def _tell_policies(self) -> None:
        served: dict[PoolRef, dict[str, None]] = {}
        endpoints = self._membership.endpoints
        for backend in self._registry.backends:
            endpoint = endpoints.get(backend.name)
            if endpoint is not None and backend.models:
                served.setdefault(endpoint.pool, {}).update(dict.fromkeys(backend.models))
        self._obeying.set_policies(policies_of_models(self._plans, self._policies, served))

    def _tell_share(self) -> None:
        peers = [read_pod(raw) for raw in self._watches.objects(Watched.PEERS)]
        share = share_among(peers, self._settings.pod_name or "")
        if share != self._share:
            self._share = share
            self._log.info("share_changed", index=share.index, count=share.count)
            self._obeying.set_share(share)

    def _report(self, problems: Sequence[Problem]) -> None:
        found = tuple(dict.fromkeys(problems))
        for problem in [problem for problem in found if problem not in self.problems]:
            self._log.warning("cluster_object_problem", problem=str(problem))
        for problem in [problem for problem in self.problems if problem not in found]:
            self._log.info("cluster_object_problem_gone", problem=str(problem))
        self.problems = found
