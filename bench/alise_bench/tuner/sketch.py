"""A pool of engines with the plugin, in a few numbers: what the tuner sees, and what it changes.

No request is simulated: a look costs microseconds, so that many lives of a pool can be tried.
"""

import random
from collections import Counter
from dataclasses import dataclass, field

from alise_operator.tuning.observed import (
    DemandObserved,
    Doubt,
    DoubtKind,
    GateResult,
    Observed,
    PluginObserved,
    PodObserved,
    Workload,
)
from alise_operator.tuning.plan import Action, SetDtype, SetTierBytes, Tune
from alise_operator.tuning.platforms import capacity_factor, same_dtype

CAPACITY_TOKENS = 100_000
SLOTS = 200
TOKENS_PER_REQUEST = 1_000
TIER_BYTES = 1 << 30
"""That a pod starts with."""


@dataclass
class SketchedPod:
    """One engine.

    Attributes:
        starting: Ticks until it serves; it shows nothing meanwhile.
        used: Fill of its host tier.
        start_bytes: Size of its tier after a restart.
    """

    name: str
    dtype: str = "auto"
    active_requests: int = SLOTS
    level: str = "none"
    eviction: str = "lru"
    tier_bytes: int = TIER_BYTES
    starting: int = 0
    used: float = 1.0
    told: int = 0
    start_bytes: int = TIER_BYTES

    def restart(self, dtype: str, ticks: int) -> None:
        """Everything that was told is forgotten."""
        self.dtype, self.active_requests, self.level = dtype, SLOTS, "none"
        self.eviction, self.tier_bytes, self.starting = "lru", self.start_bytes, ticks


