"""Which endpoints there are: pods and plans in, endpoints out, kept up one change at a time. Pure.

Each change costs what it touches: a pod's is compared with the plans of its namespace, a plan's
with the pods. The outcome is what a look at everything at once would give.

A pod is an endpoint from when it is ready for the first time until it leaves. One that loses
readiness meanwhile stays, and is not ready: it gets nothing new, what it is busy with may finish,
and what was learned of it is kept for when it recovers.

Where two pools, or two pods, claim the same address, the older pool's (then the younger pod's)
claim counts: an address that is used again belongs to who got it last.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from alise_cluster.pods import endpoint_name
from alise_core.crds.governing import PoolRef
from alise_gateway.discovery.kubernetes.pods import Pod
from alise_gateway.discovery.kubernetes.pools import PoolPlan
from alise_gateway.discovery.kubernetes.problems import Problem

_PodKey = tuple[str, str]
_Claim = tuple[PoolRef, _PodKey]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One address where requests can be sent.

    Attributes:
        name: As logs and metrics show it: ``POD_IP:PORT`` and the base path.
        host: IP address.
        port: TCP port.
        tls: It is spoken to in TLS.
        base_path: Prefix of every request path.
        api_key: What it demands.
        max_in_flight: Requests that it is given at a time, by all gateways.
        pool: To which it belongs.
        pod: Namespace and name of the pod.
        uid: Of the pod.
        is_ready: It may be given new requests.
    """

    name: str
    host: str
    port: int
    tls: bool
    base_path: str
    api_key: str | None = field(repr=False)
    max_in_flight: int
    pool: PoolRef
    pod: tuple[str, str]
    uid: str
    is_ready: bool

    @property
    def pool_name(self) -> str:
        """For people."""
        return f"{self.pool.kind.value} {self.pool.namespace}/{self.pool.name}"


class ClusterView:
    """See the module."""

    def __init__(self) -> None:
        self._pods: dict[str, dict[str, Pod]] = {}
        self._was_ready: dict[_PodKey, str] = {}
        self._plans: dict[PoolRef, PoolPlan] = {}
        self._plans_in: dict[str, list[PoolPlan]] = {}
        self._claims: dict[str, dict[_Claim, Endpoint]] = {}
        self._by_pod: dict[_PodKey, set[tuple[str, _Claim]]] = {}
        self._contested: set[str] = set()
        self._changed: set[str] = set()

    def put_pod(self, pod: Pod) -> None:
        """A pod is as it is now."""
        key = (pod.namespace, pod.name)
        self._pods.setdefault(pod.namespace, {})[pod.name] = pod
        if pod.is_ready:
            self._was_ready[key] = pod.uid
        self._claim_for(pod, self._plans_in.get(pod.namespace, ()))

    def remove_pod(self, namespace: str, name: str) -> None:
        """A pod is gone."""
        self._pods.get(namespace, {}).pop(name, None)
        self._was_ready.pop((namespace, name), None)
        self._drop_claims((namespace, name))

    def set_plans(self, plans: Iterable[PoolPlan]) -> None:
        """All pools are as they are now."""
        found = {plan.ref: plan for plan in plans}
        touched = {
            ref.namespace
            for ref in found.keys() | self._plans.keys()
            if found.get(ref) != self._plans.get(ref)
        }
        self._plans = found
        self._plans_in = {}
        for plan in found.values():
            self._plans_in.setdefault(plan.ref.namespace, []).append(plan)
        for namespace in touched:
            plans_here = self._plans_in.get(namespace, ())
            for pod in self._pods.get(namespace, {}).values():
                self._claim_for(pod, plans_here)

    @property
    def pods(self) -> int:
        """Pods that are known, of all kinds."""
        return sum(len(pods) for pods in self._pods.values())

    @property
    def plans(self) -> Mapping[PoolRef, PoolPlan]:
        """All pools."""
        return self._plans

    def endpoint(self, name: str) -> Endpoint | None:
        """Whoever has an address now."""
        claims = self._claims.get(name)
        if not claims:
            return None
        # The youngest pod first, then, stably, the oldest pool.
        young = sorted(claims, key=self._pod_age, reverse=True)
        return claims[min(young, key=lambda claim: self._plans[claim[0]].age)]

    def endpoints(self) -> dict[str, Endpoint]:
        """All of them, by name."""
        found = {name: self.endpoint(name) for name in self._claims}
        return {name: endpoint for name, endpoint in found.items() if endpoint is not None}

    def take_changed(self) -> set[str]:
        """Names of endpoints that may differ from what they were when this was asked last."""
        changed, self._changed = self._changed, set()
        return changed

    def problems(self) -> list[Problem]:
        """Addresses that several pools claim."""
        found = []
        for name in sorted(self._contested):
            winner = self.endpoint(name)
            for (ref, _), endpoint in self._claims[name].items():
                if winner is not None and ref != winner.pool:
                    message = f"pod {endpoint.pod[1]} belongs to {winner.pool.name} already"
                    found.append(Problem(ref.kind.value, ref.namespace, ref.name, message))
        return sorted(set(found))

    def _claim_for(self, pod: Pod, plans: Iterable[PoolPlan]) -> None:
        key = (pod.namespace, pod.name)
        self._drop_claims(key)
        is_endpoint = pod.address and not pod.is_leaving and self._was_ready.get(key) == pod.uid
        if not is_endpoint:
            return
        labels = pod.labels.items()
        mine: set[tuple[str, _Claim]] = set()
        for plan in plans:
            if plan.selector and plan.selector <= labels:
                for port in plan.ports:
                    endpoint = _endpoint(pod, plan, port)
                    claim = (plan.ref, key)
                    self._claims.setdefault(endpoint.name, {})[claim] = endpoint
                    mine.add((endpoint.name, claim))
                    self._touch(endpoint.name)
        if mine:
            self._by_pod[key] = mine

    def _drop_claims(self, key: _PodKey) -> None:
        for name, claim in self._by_pod.pop(key, ()):
            claims = self._claims[name]
            del claims[claim]
            if not claims:
                del self._claims[name]
            self._touch(name)

    def _touch(self, name: str) -> None:
        self._changed.add(name)
        pools = {ref for ref, _ in self._claims.get(name, ())}
        if len(pools) > 1:
            self._contested.add(name)
        else:
            self._contested.discard(name)

    def _pod_age(self, claim: _Claim) -> tuple[str, str]:
        namespace, name = claim[1]
        return (self._pods[namespace][name].created, name)


def _endpoint(pod: Pod, plan: PoolPlan, port: int) -> Endpoint:
    return Endpoint(
        name=f"{endpoint_name(pod.address, port)}{plan.base_path}",
        host=pod.address,
        port=port,
        tls=plan.tls,
        base_path=plan.base_path,
        api_key=plan.api_key,
        max_in_flight=plan.max_in_flight,
        pool=plan.ref,
        pod=(pod.namespace, pod.name),
        uid=pod.uid,
        is_ready=pod.is_ready,
    )
