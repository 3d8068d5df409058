"""Random lives of a pool: whatever the load does, whatever gets lost, looks go on being decided.

A trace is made from its seed alone, so that one which breaks a rule can be had again. What is
remembered goes through its JSON at every look, as if the operator had restarted.
"""

import random
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from alise_bench.tuner.sketch import SketchedPool
from alise_core.crds.kv_cache_policy import KVCachePolicySpec
from alise_operator.tuning.decide import decide
from alise_operator.tuning.memory import TunerMemory, memory_of
from alise_operator.tuning.plan import Plan
from alise_operator.tuning.settings import PoolSettings

TICK_SECONDS = 20.0
SHORT_TICKS, LONG_TICKS = 180, 800
"""An hour, and long enough for rush hours and a night in which everything is given back."""
START = 1_750_000_000.0
TIER = {
    "levels": ["none", "int8", "int4"],
    "evictionPolicies": ["lru", "arc", "ewt"],
    "maxBytes": 4 << 30,
}
_MOST_PODS = 4
_AUTOSCALER_TICKS = 6
"""Until an autoscaler follows: two minutes."""


def policy(**changes: object) -> KVCachePolicySpec:
    """Everything allowed, in mode Auto; ``changes`` are fields of the policy."""
    return KVCachePolicySpec.model_validate(
        {
            "mode": "Auto",
            "activeRequests": {"min": 8},
            "hostTier": TIER,
            "dtypes": {"platform": "cuda-hopper", "ladder": ["auto", "fp8"]},
            **changes,
        }
    )


@dataclass(frozen=True, slots=True)
class Look:
    """One look at the pool.

    Attributes:
        at: Unix seconds.
        pods: That there were.
        plan: What was decided.
        remembered: Of it, once it was written down.
    """

    at: float
    pods: int
    plan: Plan
    remembered: TunerMemory

    @property
    def desired(self) -> PoolSettings:
        """What the pool is meant to have since then."""
        return self.plan.memory.desired


@dataclass
class Trace:
    """One life of a pool. Chances may be changed between two steps.

    Attributes:
        seed: Decides everything else but the fields before ``pool``.
        pods: At the start.
        ticks: Looks, 20 s apart.
        spec: The policy.
        gate: What a canary's gate says; ``None`` says nothing.
        follows: An autoscaler gives the pool the replicas that are asked for.
        kind: Of its load, see ``loads``; drawn where it is ``None``.
        pool: What is looked at.
        kills: Chance that the operator dies between the record of a plan and its last action.
        restarts: Chance that a pod begins anew, between two looks.
        looks: All of them.
        counts: What happened, by name.
    """

    seed: int
    pods: int = 2
    ticks: int = SHORT_TICKS
    spec: KVCachePolicySpec = field(default_factory=policy)
    gate: bool | None = True
    follows: bool = False
    kind: str | None = None
    looks: list[Look] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        chance = random.Random(self.seed)  # noqa: S311
        self.pool = SketchedPool.of(
            self.pods,
            lost=chance.choice([0.0, 0.0, 0.3]),
            blind=chance.choice([0.0, 0.0, 0.2]),
            demand=chance.random() < 0.5,  # noqa: PLR2004
            demand_error=chance.choice([0.0, 0.1, 0.5]),
            gate=self.gate,
            chance=chance,
            counts=self.counts,
        )
        self.kills = chance.choice([0.0, 0.1, 0.5])
        self.restarts = chance.choice([0.0, 0.02])
        self._loads = list(loads(chance, self.ticks, self.pods, self.kind))
        self._chance = chance
        self._now = START
        self._memory = TunerMemory()
        self._asked_for = 0

    def run(self) -> "Trace":
        """All of its ticks."""
        for load in self._loads:
            self.pool.load = load
            self.step()
        return self

    def step(self) -> Plan:
        """One tick, with the load that there is."""
        chance, pool = self._chance, self.pool
        self._now += TICK_SECONDS
        pool.tick()
        if chance.random() < self.restarts:
            self.counts["restarts"] += 1
            victim = chance.choice(pool.pods)
            victim.restart(victim.dtype, pool.restart_ticks)
        plan = decide(self.spec, pool.observe(), self._memory, self._now)
        self._memory = memory_of(plan.memory.to_json())
        self.looks.append(Look(self._now, len(pool.pods), plan, self._memory))
        done = plan.actions
        if plan.actions and chance.random() < self.kills:
            self.counts["killed"] += 1
            done = plan.actions[: chance.randrange(len(plan.actions) + 1)]
        pool.carry_out(done)
        if self.follows:
            self._autoscale(plan.memory.desired.replicas or 0)
        return plan

    def _autoscale(self, wanted: int) -> None:
        """As ``alise_operator_pool_wanted_replicas`` has it: none asked for is as at the start."""
        count = max(self.pods, wanted)
        self._asked_for = 0 if count == len(self.pool.pods) else self._asked_for + 1
        if self._asked_for > _AUTOSCALER_TICKS:
            self.counts["scaled"] += 1
            self.pool.scale(count)


