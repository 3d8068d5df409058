"""The simulated pods: an engine each, started anew for another KV cache dtype."""

from dataclasses import dataclass, field, replace
from enum import StrEnum

from alise_bench.sim.counted import CountedEngine
from alise_bench.sim.scheduler import SchedulerConfig
from alise_bench.sim.step_model import Profile
from alise_bench.tuner.profiles import with_dtype
from alise_bench.tuner.rows import Start
from alise_bench.tuner.tier import SimTier
from alise_core.units import Seconds
from alise_operator.tuning.samples import Counter, PluginSample, PodSample


class PodState(StrEnum):
    """Where a pod is in its life."""

    SERVING = "serving"
    DRAINING = "draining"
    STARTING = "starting"


@dataclass(slots=True)
class SimPod:
    """One pod.

    Attributes:
        place: Of its engine in the pool; a pod that replaces another one has the same.
        life: How often this place was started.
        outstanding: Requests that were sent to it and are not answered.
        finished: Answered since its engine's start.
        serving_since: Since when it takes requests.
        end: When its engine's step ends, as far as is known.
        deadline: While draining: when what is left is given up.
        gone_preemptions: Of its earlier engines.
    """

    place: int
    dtype: str
    engine: CountedEngine
    tier: SimTier | None
    life: int = 0
    state: PodState = PodState.SERVING
    outstanding: set[int] = field(default_factory=set)
    finished: int = 0
    serving_since: float = 0.0
    end: float | None = None
    deadline: float = 0.0
    gone_preemptions: int = 0
    gone_restored: int = 0
    gone_recomputed: int = 0

    @property
    def name(self) -> str:
        """As Kubernetes would have it: another one after each start."""
        return f"pod-{self.place}-{self.life}"

    @property
    def preemptions(self) -> int:
        """Of all its engines."""
        return self.gone_preemptions + self.engine.preemptions

    @property
    def restored(self) -> int:
        """Tokens that preempted requests found again, of all its engines."""
        return self.gone_restored + (0 if self.tier is None else self.tier.restored_tokens)

    @property
    def recomputed(self) -> int:
        """Tokens that they did not, where there is a tier."""
        return self.gone_recomputed + (0 if self.tier is None else self.tier.recomputed_tokens)

    def sample(self, now: float) -> PodSample:
        """What a scrape of it would show."""
        engine, tier = self.engine, self.tier
        load = engine.observe(Seconds(now))
        counters = {
            Counter.PREEMPTIONS: float(load.reported_preemptions),
            Counter.FINISHED: float(self.finished),
        }
        plugin = None
        if tier is not None:
            written = engine.computed_tokens
            counters[Counter.EVICTED_TOKENS] = tier.pushed_out(written)
            counters[Counter.RESTORED_TOKENS] = float(tier.restored_tokens)
            counters[Counter.RECOMPUTED_TOKENS] = float(tier.recomputed_tokens)
            plugin = PluginSample(
                active_requests=engine.max_active,
                slots=engine.config.max_num_seqs,
                level=tier.level,
                eviction=tier.eviction,
                tier_bytes=tier.capacity_bytes,
                used_bytes=int(tier.used_ratio(written) * tier.capacity_bytes),
            )
        return PodSample(
            at=now,
            usage_ratio=load.usage_ratio,
            running=load.running,
            waiting=load.waiting,
            waiting_for_capacity=load.waiting,
            capacity_tokens=engine.profile.kv_tokens,
            dtype=self.dtype,
            prefix_caching=False,
            counters=counters,
            plugin=plugin,
        )


def make_pod(place: int, start: Start, profile: Profile, slowdown: float) -> SimPod:
    """A pod that serves."""
    engine, tier = _make_engine(start, profile, slowdown)
    return SimPod(place, start.dtype, engine, tier)


def restart(pod: SimPod, start: Start, profile: Profile, slowdown: float) -> None:
    """Give a pod a new engine: what was told to the old one is forgotten."""
    pod.gone_preemptions, pod.gone_restored = pod.preemptions, pod.restored
    pod.gone_recomputed = pod.recomputed
    pod.engine, pod.tier = _make_engine(start, profile, slowdown)
    pod.dtype, pod.life, pod.finished, pod.end = start.dtype, pod.life + 1, 0, None


def _make_engine(
    start: Start, profile: Profile, slowdown: float
) -> tuple[CountedEngine, SimTier | None]:
    profile = with_dtype(profile, start.dtype, slowdown)
    tier = None
    if start.level is not None:
        tier = SimTier(start.level, start.eviction, start.tier_bytes)
    config = replace(SchedulerConfig.for_profile(profile), prefix_caching=False)
    return CountedEngine(config, profile, tier), tier
