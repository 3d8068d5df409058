"""A workload behind an API server, its engines behind HTTP, and an operator that tends the pool.

The controllers are those of ``rolling_workload``; engines show what their pod was started with.
"""

import asyncio
import copy
import json
from collections.abc import Callable, Mapping
from typing import Any

import httpx
import pytest

from alise_cluster.errors import ApiError
from alise_cluster.resources import RawObject
from alise_core.crds.base import SecretRef
from alise_core.crds.governing import PoolRef
from alise_core.crds.names import Kind
from alise_operator.canary.plan import State
from alise_operator.canary.probing import Probing
from alise_operator.canary.restarter import Canaries
from alise_operator.decide.pods import parse_pod
from alise_operator.decide.tuning import TuningReport
from alise_operator.tending import TendedPool
from alise_operator.tuning.engines import Engines
from alise_operator.tuning.platforms import capacity_factor
from alise_operator.tuning.tender import KvTuner
from fakes.clock import FakeClock
from fakes.custom_objects import a_policy, stored
from fakes.rolling_workload import LABELS, Conflict, FakePod, FakeWorkload, Json
from fakes.streamed import streamed

REF = PoolRef("x", Kind.MODEL_POOL, "chat")
KEY = "engine-key"
LOOK_SECONDS = 10.0
POLICY: dict[str, Any] = {
    "mode": "Auto",
    "dtypes": {"platform": "cpu", "ladder": ["auto", "fp8"]},
    "pressure": {"windowSeconds": 30, "horizonSeconds": 10},
    "pace": {"cooldownSeconds": 10, "stabilizationSeconds": 30},
    "canary": {"observeSeconds": 60, "timeoutSeconds": 200},
}
_PAGE = """\
vllm:kv_cache_usage_perc{{engine="0",model_name="m"}} {usage}
vllm:num_requests_running{{engine="0",model_name="m"}} 30
vllm:num_requests_waiting{{engine="0",model_name="m"}} {waiting}
vllm:num_requests_waiting_by_reason{{engine="0",model_name="m",reason="capacity"}} {waiting}
vllm:num_preemptions_total{{engine="0",model_name="m"}} {preempted}
vllm:request_success_total{{engine="0",finished_reason="stop",model_name="m"}} {finished}
vllm:inter_token_latency_seconds_bucket{{engine="0",le="0.05",model_name="m"}} {tokens}
vllm:inter_token_latency_seconds_bucket{{engine="0",le="+Inf",model_name="m"}} {tokens}
vllm:cache_config_info{{block_size="16",cache_dtype="{dtype}",enable_prefix_caching="True",\
engine="0",num_gpu_blocks="101"}} 1.0
"""


class Died(Exception):
    """The operator was killed in the middle of a request."""


class WorkloadServer:
    """As much of an API server as a change needs; ``request`` is that of ``ClusterClient``.

    Attributes:
        budgets: PodDisruptionBudgets as they are listed.
        writes: Methods and paths of all requests that changed something.
        wrote_at: Their numbers among all requests.
        forbidden: Methods that are answered 403.
        dies_at: The number of the request at which the operator is killed, after it was served.
    """

    def __init__(self, world: FakeWorkload) -> None:
        self.world = world
        self.budgets: list[Json] = []
        self.writes: list[str] = []
        self.wrote_at: list[int] = []
        self.forbidden: set[str] = set()
        self.dies_at: int | None = None
        self.asked = 0

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: RawObject | None = None,
        content_type: str = "application/json",
    ) -> RawObject:
        del query, content_type
        if method in self.forbidden:
            raise ApiError(403, "Forbidden", f"cannot {method.lower()}")
        answer = copy.deepcopy(self._answer(method, path.rpartition("/")[2], path, body))
        self.asked += 1
        if self.dies_at is not None and self.asked >= self.dies_at:
            raise Died
        return answer

    def _answer(self, method: str, name: str, path: str, body: RawObject | None) -> RawObject:
        kind = self.world.raw["kind"]
        if method == "GET" and name == "pods":
            return {"items": [self._owned(pod, kind) for pod in self.world.pods]}
        if method == "GET" and name == "rs":
            return {"metadata": {"uid": "rs", **_owner(kind, "engines", "w")}}
        if method == "GET" and name == "poddisruptionbudgets":
            return {"items": self.budgets}
        if method == "GET" and name == "engines":
            found: RawObject = self.world.raw
            return found
        if body is None:
            raise AssertionError(path)
        self.writes.append(f"{method} {path}")
        self.wrote_at.append(self.asked + 1)
        try:
            if method == "PATCH":
                self.world.patch(body)
            else:
                self.world.delete_pod(body["preconditions"]["uid"])
        except Conflict:
            raise ApiError(409, "Conflict", "the object has been modified") from None
        return {}

    def _owned(self, pod: FakePod, kind: str) -> Json:
        raw = pod.raw()
        deployed = kind == "Deployment"
        raw["metadata"] |= _owner("ReplicaSet", "rs", "rs") if deployed else (
            _owner(kind, "engines", "w")
        )  # fmt: skip
        return raw