@dataclass
class SketchedPool:
    """Engines that share a load, and what can go wrong with them.

    Attributes:
        load: KV tokens that all requests together need, by the capacity of one exact pod.
        lost: Chance that a pod does not hear what it is told.
        blind: Chance that a pod's figures cannot be trusted at a look.
        gate: What the canary's gate will say; ``None`` says nothing.
        demand: A gateway is heard.
        demand_error: Of what it predicts: the standard deviation of its logarithm, look by look.
        restart_ticks: Until a pod that was begun anew serves.
        plugin: Pods have it.
        chance: Decides what gets lost.
        actions: All that were to be carried out.
        counts: How often a pod did not hear what it was told, and was not trusted.
    """

    pods: list[SketchedPod]
    load: float = 0.5
    lost: float = 0.0
    blind: float = 0.0
    gate: bool | None = True
    demand: bool = False
    demand_error: float = 0.0
    restart_ticks: int = 3
    plugin: bool = True
    chance: random.Random = field(default_factory=lambda: random.Random(1))  # noqa: S311
    actions: list[Action] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    _template: str = "auto"
    _start_bytes: int = TIER_BYTES
    _judged_bytes: int | None = None

    @classmethod
    def of(cls, count: int = 2, **values: object) -> "SketchedPool":
        """So many pods; ``values`` are fields of the pool."""
        return cls([SketchedPod(f"pod-{number}") for number in range(count)], **values)  # type: ignore[arg-type]

    def observe(self) -> Observed:
        """What the tuner sees of it now."""
        share = self.load / len(self.pods)
        demand = None
        if self.demand:
            need = self.load * CAPACITY_TOKENS
            if self.demand_error:
                need *= self.chance.lognormvariate(0.0, self.demand_error)
            demand = DemandObserved(need, need * 1.1, 1.0)
        gate = None
        canary = next((pod for pod in self.pods if pod.dtype != "auto" and not pod.starting), None)
        size = self._judged_bytes
        grown = any(pod.start_bytes == size and not pod.starting for pod in self.pods)
        if grown and self.gate is not None:
            gate = GateResult(str(size), self.gate, "as the test has it")
        elif canary is not None and self.gate is not None:
            gate = GateResult(canary.dtype, self.gate, "as the test has it")
        return Observed(
            "models",
            "chat",
            tuple(self._look(pod, share) for pod in self.pods),
            demand=demand,
            workload=Workload("Deployment", "vllm", tier_bytes=self._start_bytes),
            gate=gate,
        )

    def carry_out(self, actions: tuple[Action, ...]) -> None:
        """Do what was decided, as far as pods hear it."""
        for action in actions:
            self.actions.append(action)
            match action:
                case Tune():
                    self._tune(action)
                case SetDtype():
                    self._set_dtype(action)
                case SetTierBytes():
                    self._set_tier_bytes(action)

    def tick(self) -> None:
        """Pods that start are nearer to serving."""
        for pod in self.pods:
            pod.starting = max(0, pod.starting - 1)

    def scale(self, count: int) -> None:
        """To so many pods: new ones start as they would from the workload's template."""
        del self.pods[count:]
        for number in range(len(self.pods), count):
            pod = SketchedPod(f"pod-{number}", start_bytes=self._start_bytes)
            pod.restart(self._template, self.restart_ticks)
            self.pods.append(pod)

    def named(self, name: str) -> SketchedPod:
        """The pod with this name."""
        return next(pod for pod in self.pods if pod.name == name)

    def _tune(self, action: Tune) -> None:
        pod = self.named(action.pod)
        if self.chance.random() < self.lost or pod.starting:
            self.counts["told in vain"] += 1
            return
        pod.told += 1
        scheduler, tier = action.changes.get("scheduler", {}), action.changes.get("tier", {})
        pod.active_requests = int(scheduler.get("max_active_requests", pod.active_requests))
        pod.level = str(tier.get("level", pod.level))
        pod.eviction = str(tier.get("eviction", pod.eviction))
        pod.tier_bytes = int(tier.get("capacity_bytes", pod.tier_bytes))

    def _set_dtype(self, action: SetDtype) -> None:
        """As a Deployment would: one pod at a time."""
        have = [pod for pod in self.pods if same_dtype(pod.dtype, action.dtype)]
        others = [pod for pod in self.pods if not same_dtype(pod.dtype, action.dtype)]
        if action.most_pods is None:
            self._template = action.dtype
        most = len(self.pods) if action.most_pods is None else action.most_pods
        if others and len(have) < most and not any(pod.starting for pod in self.pods):
            others[0].restart(action.dtype, self.restart_ticks)

    def _set_tier_bytes(self, action: SetTierBytes) -> None:
        """The same."""
        self._start_bytes = action.tier_bytes
        self._judged_bytes = action.tier_bytes if action.most_pods == 1 else None
        have = [pod for pod in self.pods if pod.start_bytes == action.tier_bytes]
        others = [pod for pod in self.pods if pod.start_bytes != action.tier_bytes]
        most = len(self.pods) if action.most_pods is None else action.most_pods
        if others and len(have) < most and not any(pod.starting for pod in self.pods):
            others[0].start_bytes = action.tier_bytes
            others[0].restart(others[0].dtype, self.restart_ticks)

    def _look(self, pod: SketchedPod, share: float) -> PodObserved:
        if pod.starting:
            doubt = Doubt(DoubtKind.MISSING, f"{pod.name} has never answered")
            return PodObserved(pod.name, doubts=(doubt,))
        doubts: tuple[Doubt, ...] = ()
        if self.chance.random() < self.blind:
            self.counts["pods not trusted"] += 1
            doubts = (Doubt(DoubtKind.GAPS, f"{pod.name} was seen for 3 s"),)
        capacity = capacity_factor(pod.dtype)
        wanted = share * CAPACITY_TOKENS / TOKENS_PER_REQUEST
        room = capacity * CAPACITY_TOKENS / TOKENS_PER_REQUEST
        running = min(wanted, pod.active_requests, room)
        plugin = PluginObserved(
            age_seconds=1.0,
            active_requests=pod.active_requests,
            slots=SLOTS,
            level=pod.level,
            eviction=pod.eviction,
            tier_bytes=pod.tier_bytes,
            used_ratio=pod.used,
            evicted_tokens_per_second=1.0 if pod.used >= 1 else 0.0,
        )
        return PodObserved(
            pod.name,
            age_seconds=1.0,
            covered_seconds=30.0,
            usage_ratio=running / room,
            usage_peak_ratio=running / room,
            usage_slope=0.0,
            running=running,
            waiting=max(0.0, wanted - running),
            preemptions_per_second=1.0 if wanted > room and running >= 0.95 * room else 0.0,
            finished_per_second=2.0,
            capacity_tokens=int(capacity * CAPACITY_TOKENS),
            dtype=pod.dtype,
            prefix_caching=True,
            plugin=plugin if self.plugin else None,
            doubts=doubts,
        )
