"""Tends pools: looks at their engines, decides, has that on record, and turns the hot knobs.

What restarts pods is carried out by ``Restarts``, one pod first. Without it, or where it may not or
cannot, the dtype stays as it is in mode Auto; in mode Recommend the command for it is told like any
other.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace

from alise_core.clock import Clock
from alise_core.crds.base import SecretRef
from alise_core.crds.governing import PoolRef
from alise_core.crds.kv_cache_policy import KVCachePolicySpec, TuningMode
from alise_core.errors import AliseError
from alise_operator.decide.pods import Pod, endpoint_names
from alise_operator.decide.tuning import TuningReport
from alise_operator.tending import Publish, TendedPool
from alise_operator.tuning.cold import wanted_starts, watched
from alise_operator.tuning.decide import decide
from alise_operator.tuning.demand import Serving, serving_of, shares_of
from alise_operator.tuning.engines import Address, Engines, EngineSilent
from alise_operator.tuning.memory import TunerMemory, memory_of
from alise_operator.tuning.observed import DemandObserved, Observed, PodObserved, Workload
from alise_operator.tuning.plan import Plan, Tune, Why
from alise_operator.tuning.recording import Decided, Look, decided_of
from alise_operator.tuning.reports import last_action_of, report_of
from alise_operator.tuning.restart_reports import restarting, with_restarts
from alise_operator.tuning.restarts import Engine, Moved, Restarts, Standing
from alise_operator.tuning.window import PodWindow

Predict = Callable[[Mapping[str, float]], Awaitable[DemandObserved | None]]
"""Of a pool's parts of models; ``None`` where there is nobody who predicts."""

Record = Callable[[Look], Awaitable[None]]

ReadToken = Callable[[str, SecretRef], Awaitable[str | None]]
"""The admin token in a Secret of a namespace; ``None`` where there is none or it is not shown."""

_AT_ONCE = 16
_QUIET_SECONDS = 60.0
"""A status in which only figures have moved is written this often."""


@dataclass(slots=True)
class _Pool:
    """What is kept of a pool between two looks.

    Attributes:
        windows: By endpoint and incarnation of its engine.
        serving: Models and memory, as of the last look.
        memory: Of the last plan; ``None`` until the status was read.
        told: The last report.
        told_why: The reason of its plan.
        told_at: When it was made.
        decided: What was decided last; ``None`` at first.
    """

    windows: dict[str, PodWindow] = field(default_factory=dict)
    serving: Serving = field(default_factory=Serving)
    memory: TunerMemory | None = None
    told: TuningReport | None = None
    told_why: Why | None = None
    told_at: float = 0.0
    decided: Decided | None = None


@dataclass(frozen=True, slots=True)
class _Endpoint:
    name: str
    key: str
    address: Address
    pod: Pod