def _owner(kind: str, name: str, uid: str) -> Json:
    reference = {"apiVersion": "apps/v1", "kind": kind, "name": name, "uid": uid}
    return {"ownerReferences": [{**reference, "controller": True}]}


class EnginesOfPods(httpx.AsyncBaseTransport):
    """Each ready pod's engine, at the address that ends in the pod's number.

    Attributes:
        misread: Dtypes with which an engine answers, and wrongly.
        load: KV that requests need, by what an exact cache has; above 1 some of them wait.
        refuses: Probes get an error.
    """

    def __init__(self, world: FakeWorkload) -> None:
        self.world = world
        self.misread: set[str] = set()
        self.load = 1.4
        self.refuses = False
        self.probed = 0
        self._served: dict[str, int] = {}

    def serve(self) -> None:
        """Ten seconds of work for every engine that is ready."""
        for pod in self.world.pods:
            if pod.ready:
                self._served[pod.uid] = self._served.get(pod.uid, 0) + 1

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        number = request.url.host.rpartition(".")[2]
        pod = next((one for one in self.world.pods if one.uid == f"u{number}" and one.ready), None)
        if pod is None:
            raise httpx.ConnectError("refused")
        if request.url.path == "/metrics":
            return streamed(200, self._page(pod))
        if request.url.path == "/alise/state":
            return self._state(pod)
        if self.refuses or request.headers.get("authorization") != f"Bearer {KEY}":
            return streamed(500, "{}")
        if request.url.path == "/v1/models":
            return streamed(200, json.dumps({"data": [{"id": "m"}]}))
        return streamed(200, json.dumps(self._completion(pod, json.loads(await request.aread()))))

    @staticmethod
    def _state(pod: FakePod) -> httpx.Response:
        """Of a full tier, where the pod is started with one."""
        size = tier_of(pod)
        if size is None:
            return streamed(404, "{}")
        tier = {"level": "none", "eviction": "lru", "capacity_bytes": size, "used_bytes": size}
        return streamed(200, json.dumps({"engines": [{"tier": tier}]}))

    def _page(self, pod: FakePod) -> str:
        served = self._served.get(pod.uid, 0)
        need = self.load / capacity_factor(dtype_of(pod))
        hot = need > 1
        return _PAGE.format(
            usage=min(0.99, need),
            waiting=20 if hot else 0,
            preempted=2 * served if hot else 0,
            finished=10 * served,
            tokens=400 * served,
            dtype=dtype_of(pod),
        )

    def _completion(self, pod: FakePod, body: Json) -> Json:
        self.probed += 1
        if isinstance(body["prompt"], str):
            drawn = list(range(body["max_tokens"]))
            return {"choices": [{"prompt_token_ids": [1, 2, 3], "token_ids": drawn}]}
        likely = -5.0 if dtype_of(pod) in self.misread else -0.7
        scores = [{str(token): {"logprob": likely}} for token in body["prompt"]]
        return {"choices": [{"prompt_logprobs": [None, *scores[1:]]}]}


def dtype_of(pod: FakePod) -> str:
    """As its arguments say."""
    words = pod.template["spec"]["containers"][0]["args"]
    found = [word.partition("=")[2] for word in words if word.startswith("--kv-cache-dtype=")]
    return found[-1] if found else "auto"


def tier_of(pod: FakePod) -> int | None:
    """The size of its tier, as its arguments say."""
    words = pod.template["spec"]["containers"][0]["args"]
    found = [word.partition("=")[2] for word in words if word.startswith("--additional-config=")]
    return json.loads(found[0])["alise"]["tier"]["capacity_bytes"] if found else None


