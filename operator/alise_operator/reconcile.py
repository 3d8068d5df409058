"""Looks at one object: observe, decide, act. What is seen is the present, whatever happened."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from alise_core.clock import Clock
from alise_core.crds.names import Kind
from alise_operator.act.status import StatusWriter
from alise_operator.decide import model_pool, tenant
from alise_operator.decide.model_pool import decide_model_pool
from alise_operator.decide.parents import Parent, decide_parents, is_served
from alise_operator.decide.pods import endpoint_names
from alise_operator.decide.policy import decide_policy
from alise_operator.decide.pools import selection_of
from alise_operator.decide.raw import mapping_at
from alise_operator.decide.references import NamedSecret, SecretFacts
from alise_operator.decide.scope import Scope, WorkKey
from alise_operator.decide.status import Verdict
from alise_operator.decide.tenant import decide_tenant
from alise_operator.observe.catalogue import AnyStored, Catalogue
from alise_operator.observe.engines import EngineReader, EngineTarget
from alise_operator.observe.secret_lookup import SecretLookup
from alise_operator.tending import Tending

_SPREAD_RATIO = 0.2

Decide = Callable[[Mapping[str, object], float], Verdict]
"""From the status that stands, and the time in Unix seconds, to what it ought to say."""


@dataclass(frozen=True, slots=True)
class Intervals:
    """When an object is looked at again by itself, in seconds.

    Attributes:
        resync: Every object.
        secret: Objects that name Secrets, which are not watched.
    """

    resync: float = 300.0
    secret: float = 60.0


@dataclass(frozen=True, slots=True)
class Senses:
    """What a look goes by."""

    catalogue: Catalogue
    engines: EngineReader
    secrets: SecretLookup
    tending: Tending
    clock: Clock


class Reconciler:
    """One look at one object of any kind.

    Args:
        senses: What it goes by.
        writer: What it writes with.
        parent: What serves InferencePools.
        intervals: When to look again.
        chance: A number in [0, 1), a new one with each call: spreads looks that began together.
    """

    def __init__(
        self,
        senses: Senses,
        writer: StatusWriter,
        parent: Parent,
        intervals: Intervals,
        chance: Callable[[], float],
    ) -> None:
        self._senses = senses
        self._writer = writer
        self._parent = parent
        self._intervals = intervals
        self._chance = chance

    async def __call__(self, key: WorkKey) -> float | None:
        """Bring an object's status up to date.

        Returns: Seconds until the next look; ``None`` where the object is gone.

        Raises:
            ClusterError: The API server does not do its part.
        """
        found = self._senses.catalogue.find(key)
        if found is None:
            self._let_go(key)
            return None
        match key.kind:
            case Kind.MODEL_POOL:
                return await self._model_pool(key, found)
            case Kind.INFERENCE_POOL:
                return await self._inference_pool(key, found)
            case Kind.SCHEDULING_POLICY | Kind.KV_CACHE_POLICY:
                return await self._policy(key, found)
            case Kind.TENANT:
                return await self._tenant(key, found)

    def _let_go(self, key: WorkKey) -> None:
        self._writer.forget(key)
        self._senses.engines.want(key, ())
        self._senses.tending.let_go(key)

    async def _model_pool(self, key: WorkKey, found: AnyStored) -> float | None:
        named = model_pool.secrets_named(found.spec)
        secrets = await self._senses.secrets.facts(key.namespace, _names(named))
        pool = self._senses.catalogue.find(key)
        if pool is None:
            return 0.0  # it went meanwhile
        scope = self._scope(key.namespace, secrets)
        self._senses.engines.want(key, _engine_targets(pool, scope))
        self._senses.tending.follow(key, pool, scope)
        await self._write(key, lambda status, now: decide_model_pool(pool, status, scope, now))
        return self._again(named)

    async def _inference_pool(self, key: WorkKey, pool: AnyStored) -> float:
        scope = self._scope(key.namespace)
        self._senses.tending.follow(key, pool, scope)
        served = is_served(pool, scope)
        clock, raw = self._senses.clock, self._senses.catalogue.raw(key)
        await self._writer.write(
            key, raw, lambda raw: decide_parents(raw, self._parent, clock.unix(), served=served)
        )
        return self._again()

    async def _policy(self, key: WorkKey, policy: AnyStored) -> float:
        scope = self._scope(key.namespace)
        if key.kind is Kind.SCHEDULING_POLICY:
            await self._write(
                key, lambda status, now: decide_policy(policy, status, scope, scope.scheduling, now)
            )
            return self._again()
        tuning = self._senses.tending.reports(policy.uid)
        await self._write(
            key,
            lambda status, now: decide_policy(policy, status, scope, scope.kv_cache, now, tuning),
        )
        return self._again()

    async def _tenant(self, key: WorkKey, found: AnyStored) -> float:
        named = tenant.secrets_named(found.spec)
        secrets = await self._senses.secrets.facts(key.namespace, _names(named))
        current = self._senses.catalogue.find(key)
        if current is None:
            return 0.0  # it went meanwhile
        await self._write(key, lambda status, now: decide_tenant(current, status, secrets, now))
        return self._again(named)

    def _scope(self, namespace: str, secrets: Mapping[str, SecretFacts] | None = None) -> Scope:
        scope = self._senses.catalogue.scope(namespace)
        return replace(scope, secrets=secrets or {}, engines=self._senses.engines.facts)

    async def _write(self, key: WorkKey, decide: Decide) -> None:
        clock = self._senses.clock
        await self._writer.write(
            key,
            self._senses.catalogue.raw(key),
            lambda raw: decide(mapping_at(raw, "status"), clock.unix()),
        )

    def _again(self, named: Sequence[NamedSecret] = ()) -> float:
        seconds = self._intervals.secret if named else self._intervals.resync
        return seconds * (1 + _SPREAD_RATIO * (self._chance() - 0.5))


def _names(named: Iterable[NamedSecret]) -> list[str]:
    return [each.ref.name for each in named]


def _engine_targets(pool: AnyStored, scope: Scope) -> Iterable[EngineTarget]:
    spec = pool.spec
    selection = None if spec is None else selection_of(scope, spec)
    if spec is None or selection is None:
        return
    for pod in selection.pods(scope.pods):
        if pod.state.is_endpoint:
            for name in endpoint_names(pod, selection.ports):
                url = f"{spec.scheme.value}://{name}{spec.base_path}/metrics"
                yield EngineTarget(name, url, f"{pod.uid}/{pod.restarts}")