class KvTuner:
    """Implements ``alise_operator.tending.Tuner``.

    Args:
        engines: Asks them.
        read_token: Of a pool's Secret.
        clock: Time.
        interval_seconds: Between two looks at a pool.
        restarts: Changes how pods are started; ``None`` where nothing does.

    Attributes:
        predict: What the gateways predict for pods that serve these models.
        record: Is given every look.
        on_decided: Told what was decided at every look.
        on_news: Given a look that was decided otherwise than the one before.
    """

    def __init__(
        self,
        engines: Engines,
        read_token: ReadToken,
        clock: Clock,
        interval_seconds: float,
        restarts: Restarts | None = None,
    ) -> None:
        self._engines = engines
        self._read_token = read_token
        self._clock = clock
        self._interval_seconds = interval_seconds
        self._restarts = restarts
        self._pools: dict[PoolRef, _Pool] = {}
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self.predict: Predict = _nobody_predicts
        self.record: Record = _nobody_records
        self.on_decided: Callable[[Decided], None] = _nobody_counts
        self.on_news: Callable[[Look], None] = _nobody_tells

    async def tend(self, pool: TendedPool, publish: Publish) -> TuningReport:
        """See ``Tuner``."""
        spec = pool.policy.spec
        if spec is None:
            raise AliseError(f"{pool.policy.name} has no valid spec")
        kept = self._pools.setdefault(pool.ref, _Pool())
        if kept.memory is None:
            standing = pool.standing or {}
            kept.memory = memory_of(str(standing.get("memory", "")))
        endpoints = await self._endpoints(pool)
        pods = await self._look(kept, endpoints, spec)
        stands = await self._stand(pool, kept.memory)
        allowed, workload = spec, stands.workload
        if not self._can_restart or stands.obstacle:
            allowed, workload = without_restarts(spec, workload, kept.memory)
        observed = Observed(
            pool.ref.namespace,
            pool.ref.name,
            pods,
            workload=workload,
            gate=stands.gate,
            paused=pool.paused,
        )
        observed = await self._with_demand(kept, observed)
        now = self._clock.unix()
        plan = decide(allowed, observed, kept.memory, now)
        await self._say(kept, Look(now, allowed, kept.memory, observed, decided_of(plan)))
        kept.memory = plan.memory
        before = kept.told.status.last_action if kept.told else last_action_of(pool.standing)
        if plan.actions:
            # On record first: whoever comes after us carries the same out.
            await publish(report_of(pool.ref, plan, before, (), now))
        problems = await self._act(kept, endpoints, plan)
        moved = await self._move(pool, plan.memory, self._engines_of(kept, endpoints), spec)
        if moved.looked:
            kept.memory = watched(spec, plan.memory, now)
        plan = restarting(replace(plan, memory=kept.memory), moved)
        report = report_of(pool.ref, plan, before, problems, now)
        report = with_restarts(report, stands, moved, spec, can=self._can_restart)
        return self._told(kept, plan.why, report)

    def let_go(self, pool: PoolRef) -> None:
        """See ``Tuner``."""
        self._pools.pop(pool, None)
        if self._restarts is not None:
            self._restarts.let_go(pool)

    async def close(self) -> None:
        """Close connections to engines."""
        await self._engines.close()

    async def _say(self, kept: _Pool, look: Look) -> None:
        await self.record(look)
        self.on_decided(look.decided)
        if kept.decided is None or kept.decided.essence != look.decided.essence:
            self.on_news(look)
        kept.decided = look.decided

    async def _with_demand(self, kept: _Pool, observed: Observed) -> Observed:
        kept.serving = serving_of(observed)
        others = (pool.serving for pool in self._pools.values() if pool is not kept)
        shares = shares_of(kept.serving, others)
        if shares is None:
            text = (
                "other pools serve its models, too, and whose KV memory is how large is not known"
            )
            return replace(observed, no_demand=text)
        return replace(observed, demand=await self.predict(shares))

    @property
    def _can_restart(self) -> bool:
        return self._restarts is not None and self._restarts.allowed

    async def _stand(self, pool: TendedPool, memory: TunerMemory) -> Standing:
        if self._restarts is None:
            return Standing()
        return await self._restarts.stand(pool, closely=memory.cold is not None)

    async def _move(
        self,
        pool: TendedPool,
        memory: TunerMemory,
        engines: Mapping[str, Engine],
        spec: KVCachePolicySpec,
    ) -> Moved:
        if self._restarts is None:
            return Moved()
        begin = memory.cold is not None and spec.mode is TuningMode.AUTO
        return await self._restarts.move(pool, wanted_starts(memory), engines, begin=begin)

    def _engines_of(self, kept: _Pool, endpoints: list[_Endpoint]) -> dict[str, Engine]:
        """By pod; of several in one pod, which start alike, the first stands for all."""
        found: dict[str, Engine] = {}
        for endpoint in endpoints:
            if endpoint.address.base:
                newest = kept.windows[endpoint.key].newest
                found.setdefault(endpoint.pod.name, Engine(endpoint.address.base, newest))
        return found

    async def _endpoints(self, pool: TendedPool) -> list[_Endpoint]:
        token = None
        if pool.admin_token is not None:
            token = await self._read_token(pool.ref.namespace, pool.admin_token)
        found = []
        for pod in pool.pods:
            for place, port in enumerate(endpoint_names(pod, pool.ports) or ("",)):
                name = pod.name if len(pool.ports) == 1 else f"{pod.name}:{pool.ports[place]}"
                base = f"{pool.scheme}://{port}{pool.base_path}" if port else ""
                key = f"{name} {pod.uid} {pod.restarts}"
                found.append(_Endpoint(name, key, Address(base, token), pod))
        return found

    async def _look(
        self, kept: _Pool, endpoints: list[_Endpoint], spec: KVCachePolicySpec
    ) -> tuple[PodObserved, ...]:
        seconds = spec.pressure.window_seconds
        windows = {}
        for endpoint in endpoints:
            window = kept.windows.get(endpoint.key)
            if window is None or window.window_seconds != seconds:
                window = PodWindow(endpoint.name, seconds, self._interval_seconds)
            windows[endpoint.key] = window
        kept.windows = windows
        await asyncio.gather(*(self._look_at(kept, endpoint) for endpoint in endpoints))
        now = self._clock.now()
        return tuple(
            windows[endpoint.key].figures(now, paused=endpoint.pod.paused) for endpoint in endpoints
        )

    async def _look_at(self, kept: _Pool, endpoint: _Endpoint) -> None:
        if not endpoint.address.base:
            return
        async with self._slots:
            try:
                sample = await self._engines.look(endpoint.address)
            except EngineSilent:
                return  # its figures grow old, and say so
        kept.windows[endpoint.key].add(sample)

    async def _act(self, kept: _Pool, endpoints: list[_Endpoint], plan: Plan) -> tuple[str, ...]:
        """Turn hot knobs; what is read back is the newest sample of each pod."""
        by_name = {endpoint.name: endpoint for endpoint in endpoints}
        tunes = [action for action in plan.actions if isinstance(action, Tune)]
        told = await asyncio.gather(
            *(self._tune(kept, by_name[action.pod], action) for action in tunes)
        )
        return tuple(problem for problem in told if problem)

    async def _tune(self, kept: _Pool, endpoint: _Endpoint, action: Tune) -> str:
        async with self._slots:
            try:
                await self._engines.tune(endpoint.address, action.changes)
            except EngineSilent as silent:
                return f"{action.pod} could not be told: {silent}"
        await self._look_at(kept, endpoint)
        return ""

    def _told(self, kept: _Pool, why: Why, report: TuningReport) -> TuningReport:
        """The report, with the status of before where only figures have moved since."""
        now, last = self._clock.now(), kept.told
        recent = why is kept.told_why and now - kept.told_at < _QUIET_SECONDS
        if last is not None and recent and _alike(last, report):
            return replace(last, announcements=report.announcements, pressure=report.pressure)
        kept.told, kept.told_why, kept.told_at = report, why, now
        return report


