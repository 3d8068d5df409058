"""The pools of a namespace, whichever kind they are, and their endpoints. Pure.

Source: docs/design/0011-kubernetes.md, "Rules that both obey".
"""

from collections.abc import Iterable
from dataclasses import dataclass

from alise_core.crds.book import Stored
from alise_core.crds.governing import PoolRef
from alise_core.crds.inference_pool import InferencePoolSpec
from alise_core.crds.model_pool import EndpointCount, ModelPoolSpec
from alise_core.crds.names import Kind
from alise_operator.decide.pods import Pod, Selection, endpoint_names
from alise_operator.decide.scope import Scope


@dataclass(frozen=True, slots=True)
class Endpoints:
    """How many there are, and which of them may be given work."""

    count: EndpointCount
    ready: tuple[str, ...]


def inference_pool_selection(pool: Stored[InferencePoolSpec]) -> Selection | None:
    """The pods and ports of an InferencePool; ``None`` where its spec is of no use."""
    if pool.spec is None or pool.deleted:
        return None
    ports = tuple(port.number for port in pool.spec.target_ports)
    return Selection(pool.namespace, pool.spec.selector.match_labels, ports)


def selection_of(scope: Scope, spec: ModelPoolSpec) -> Selection | None:
    """The pods of a ModelPool; ``None`` where its InferencePool is missing or of no use."""
    if spec.selector is not None:
        ports = tuple(port.number for port in spec.target_ports)
        return Selection(scope.namespace, spec.selector.match_labels, ports)
    if spec.inference_pool_ref is None:
        return None
    pool = scope.inference_pools.get(spec.inference_pool_ref.name)
    return None if pool is None else inference_pool_selection(pool)


def pool_that_refers_to(scope: Scope, inference_pool: str) -> str | None:
    """The ModelPool through which an InferencePool is served; the first by name of several."""
    return min(
        (
            name
            for name, pool in scope.model_pools.items()
            if pool.spec is not None
            and not pool.deleted
            and pool.spec.inference_pool_ref is not None
            and pool.spec.inference_pool_ref.name == inference_pool
        ),
        default=None,
    )


def stands_alone(scope: Scope, pool: Stored[InferencePoolSpec]) -> bool:
    """Whether gateways serve an InferencePool as a pool of its own."""
    if pool.spec is None or pool.deleted:
        return False
    allowed = scope.serve_picked or pool.spec.endpoint_picker_ref is None
    return allowed and pool_that_refers_to(scope, pool.name) is None


def pools(scope: Scope) -> tuple[PoolRef, ...]:
    """Every pool that a policy can govern, in order."""
    own = [
        PoolRef(scope.namespace, Kind.MODEL_POOL, name)
        for name, pool in scope.model_pools.items()
        if pool.spec is not None and not pool.deleted
    ]
    foreign = [
        PoolRef(scope.namespace, Kind.INFERENCE_POOL, name)
        for name, pool in scope.inference_pools.items()
        if stands_alone(scope, pool)
    ]
    return tuple(sorted(own + foreign, key=lambda ref: (ref.kind.value, ref.name)))


def endpoints(pods: Iterable[Pod], selection: Selection | None) -> Endpoints:
    """Those of a selection: a pod that is on its way out counts as draining, not in the total."""
    if selection is None:
        return Endpoints(EndpointCount(), ())
    mine = list(selection.pods(pods))
    ready = [
        name
        for pod in mine
        if pod.state.is_endpoint
        for name in endpoint_names(pod, selection.ports)
    ]
    draining = sum(pod.state.is_terminating for pod in mine)
    count = EndpointCount(
        total=(len(mine) - draining) * len(selection.ports),
        ready=len(ready),
        draining=draining * len(selection.ports),
    )
    return Endpoints(count, tuple(sorted(ready)))