def random_trace(seed: int, **changes: object) -> Trace:
    """A trace whose pool, policy and faults are drawn as well.

    Args:
        seed: Decides everything.
        changes: Of the drawn policy's ``pace``, by their names there.
    """
    chance = random.Random(f"policy {seed}")  # noqa: S311
    pace: Mapping[str, object] = {
        "maxChangesPerHour": chance.randint(1, 12),
        "stabilizationSeconds": chance.choice([300, 600, 600, 1_200]),
        "cooldownSeconds": chance.choice([20, 60, 60, 180]),
    }
    marks = {"high": 0.9, "low": chance.choice([0.3, 0.6, 0.6, 0.85])}
    return Trace(
        seed,
        pods=chance.randint(1, _MOST_PODS),
        ticks=chance.choice([SHORT_TICKS, SHORT_TICKS, LONG_TICKS]),
        spec=policy(pace={**pace, **changes}, pressure=marks, **_restarting(chance)),
        gate=chance.choice([True, True, True, False, None]),
        follows=chance.choice([False, False, True]),
    )


def _restarting(chance: random.Random) -> dict[str, object]:
    """What of a policy restarts pods: dtypes mostly, and sizes of a tier, or those alone."""
    kind = chance.choice(["dtypes", "dtypes", "both", "sizes"])
    found: dict[str, object] = {}
    if kind != "dtypes":
        found["hostTier"] = {**TIER, "sizing": "Restart"}
    if kind == "sizes":
        found["dtypes"] = {}
    return found


def loads(chance: random.Random, ticks: int, pods: int, kind: str | None = None) -> Iterator[float]:
    """By the capacity of one pod: calm, busy and overloaded for random times, noise over it.

    Args:
        chance: Draws them.
        ticks: How many.
        pods: That they are for.
        kind: ``steps``, ``flips``, ``shift``, ``saw`` or ``noise``; drawn where it is ``None``.
    """
    long = ticks > SHORT_TICKS
    kind = kind or chance.choice(["steps", "flips", "shift" if long else "saw", "noise"])
    most, longest = chance.choice([1.2, 2.5]), chance.choice([20, 60, 200])
    level, left = chance.uniform(0, most), 0
    for tick in range(ticks):
        if kind == "steps":
            if left == 0:
                level, left = chance.uniform(0, most), chance.randrange(2, longest)
            left -= 1
        elif kind == "flips":
            # Pressure and calm by turns: what makes a tuner without patience swing.
            if left == 0:
                level, left = 2.0 if level < 1 else 0.1, chance.randrange(2, longest)
            left -= 1
        elif kind == "shift":
            # Rush hours, and a night long enough for everything to be given back.
            level = 0.1 if tick > 120 else 2.2  # noqa: PLR2004
        elif kind == "saw":
            level = 2.2 * ((tick % 40) / 40)
        else:
            level = chance.uniform(0, most)
        yield max(0.0, pods * level * chance.uniform(0.9, 1.1))