async def _nobody_records(look: Look) -> None:
    """Until somebody does."""


def _nobody_counts(decided: Decided) -> None:
    """Until somebody does."""


def _nobody_tells(look: Look) -> None:
    """Until somebody does."""


async def _nobody_predicts(shares: Mapping[str, float]) -> None:
    """Until somebody does."""


def without_restarts(
    spec: KVCachePolicySpec, workload: Workload | None, memory: TunerMemory
) -> tuple[KVCachePolicySpec, Workload | None]:
    """Policy and workload where no pod may be restarted.

    In mode Auto the only dtype is the one that is there, and the tier's size is not to be seen; in
    mode Recommend, where nothing is carried out anyway, they are as they were.
    """
    if spec.mode is TuningMode.RECOMMEND:
        return spec, workload
    ladder = (memory.desired.dtype or spec.dtypes.ladder[0],)
    dtypes = spec.dtypes.model_copy(update={"ladder": ladder})
    unseen = None if workload is None else replace(workload, tier_bytes=None)
    return spec.model_copy(update={"dtypes": dtypes}), unseen


def _alike(one: TuningReport, other: TuningReport) -> bool:
    """They say the same but for figures."""

    def essence(report: TuningReport) -> tuple[object, ...]:
        memory = memory_of(report.status.memory)
        reasons = tuple((found.type, found.status, found.reason) for found in report.findings)
        action = report.status.last_action
        return report.status.rung, action, reasons, memory.desired, memory.cold, memory.changes

    return essence(one) == essence(other)
