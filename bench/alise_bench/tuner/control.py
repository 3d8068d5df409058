"""What looks at the simulated pool: a recorder, and with it the operator's own decision.

The figures go the way that they go in a cluster, through ``window``; only scraping and telling are
replaced. What is remembered goes through its JSON at every look, as if the operator had restarted.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import mean

from alise_bench.tuner.day import Asked
from alise_bench.tuner.gateways import predicted_peak
from alise_bench.tuner.pool import PodState, SimPod
from alise_bench.tuner.world import Setup, World
from alise_core.crds.kv_cache_policy import KVCachePolicySpec
from alise_operator.tuning.decide import decide
from alise_operator.tuning.memory import Phase, memory_of
from alise_operator.tuning.observed import (
    DemandObserved,
    GateResult,
    Observed,
    PodObserved,
    Workload,
)
from alise_operator.tuning.plan import Action, Plan, SetDtype, Tune, Verdict
from alise_operator.tuning.settings import PoolSettings
from alise_operator.tuning.window import PodWindow

AHEAD_SECONDS = 10_800.0
"""How far the oracle sees: a canary, its watch and three more restarts take up to an hour."""


@dataclass(frozen=True, slots=True)
class Moment:
    """The pool at one look.

    Attributes:
        at: Seconds of the day.
        usage: Share of KV blocks held, mean of the serving pods.
        waiting: Requests outside all batches.
        preemptions: Since the day's begin.
        serving: Pods that take requests.
        packed: Pods with a smaller dtype.
        rung: The dearest setting that is not at its base.
        pressure: As the tuner sees it; ``None`` without it, or where it trusts nothing.
    """

    at: float
    usage: float
    waiting: int
    preemptions: int
    serving: int
    packed: int
    rung: str = "base"
    pressure: float | None = None


@dataclass(frozen=True, slots=True)
class Changed:
    """One change that was made.

    Attributes:
        at: Seconds of the day.
        message: The plan's.
    """

    at: float
    message: str


@dataclass(slots=True)
class Recorder:
    """Looks, and changes nothing."""

    moments: list[Moment] = field(default_factory=list)

    def look(self, world: World, now: float) -> None:
        """See ``World.look``."""
        self.record(world, now, None)

    def record(self, world: World, now: float, plan: Plan | None) -> None:
        """Note the moment."""
        serving = [pod for pod in world.pods if pod.state is PodState.SERVING]
        loads = [pod.engine.held_tokens / pod.engine.profile.kv_tokens for pod in serving]
        self.moments.append(
            Moment(
                at=now,
                usage=mean(loads) if loads else 0.0,
                waiting=sum(pod.engine.waiting for pod in world.pods),
                preemptions=sum(pod.preemptions for pod in world.pods),
                serving=len(serving),
                packed=sum(pod.dtype != "auto" for pod in world.pods),
                rung="base" if plan is None else plan.rung.partition("=")[0],
                pressure=None if plan is None else plan.pressure,
            )
        )


@dataclass(slots=True)
class Tuned:
    """Looks, decides and acts.

    Attributes:
        spec: The policy.
        setup: Of the world.
        coming: KV tokens needed at each look, for the oracle; ``None`` for the tuner.
        alone: No gateway is heard.
        changes: What was changed.
        settings: What was desired, at each look.
    """

    spec: KVCachePolicySpec
    setup: Setup
    coming: Sequence[float] | None = None
    alone: bool = False
    recorder: Recorder = field(default_factory=Recorder)
    changes: list[Changed] = field(default_factory=list)
    settings: list[tuple[float, PoolSettings]] = field(default_factory=list)
    _windows: dict[str, PodWindow] = field(default_factory=dict)
    _text: str = ""

    def look(self, world: World, now: float) -> None:
        """See ``World.look``."""
        memory = memory_of(self._text)
        gate = None
        if memory.cold is not None and memory.cold.phase is Phase.CANARY:
            gate = self._gate(world, memory.cold.after, now)
        pods = tuple(self._observe(pod, now) for pod in world.pods)
        observed = Observed(
            "sim",
            "pool",
            pods,
            demand=self._demand(world, now),
            workload=Workload("Deployment", "vllm"),
            gate=gate,
        )
        plan = decide(self.spec, observed, memory, now)
        self._text = plan.memory.to_json()
        if plan.verdict is Verdict.CHANGE:
            self.changes.append(Changed(now, plan.message))
        self.settings.append((now, plan.memory.desired))
        for action in plan.actions:
            self._act(world, action)
        self.recorder.record(world, now, plan)

    def _observe(self, pod: SimPod, now: float) -> PodObserved:
        window = self._windows.get(pod.name)
        if window is None:
            seconds = self.spec.pressure.window_seconds
            window = self._windows[pod.name] = PodWindow(pod.name, seconds, self.setup.look_seconds)
        if pod.state is not PodState.STARTING:
            window.add(pod.sample(now))
        return window.figures(now)

    def _demand(self, world: World, now: float) -> DemandObserved | None:
        if self.alone:
            return None
        if self.coming is None:
            return DemandObserved(*predicted_peak(world, now), age_seconds=0.0)
        place = int(now // self.setup.look_seconds)
        ahead = int(AHEAD_SECONDS // self.setup.look_seconds)
        peak = max(self.coming[place : place + ahead], default=0.0)
        return DemandObserved(peak, peak, age_seconds=0.0)

    def _gate(self, world: World, dtype: str, now: float) -> GateResult | None:
        """A canary passes once it was watched: answers have no quality here."""
        for pod in world.pods:
            watched = now - pod.serving_since
            serves = pod.state is PodState.SERVING and pod.dtype == dtype
            if serves and watched >= self.spec.canary.observe_seconds:
                return GateResult(dtype, True, "watched; quality is not simulated")
        return None

    def _act(self, world: World, action: Action) -> None:
        match action:
            case Tune():
                pod = next(one for one in world.pods if one.name == action.pod)
                scheduler = action.changes.get("scheduler", {})
                tier = action.changes.get("tier", {})
                cap, size = scheduler.get("max_active_requests"), tier.get("capacity_bytes")
                level, eviction = tier.get("level"), tier.get("eviction")
                world.tune(
                    pod,
                    cap=None if cap is None else int(cap),
                    level=None if level is None else str(level),
                    eviction=None if eviction is None else str(eviction),
                    tier_bytes=None if size is None else int(size),
                )
                self._windows[pod.name].add(pod.sample(world.now + 1e-3))
            case SetDtype():
                self._set_dtype(world, action)

    def _set_dtype(self, world: World, action: SetDtype) -> None:
        """One pod at a time, the one with the fewest requests first."""
        have = [pod for pod in world.pods if pod.dtype == action.dtype]
        most = len(world.pods) if action.most_pods is None else action.most_pods
        if len(have) >= most or any(pod.state is not PodState.SERVING for pod in world.pods):
            return
        others = [pod for pod in world.pods if pod.dtype != action.dtype]
        world.drain(min(others, key=lambda pod: len(pod.outstanding)), action.dtype)


def need_ahead(asked: Sequence[Asked], setup: Setup, token_seconds: float) -> list[float]:
    """KV tokens that the day needs at each look, if every request ran at once at a given pace.

    Args:
        asked: With their true lengths.
        setup: Says how often there is a look.
        token_seconds: Between two tokens of one request.
    """
    step = setup.look_seconds
    last = max((item.at + item.output_tokens * token_seconds for item in asked), default=0.0)
    # Held tokens are a jump at the begin, a slope, and a fall at the end: kept as differences.
    size = int(last // step) + 3
    level, slope = [0.0] * size, [0.0] * size
    for item in asked:
        begin = int(item.at // step) + 1
        end = int((item.at + item.output_tokens * token_seconds) // step) + 1
        if begin >= end:
            continue
        level[begin] += item.prompt_tokens
        level[end] -= item.prompt_tokens + (end - begin) * step / token_seconds
        slope[begin] += step / token_seconds
        slope[end] -= step / token_seconds
    held, rate, needs = 0.0, 0.0, []
    for place in range(size):
        held += rate + level[place]
        rate += slope[place]
        needs.append(max(0.0, held))
    return needs
