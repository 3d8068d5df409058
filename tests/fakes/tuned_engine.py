"""Engines behind HTTP, with the plugin's own panel, scheduler part and tier: answers are real ones.

An ``httpx`` transport; the figures of the metrics page are those of the test.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

import httpx

from alise_vllm.control.panel import Panel, Refused
from alise_vllm.control.replies import Reply, error
from alise_vllm.ordering.order import RequestOrder
from alise_vllm.ordering.settings import OrderingSettings
from alise_vllm.ordering.work import Work
from alise_vllm.scheduler_part import SchedulerPart
from alise_vllm.tier.eviction import Arc, Lru, Policy
from alise_vllm.tier.ewt import Ewt, Waits
from alise_vllm.tier.settings import Bounds, TierSettings
from alise_vllm.tier.tuning import Tier
from fakes.streamed import streamed
from fakes.tier import SHAPE

CHUNK = SHAPE.raw_bytes
TOKEN = "tuner-token"
_PAGE = """\
# TYPE vllm:kv_cache_usage_perc gauge
vllm:kv_cache_usage_perc{{engine="0",model_name="m"}} {usage}
vllm:num_requests_running{{engine="0",model_name="m"}} {running}
vllm:num_requests_waiting{{engine="0",model_name="m"}} {waiting}
vllm:num_requests_waiting_by_reason{{engine="0",model_name="m",reason="capacity"}} {waiting}
vllm:num_requests_waiting_by_reason{{engine="0",model_name="m",reason="deferred"}} 0.0
vllm:num_preemptions_total{{engine="0",model_name="m"}} {preemptions}
vllm:request_success_total{{engine="0",finished_reason="stop",model_name="m"}} {finished}
vllm:request_success_total{{engine="0",finished_reason="length",model_name="m"}} 0.0
vllm:time_to_first_token_seconds_bucket{{engine="0",le="1.0",model_name="m"}} {finished}
vllm:time_to_first_token_seconds_bucket{{engine="0",le="+Inf",model_name="m"}} {finished}
vllm:cache_config_info{{block_size="16",cache_dtype="{dtype}",enable_prefix_caching="True",\
engine="0",num_gpu_blocks="{blocks}"}} 1.0
"""


def make_policy(name: str, waits: Waits) -> Policy:
    """As the plugin's adapter does."""
    if name == "ewt":
        return Ewt(waits=waits)
    return Arc() if name == "arc" else Lru()


@dataclass
class Limits:
    """What vLLM's scheduler has."""

    max_num_running_reqs: int = 64
    max_num_active_reqs: int = 64
    works: list[Work] = field(default_factory=list)

    def alise_works(self) -> list[Work]:
        return self.works


class CoreView:
    """The part that cannot be changed."""

    name = "core"

    def __init__(self, limits: Limits) -> None:
        self._limits = limits

    def state(self) -> Mapping[str, object]:
        return {"max_running": self._limits.max_num_running_reqs, "running": 1, "waiting": 0}

    def plan(self, changes: Mapping[str, object]) -> object:
        raise Refused("it is there to be looked at")


@dataclass
class TunedEngine:
    """One engine; set its figures.

    Attributes:
        silent: Nothing answers.
        blocks: As vLLM's page has it; ``None`` before it knows.
        lies: ``/alise/tune`` says yes and changes nothing.
        told: Bodies of ``/alise/tune`` that were accepted.
    """

    usage: float = 0.5
    running: float = 30.0
    waiting: float = 0.0
    preemptions: float = 0.0
    finished: float = 0.0
    dtype: str = "auto"
    blocks: str = "101"
    plugin: bool = True
    silent: bool = False
    lies: bool = False
    foreign: bool = False
    told: list[dict[str, object]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.start()

    def start(self) -> None:
        """As after a restart: settings of the start, counters at nothing."""
        self.limits = Limits()
        self.preemptions = self.finished = 0.0
        bounds = Bounds(SHAPE, workers=1, most_bytes=1_000 * CHUNK)
        self.tier = Tier(TierSettings(capacity_bytes=20 * CHUNK), bounds, 16, make_policy)
        self.order = RequestOrder(OrderingSettings())
        part = SchedulerPart(self.order, self.limits)
        self.panel = Panel([CoreView(self.limits), part, self.tier])  # type: ignore[list-item]

    def page(self) -> str:
        if self.foreign:
            return "sglang:num_running_reqs 3\n"
        return _PAGE.format(
            usage=self.usage,
            running=self.running,
            waiting=self.waiting,
            preemptions=self.preemptions,
            finished=self.finished,
            dtype=self.dtype,
            blocks=self.blocks,
        )

    def tune(self, body: bytes) -> Reply:
        changes = json.loads(body)
        if self.lies:
            return Reply(200, {"engines": [changes]})
        try:
            changed = self.panel.plan(changes)()
        except Refused as refused:
            return error(400, str(refused), code="invalid_change", param=refused.param)
        self.told.append(changes)
        return Reply(200, {"engines": [changed]})


class EngineNet(httpx.AsyncBaseTransport):
    """Engines by host."""

    def __init__(self, **engines: TunedEngine) -> None:
        self.engines = engines
        self.asked: list[str] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        engine = self.engines.get(request.url.host.replace(".", "_").replace("10_", "e10_", 1))
        self.asked.append(f"{request.method} {request.url.path}")
        if engine is None or engine.silent:
            raise httpx.ConnectError("refused")
        path = request.url.path
        if path == "/metrics":
            return streamed(200, engine.page())
        if not engine.plugin:
            return streamed(404, '{"detail": "Not Found"}')
        if request.headers.get("authorization") != f"Bearer {TOKEN}":
            return streamed(401, '{"error": {"message": "no token"}}')
        if path == "/alise/state":
            return streamed(200, json.dumps({"engines": [engine.panel.state()]}))
        reply = engine.tune(await request.aread())
        return streamed(reply.status, json.dumps(reply.content))
