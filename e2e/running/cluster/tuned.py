"""A pool under a KVCachePolicy: engines with little memory, and what the operator says of them."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from running.cluster import objects
from running.cluster.api import Api, Object, condition, path_of
from running.cluster.installation import Installation
from running.cluster.rollout import ready_pods
from running.scrape import eventually

RECORD = "alise.dev/canary"
PAUSED = "alise.dev/paused"
CHANGE_SECONDS = 150.0
BLOCKS = 25
"""24 of 16 tokens: four requests of 100 tokens fill an engine's memory."""
QUICK: Object = {
    "dtypes": {"platform": "cpu", "ladder": ["auto", "fp8"]},
    # Gateways keep engines from being overfull: what they fill on average is pressure here.
    "pressure": {"high": 0.3, "low": 0.05, "windowSeconds": 6, "horizonSeconds": 1},
    "pace": {"cooldownSeconds": 1, "stabilizationSeconds": 2, "maxChangesPerHour": 60},
    # How fast engines are that share a machine with everything else is not looked at here.
    "canary": {"observeSeconds": 8, "timeoutSeconds": 120, "gate": {"maxItlRatio": 10}},
}


@dataclass(frozen=True)
class Tuned:
    """One workload, its ModelPool and its policy, all of one name."""

    site: Installation
    name: str
    workload: Object

    @property
    def api(self) -> Api:
        return self.site.api

    @property
    def policy(self) -> Object:
        """As it is now."""
        return self.api.read(path_of(_policy(self.site.namespace, self.name, {})))

    @property
    def now(self) -> Object:
        """The workload as it is now."""
        return self.api.read(path_of(self.workload))

    @property
    def pods(self) -> list[Object]:
        """That serve and are not about to end."""
        return ready_pods(self.api, self.site.namespace, {"app": self.name})

    @property
    def dtypes(self) -> list[str]:
        """With which serving pods were started."""
        return sorted(dtype_of(pod["spec"]) for pod in self.pods)

    @property
    def record(self) -> Object | None:
        """Of the change that is under way."""
        text = self.now["metadata"].get("annotations", {}).get(RECORD)
        found: Object | None = None if text is None else json.loads(text)["underway"]
        return found

    @property
    def line(self) -> Object:
        """Of the pool in the policy's status."""
        lines: list[Object] = self.policy.get("status", {}).get("pools") or [{}]
        return lines[0]

    def events(self) -> list[Object]:
        """About the policy, oldest first."""
        found = self.api.items(f"/api/v1/namespaces/{self.site.namespace}/events")
        own = [one for one in found if one["involvedObject"]["name"] == self.name]
        own = [one for one in own if one["involvedObject"]["kind"] == "KVCachePolicy"]
        return sorted(own, key=_first_seen)

    def set_policy(self, **spec: Any) -> None:
        self.api.patch(path_of(_policy(self.site.namespace, self.name, {})), {"spec": spec})

    def until(
        self, holds: Callable[["Tuned"], bool], what: str, seconds: float = CHANGE_SECONDS
    ) -> None:
        """Wait until something is so; says how it stands where it does not become so."""
        try:
            eventually(lambda: holds(self), seconds, what)
        except AssertionError as error:
            shown = {"line": self.line, "record": self.record, "dtypes": self.dtypes}
            status = self.policy.get("status", {}).get("conditions")
            raise AssertionError(f"{error}; {json.dumps([shown, status], indent=1)}") from None

    def says(self, kind: str) -> Object:
        """A condition of the policy."""
        return condition(self.policy, kind)

    def columns(self) -> Object:
        """The policy as ``kubectl get`` prints it: cells by their headings."""
        table = "application/json;as=Table;v=v1;g=meta.k8s.io"
        path = path_of(_policy(self.site.namespace, self.name, {}))
        found = self.api.request("GET", path, headers={"accept": table}).json()
        names = [column["name"] for column in found["columnDefinitions"]]
        return dict(zip(names, found["rows"][0]["cells"], strict=True))

    def annotate_pool(self, value: str | None) -> None:
        """Pause the tuner at this pool, or not any more."""
        note = {"metadata": {"annotations": {PAUSED: value}}}
        self.api.patch(path_of(objects.model_pool(self.site.namespace, self.name, self.name)), note)

    def rival(self, name: str, **spec: Any) -> Object:
        """Another policy for the same pool."""
        policy = _policy(self.site.namespace, self.name, {**QUICK, **spec})
        policy["metadata"]["name"] = name
        return policy

    def looks(self) -> float:
        """Looks of the tuner so far, at all pools."""
        (pod,) = self.site.pods("operator")
        return self.site.operator_metrics(pod).sum("alise_operator_tuner_looks_total")


@contextmanager
def tune(
    site: Installation,
    name: str,
    replicas: int,
    *,
    kind: str = "Deployment",
    extra: Sequence[str] = (),
    **spec: Any,
) -> Iterator[Tuned]:
    """Create it all, wait until every engine is served, and delete it afterwards."""
    blocks = f"--num-gpu-blocks={BLOCKS}"
    engines = objects.engines(site.cluster, site.namespace, name, replicas, extra=(blocks, *extra))
    if kind == "StatefulSet":
        engines["kind"] = kind
        engines["spec"]["serviceName"] = name
    made = [
        # Not applied: whoever applies a field keeps it, and the operator then leaves it alone.
        engines,
        objects.model_pool(site.namespace, name, name),
        _policy(site.namespace, name, {**QUICK, **spec}),
    ]
    for item in made:
        site.api.create(item)
    try:
        site.wait_for_endpoints(replicas)
        yield Tuned(site, name, engines)
    finally:
        for item in reversed(made):
            site.api.delete(path_of(item), params={"propagationPolicy": "Background"})
        # The next one's engines serve the same model.
        site.wait_for_endpoints(0)


def dtype_of(pod: Object) -> str:
    """Of a pod's spec."""
    words = pod["containers"][0]["args"]
    found = [word.partition("=")[2] for word in words if word.startswith("--kv-cache-dtype=")]
    return found[-1] if found else "auto"


def _policy(namespace: str, name: str, spec: Object) -> Object:
    refs = [{"kind": "ModelPool", "name": name}]
    return objects.alise("KVCachePolicy", namespace, name, {"targetRefs": refs, **spec})


def _first_seen(event: Object) -> str:
    return str(event.get("firstTimestamp") or event["metadata"]["creationTimestamp"])
