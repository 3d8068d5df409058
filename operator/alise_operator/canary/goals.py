"""From what the tuner decides to a goal, and from a look back to the tuner. Pure."""

from collections.abc import Iterable

from alise_operator.canary.arguments import Argument
from alise_operator.canary.plan import Look, State
from alise_operator.canary.record import Underway
from alise_operator.canary.seen import Goal
from alise_operator.canary.workload import Setting, TierSize
from alise_operator.tuning.observed import GateResult
from alise_operator.tuning.plan import Restart, SetDtype, SetTierBytes
from alise_operator.tuning.platforms import EXACT, same_dtype

KV_CACHE_DTYPE = Argument("--kv-cache-dtype")
TIER_BYTES = Argument("--additional-config", ("alise", "tier", "capacity_bytes"))
"""Of the engine plugin. Source: engine/README.md."""
_FP8 = ("fp8", "fp8_e4m3")
_GOING_BACK = frozenset({State.ROLLING_BACK, State.ROLLED_BACK, State.HELD})


def dtype_goal(action: SetDtype) -> Goal:
    """Have pods start with a dtype; towards an exact one without a canary."""
    names: tuple[str, ...] = _FP8 if same_dtype(action.dtype, "fp8") else (action.dtype,)
    same = (*names, None) if action.dtype == "auto" else names
    return Goal(
        name=f"{KV_CACHE_DTYPE}={action.dtype}",
        settings=(Setting(KV_CACHE_DTYPE, action.dtype, same),),
        most_pods=action.most_pods,
        canary=action.dtype not in EXACT,
    )


def tier_goal(action: SetTierBytes) -> Goal:
    """Have pods start with a tier of a size, with memory for it; a smaller one without a canary."""
    size = str(action.tier_bytes)
    return Goal(
        name=f"{TIER_BYTES}={size}",
        settings=(Setting(TIER_BYTES, size),),
        tier=TierSize(action.before_bytes, action.tier_bytes),
        most_pods=action.most_pods,
        canary=action.tier_bytes > action.before_bytes,
    )


def goal_of(action: Restart) -> Goal:
    """Of whatever restarts pods."""
    match action:
        case SetDtype():
            return dtype_goal(action)
        case SetTierBytes():
            return tier_goal(action)


def goal_among(goals: Iterable[Goal], underway: Underway | None) -> Goal | None:
    """The one that a change under way is about; the first one where nothing is under way."""
    for goal in goals:
        if underway is None or _about(goal.name) == _about(underway.name):
            return goal
    return None


def _about(name: str) -> str:
    return name.partition("=")[0]


def value_of(name: str) -> str:
    """The dtype or size of a goal with this name; empty where it is about something else."""
    _, _, value = name.partition("=")
    return value if _about(name) in {str(KV_CACHE_DTYPE), str(TIER_BYTES)} else ""


def gate_result(look: Look) -> GateResult | None:
    """What is known of what the look is about; ``None`` as long as nothing is."""
    value = value_of(look.about)
    if not value:
        return None
    if look.judged is not None:
        return GateResult(value, look.judged.passed, look.judged.text)
    if look.state is State.REFUSED or (look.degraded and look.state in _GOING_BACK):
        return GateResult(value, passed=False, text=look.text)
    return None
