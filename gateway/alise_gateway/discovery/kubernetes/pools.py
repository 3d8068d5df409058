"""From ModelPools and InferencePools to plans: which pods, how they are spoken to. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from alise_core.crds.base import SecretRef
from alise_core.crds.book import Stored
from alise_core.crds.governing import PoolRef
from alise_core.crds.inference_pool import InferencePoolSpec
from alise_core.crds.model_pool import Alias, Fallback, ModelPoolSpec, Scheme
from alise_core.crds.names import Kind, ObjectKey
from alise_gateway.discovery.kubernetes.key_secrets import (
    Readable,
    Secret,
    Secrets,
    UnusableSecret,
    one_key,
)
from alise_gateway.discovery.kubernetes.problems import Problem, invalid

_USUAL_IN_FLIGHT = ModelPoolSpec.model_construct().max_in_flight_per_endpoint


@dataclass(frozen=True, slots=True)
class PoolPlan:
    """What one pool means for the gateway.

    Attributes:
        ref: Which pool.
        created: RFC 3339; the older pool is right where two disagree.
        selector: Labels that a pod must have.
        ports: Each is an endpoint of every pod.
        tls: Pods are spoken to in TLS.
        base_path: Prefix of every request path.
        max_in_flight: Requests that one endpoint is given at a time, by all gateways.
        api_key: What the pods demand.
        key_ref: Where it is from.
        aliases: Further names for models.
        fallbacks: Models that stand in.
    """

    ref: PoolRef
    created: str
    selector: frozenset[tuple[str, str]]
    ports: tuple[int, ...]
    tls: bool = False
    base_path: str = ""
    max_in_flight: int = _USUAL_IN_FLIGHT
    api_key: str | None = field(default=None, repr=False)
    key_ref: SecretRef | None = None
    aliases: tuple[Alias, ...] = ()
    fallbacks: tuple[Fallback, ...] = ()

    @property
    def age(self) -> tuple[bool, str, str, str, str]:
        """Sorts the oldest first; one that does not say when it was made is young."""
        ref = self.ref
        return (not self.created, self.created, ref.namespace, ref.name, ref.kind.value)

    @property
    def key_name(self) -> ObjectKey | None:
        """The Secret with the pods' key."""
        return None if self.key_ref is None else ObjectKey(self.ref.namespace, self.key_ref.name)


@dataclass(frozen=True, slots=True)
class Pools:
    """What is to be served.

    Attributes:
        plans: The oldest first.
        problems: What cannot be put into practice.
    """

    plans: tuple[PoolPlan, ...] = ()
    problems: tuple[Problem, ...] = ()


def plan_pools(
    model_pools: Iterable[Stored[ModelPoolSpec]],
    inference_pools: Iterable[Stored[InferencePoolSpec]],
    *,
    serve_picked: bool = False,
) -> Pools:
    """Every pool that is served.

    Args:
        model_pools: All of them.
        inference_pools: All of them; none where their CRD is not installed.
        serve_picked: Serve InferencePools of their own even where they have an endpoint picker.
    """
    problems: list[Problem] = []
    plans: list[PoolPlan] = []
    inference = {(item.namespace, item.name): item for item in inference_pools}
    referred = set()
    for pool in model_pools:
        problems += invalid(Kind.MODEL_POOL, pool.namespace, pool.name, pool.problems)
        if pool.spec is None or pool.deleted:
            continue
        source: Stored[InferencePoolSpec] | None = None
        if pool.spec.inference_pool_ref is not None:
            name = (pool.namespace, pool.spec.inference_pool_ref.name)
            referred.add(name)
            source = inference.get(name)
            if source is None or source.spec is None or source.deleted:
                problems.append(_no_source(pool, name[1]))
                continue
        plans.append(_plan(pool, pool.spec, None if source is None else source.spec))
    for name, item in inference.items():
        problems += invalid(Kind.INFERENCE_POOL, item.namespace, item.name, item.problems)
        if item.spec is None or item.deleted or name in referred:
            continue
        if item.spec.endpoint_picker_ref is None or serve_picked:
            plans.append(_plain(item, item.spec))
    return Pools(tuple(sorted(plans, key=lambda plan: plan.age)), tuple(problems))


def with_key(plan: PoolPlan, secrets: Secrets) -> tuple[PoolPlan | None, Problem | None]:
    """The plan with its key; ``None`` while nobody knows yet whether there is one.

    A Secret that is gone takes its key away: the pods will say that one is missing.
    """
    name = plan.key_name
    if name is None or plan.key_ref is None:
        return plan, None
    secret = secrets.get(name, Secret())
    if secret.readable is Readable.UNKNOWN:
        return None, None
    try:
        key = one_key(secret, plan.key_ref)
    except UnusableSecret as error:
        ref = plan.ref
        return plan, Problem(ref.kind.value, ref.namespace, ref.name, str(error))
    return replace(plan, api_key=key), None


def _plan(
    pool: Stored[ModelPoolSpec], spec: ModelPoolSpec, source: InferencePoolSpec | None
) -> PoolPlan:
    selector = spec.selector if source is None else source.selector
    ports = spec.target_ports if source is None else source.target_ports
    return PoolPlan(
        ref=PoolRef(pool.namespace, Kind.MODEL_POOL, pool.name),
        created=pool.created,
        selector=frozenset(({} if selector is None else selector.match_labels).items()),
        ports=tuple(port.number for port in ports),
        tls=spec.scheme is Scheme.HTTPS,
        base_path=spec.base_path,
        max_in_flight=spec.max_in_flight_per_endpoint,
        key_ref=spec.api_key_secret_ref,
        aliases=spec.aliases,
        fallbacks=spec.fallbacks,
    )


def _plain(pool: Stored[InferencePoolSpec], spec: InferencePoolSpec) -> PoolPlan:
    return PoolPlan(
        ref=PoolRef(pool.namespace, Kind.INFERENCE_POOL, pool.name),
        created=pool.created,
        selector=frozenset(spec.selector.match_labels.items()),
        ports=tuple(port.number for port in spec.target_ports),
    )


def _no_source(pool: Stored[ModelPoolSpec], name: str) -> Problem:
    message = f"inferencePoolRef: InferencePool {name} does not exist or is not valid"
    return Problem(Kind.MODEL_POOL.value, pool.namespace, pool.name, message)
