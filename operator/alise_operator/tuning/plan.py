"""What the tuner decided, and why: values that status, Events, metrics and the log are made of."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from alise_operator.tuning.ladder import Step
from alise_operator.tuning.memory import TunerMemory


class Verdict(StrEnum):
    """What kind of decision it is."""

    CHANGE = "change"
    """A setting changes."""
    RECOMMEND = "recommend"
    """A setting would change, and a person is told how."""
    CONVERGE = "converge"
    """Something is not yet as it was decided earlier."""
    HOLD = "hold"
    """Nothing changes."""


class Why(StrEnum):
    """The reason of a decision; names are also reasons of Events and values of a metric's label."""

    PRESSURE = "Pressure"
    FORESEEN = "PressureForeseen"
    CALM = "Calm"
    CAP_TOO_TIGHT = "CapTooTight"
    NOT_AS_DESIRED = "NotAsDesired"
    CANARY = "Canary"
    ROLLING = "Rolling"
    ROLLING_BACK = "RollingBack"
    ROLLED_BACK = "RolledBack"
    ROLLED_OUT = "RolledOut"
    WAITING = "Waiting"
    USER_CHANGED = "UserChanged"
    NO_PRESSURE = "NoPressure"
    NOT_CALM_YET = "NotCalmYet"
    WOULD_RETURN = "PressureWouldReturn"
    COOLING_DOWN = "CoolingDown"
    BUDGET_SPENT = "BudgetSpent"
    STABILIZING = "Stabilizing"
    NOT_HOT_LONG = "NotHotLongEnough"
    NOTHING_LEFT = "NothingLeft"
    AT_BASE = "AtBase"
    PAUSED = "Paused"
    NO_PODS = "NoPods"
    NOT_TRUSTED = "MetricsNotTrusted"


@dataclass(frozen=True, slots=True)
class Tune:
    """Change settings of a running engine: the body of ``POST /alise/tune``. Idempotent."""

    pod: str
    changes: Mapping[str, Mapping[str, int | str]]


@dataclass(frozen=True, slots=True)
class SetDtype:
    """Have pods start with a dtype, one after the other. Idempotent.

    Attributes:
        dtype: vLLM's ``--kv-cache-dtype``.
        most_pods: At most so many; ``None`` is all of them.
    """

    dtype: str
    most_pods: int | None = None


@dataclass(frozen=True, slots=True)
class SetTierBytes:
    """Have pods start with a host tier of another size, and memory for it. Idempotent.

    Attributes:
        tier_bytes: Of each pod's tier.
        before_bytes: With which pods started before the change.
        most_pods: At most so many; ``None`` is all of them.
    """

    tier_bytes: int
    before_bytes: int
    most_pods: int | None = None


Restart = SetDtype | SetTierBytes
"""What restarts pods."""
Action = Tune | Restart


@dataclass(frozen=True, slots=True)
class Plan:
    """One decision.

    Attributes:
        verdict: What kind.
        why: Its reason.
        message: The reason in words, with figures.
        memory: To be kept in the status *before* anything is done.
        actions: To be done; none in mode Recommend.
        step: The step on the ladder that is taken or recommended.
        commands: The same by hand.
        considered: What was not done and why, a line each.
        pressure: Of the pool; ``None`` where its figures are not trusted.
        rung: The dearest setting that is not at its base.
        wanted_replicas: For an autoscaler; never fewer than there are.
        notes: What else a person should know.
    """

    verdict: Verdict
    why: Why
    message: str
    memory: TunerMemory
    actions: tuple[Action, ...] = ()
    step: Step | None = None
    commands: tuple[str, ...] = ()
    considered: tuple[str, ...] = ()
    pressure: float | None = None
    rung: str = "base"
    wanted_replicas: int = 0
    notes: tuple[str, ...] = ()
