"""The scheduler's settings: at start, and changed while it runs."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from math import isfinite
from types import MappingProxyType

from alise_core.errors import ConfigError
from alise_vllm.ordering.policies import Guard, Policy, PolicyName, policy_of
from alise_vllm.ordering.preemption import Limits

_MOST_SECONDS = 86_400.0


@dataclass(frozen=True, slots=True)
class OrderingSettings:
    """What the order obeys.

    Attributes:
        policy: What a request costs.
        recalibrate: Predictions are put right by the answers that have ended.
        preemption_limit: c of limited preemption, from 0 (nobody gives way) to 1: the share of
            the expected answer up to which one gives way. TRAIL's best of 0.2 to 1 is 0.8, with no
            margin; with one, what is nearly done is seldom worth its place (docs/design/0010).
        margin: By how much cheaper a request has to be than the one that gives way to it.
        max_preemptions: Times that one request gives way, those that memory forced included.
        aging_halving_seconds: Age that halves a cost; 0 is never. Source: TIE, 0.9 in 30 s.
        starvation_seconds: Nobody goes ahead for having waited before; not for ``mlfq``, which has
            3 s. Source of 30: TIE's aging; guards of a few seconds undo the order.
        starvation_factor: ... nor before so many times its own predicted service.
        max_active_requests: Requests that run at once; None is what vLLM was started with.
    """

    policy: PolicyName = PolicyName.GITTINS
    recalibrate: bool = True
    preemption_limit: float = 0.9
    margin: float = 0.5
    max_preemptions: int = 2
    aging_halving_seconds: float = 200.0
    starvation_seconds: float = 30.0
    starvation_factor: float = 10.0
    max_active_requests: int | None = None

    @property
    def limits(self) -> Limits:
        """Of preemption."""
        return Limits(self.preemption_limit, self.margin, self.max_preemptions)

    def make_policy(self) -> Policy:
        """The policy, with its constants."""
        guard = Guard(self.starvation_seconds, self.starvation_factor)
        return policy_of(self.policy, guard, self.aging_halving_seconds)

    def as_json(self) -> dict[str, object]:
        """By name, with the policy's name as a string."""
        return {**asdict(self), "policy": str(self.policy)}


def changed(settings: OrderingSettings, changes: Mapping[str, object]) -> OrderingSettings:
    """Settings with some replaced; for what a server is started with, replace the defaults.

    Raises:
        ConfigError: A name is unknown or a value wrong; with name, value and remedy.
    """
    for name in changes:
        if name not in _CHECKS:
            known = ", ".join(_CHECKS)
            raise ConfigError(f"there is no setting {str(name)[:80]!r}; there are {known}")
    return replace(settings, **{name: _CHECKS[name](name, changes[name]) for name in changes})  # type: ignore[arg-type]


def _wrong(name: str, value: object, remedy: str) -> ConfigError:
    return ConfigError(f"{name} is {str(value)[:80]!r} and has to be {remedy}")


def _policy(name: str, value: object) -> PolicyName:
    if not isinstance(value, str) or value not in set(PolicyName):
        raise _wrong(name, value, f"one of {', '.join(PolicyName)}")
    return PolicyName(value)


def _switch(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise _wrong(name, value, "true or false")
    return value


def _number(most: float) -> Callable[[str, object], float]:
    def check(name: str, value: object) -> float:
        fits = isinstance(value, int | float) and not isinstance(value, bool)
        if not fits or not 0 <= value <= most or not isfinite(value):  # type: ignore[operator,arg-type]
            raise _wrong(name, value, f"a number from 0 to {most:g}")
        return float(value)  # type: ignore[arg-type]

    return check


def _halving(name: str, value: object) -> float:
    found = _number(_MOST_SECONDS)(name, value)
    if 0 < found < 1:
        raise _wrong(name, value, "0, for no aging, or at least 1")
    return found


def _whole(least: int, most: int) -> Callable[[str, object], int]:
    def check(name: str, value: object) -> int:
        if type(value) is not int or not least <= value <= most:
            raise _wrong(name, value, f"a whole number from {least} to {most}")
        return value

    return check


_CHECKS: Mapping[str, Callable[[str, object], object]] = MappingProxyType(
    {
        "policy": _policy,
        "recalibrate": _switch,
        "preemption_limit": _number(1.0),
        "margin": _number(100.0),
        "max_preemptions": _whole(0, 1_000),
        "aging_halving_seconds": _halving,
        "starvation_seconds": _number(_MOST_SECONDS),
        "starvation_factor": _number(1_000.0),
        "max_active_requests": _whole(1, 1_000_000),
    }
)