class RestartedPool:
    """The world, the operator in it, and what it told.

    Args:
        kind: Of the workload.
        replicas: Pods.
        starts: Whether a pod with such a template ever gets ready.
        allowed: The operator may change workloads.
        args: Of the pods' container.
        spec: Of the policy, over ``POLICY``.
    """

    def __init__(
        self,
        kind: str = "Deployment",
        replicas: int = 3,
        starts: Callable[[Json], bool] = lambda template: True,
        *,
        allowed: bool = True,
        args: tuple[str, ...] = ("m",),
        **spec: Any,
    ) -> None:
        self.clock = FakeClock()
        self.world = FakeWorkload(kind, replicas, args=args, starts=starts)
        self.server = WorkloadServer(self.world)
        self.engines = EnginesOfPods(self.world)
        self.before = json.dumps(self.world.spec, sort_keys=True)
        self.spec: dict[str, Any] = {**POLICY, **spec}
        self.allowed = allowed
        self.paused = False
        self.paused_pods: set[str] = set()
        self.steps: list[State] = []
        self.events: list[tuple[str, str]] = []
        self.line: Json | None = None
        self.report: TuningReport | None = None
        self.least_ready = replicas
        self.restart()

    def restart(self) -> None:
        """Another operator process: it knows what stands in the status and on the workload."""
        read = Engines(self.clock, 5.0, lambda: httpx.AsyncClient(transport=self.engines))
        probing = Probing(lambda: httpx.AsyncClient(transport=self.engines))
        self.canaries = Canaries(
            self.server,
            probing,
            _read_key,
            self.clock,
            allowed=self.allowed,
            on_step=self.steps.append,
        )
        self.tuner = KvTuner(read, _read_key, self.clock, LOOK_SECONDS, self.canaries)

    @property
    def dtypes(self) -> list[str]:
        return [dtype_of(pod) for pod in self.world.pods]

    def pool(self) -> TendedPool:
        pods = []
        for fake in self.world.pods:
            pod = parse_pod(self._shown(fake))
            assert pod is not None
            pods.append(pod)
        return TendedPool(
            REF,
            stored(Kind.KV_CACHE_POLICY, a_policy("kv", **self.spec)),
            tuple(pods),
            (8000,),
            labels=LABELS,
            api_key=SecretRef(name="engines"),
            paused=self.paused,
            standing=self.line,
        )

    async def publish(self, report: TuningReport) -> None:
        self.line = report.status.model_dump(mode="json", by_alias=True)

    async def killed_at(self, place: int) -> None:
        """The operator dies at this write, counted from the start; another takes over."""
        self.server.dies_at = place
        with pytest.raises(Died):
            await self.look(300)
        await self.canaries.close()
        self.server.dies_at = None
        self.restart()

    async def look(self, times: int = 1) -> TuningReport:
        for _ in range(times):
            self.clock.advance(LOOK_SECONDS)
            self.world.tick()
            self.engines.serve()
            self.least_ready = min(self.least_ready, self.world.ready)
            found = await self.tuner.tend(self.pool(), self.publish)
            await self.publish(found)
            self.events += [(one.reason, one.message) for one in found.announcements]
            await probes_ended()
            self.report = found
        return found

    async def until(self, holds: Callable[[TuningReport], bool], looks: int = 300) -> TuningReport:
        told = []
        for _ in range(looks):
            found = await self.look()
            if holds(found):
                return found
            told.append((found.status.waiting_for, [(f.reason, f.message) for f in found.findings]))
        raise AssertionError((self.dtypes, told[-4:]))

    async def until_step(self, state: State, looks: int = 300) -> TuningReport:
        return await self.until(lambda report: state in self.steps, looks)

    def _shown(self, pod: FakePod) -> Json:
        raw = pod.raw()
        raw["status"]["podIP"] = f"10.0.0.{pod.uid.removeprefix('u')}"
        if pod.name in self.paused_pods:
            raw["metadata"]["annotations"] = {"alise.dev/paused": "true"}
        return raw


async def probes_ended() -> None:
    """Until no round of probes is under way in this loop."""
    rounds = [task for task in asyncio.all_tasks() if task.get_name() == "probes"]
    await asyncio.gather(*rounds, return_exceptions=True)


async def _read_key(namespace: str, ref: SecretRef) -> str | None:
    return KEY if (namespace, ref.name) == ("x", "engines") else None
