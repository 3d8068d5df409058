"""From what the tuner decides to a goal, and from a look back to the tuner. Pure."""

from alise_operator.canary.arguments import Argument
from alise_operator.canary.plan import Look, State
from alise_operator.canary.seen import Goal
from alise_operator.canary.workload import Setting
from alise_operator.tuning.observed import GateResult
from alise_operator.tuning.plan import SetDtype
from alise_operator.tuning.platforms import EXACT, same_dtype

KV_CACHE_DTYPE = Argument("--kv-cache-dtype")
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


def dtype_of(name: str) -> str:
    """The dtype of a goal with this name; empty where it is about something else."""
    head, _, dtype = name.partition("=")
    return dtype if head == str(KV_CACHE_DTYPE) else ""


def gate_result(look: Look) -> GateResult | None:
    """What is known of the dtype that the look is about; ``None`` as long as nothing is."""
    dtype = dtype_of(look.about)
    if not dtype:
        return None
    if look.judged is not None:
        return GateResult(dtype, look.judged.passed, look.judged.text)
    if look.state is State.REFUSED or (look.degraded and look.state in _GOING_BACK):
        return GateResult(dtype, passed=False, text=look.text)
    return None
