"""What stands in a policy's status of one pool, as an explanation for a person. Pure.

The status holds what was decided and what is remembered; how long a wait still lasts follows from
that, the policy and the time. The same arithmetic decides (``pace``), so they cannot differ.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

from alise_core.crds.kv_cache_policy import KVCachePolicySpec, PoolTuningStatus
from alise_operator.tuning.memory import Direction, TunerMemory, memory_of
from alise_operator.tuning.pace import calm_needed, changes_within
from alise_operator.tuning.settings import Knob, Value

SILENT_SECONDS = 180.0
"""The status is written once a minute even where only figures move."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Something that is not done before a time is over.

    Attributes:
        what: In words.
        left_seconds: From now on.
    """

    what: str
    left_seconds: float


@dataclass(frozen=True, slots=True)
class Explanation:
    """How one pool stands.

    Attributes:
        namespace: Of the pool.
        pool: Its name.
        policy: The one that governs it.
        mode: Of the policy.
        seen_seconds_ago: Since figures were trusted last; ``None`` where they never were.
        pressure: Of the pool then.
        high: From this pressure on room is made.
        low: Below it room is given back.
        rung: The dearest setting that is not at its base.
        decision: What was decided then, with the figures behind it.
        waiting_for: Why nothing is done; empty where something is.
        considered: What could be changed and was not, and why.
        notes: Figures that are missing or not trusted.
        settings: What the pool is meant to have, and what it had at first.
        last_action: What was done or recommended last: time, action, reason, command.
        under_way: The change that restarts pods; empty where there is none.
        hot_seconds: For how long there has been pressure.
        calm_seconds: For how long there has been none.
        changes: In the last hour.
        most_changes: That are allowed in an hour.
        wanted_replicas: That are asked for; 0 while none are.
        waits: What has to pass first.
        conditions: Of the policy, type and status with the message; of all its pools together.
    """

    namespace: str
    pool: str
    policy: str
    mode: str
    seen_seconds_ago: float | None
    pressure: float | None
    high: float
    low: float
    rung: str
    decision: str
    waiting_for: str
    considered: tuple[str, ...]
    notes: tuple[str, ...]
    settings: Mapping[str, tuple[Value, Value]]
    last_action: Mapping[str, str]
    under_way: str
    hot_seconds: float
    calm_seconds: float
    changes: int
    most_changes: int
    wanted_replicas: int
    waits: tuple[Wait, ...]
    conditions: tuple[str, ...]

    def as_json(self) -> dict[str, object]:
        """Every field by its name."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Subject:
    """Whom an explanation is about.

    Attributes:
        namespace: Of pool and policy.
        pool: Name.
        policy: Name.
        conditions: Of the policy, as the API server has them.
    """

    namespace: str
    pool: str
    policy: str
    conditions: Sequence[Mapping[str, object]] = ()


def explain(
    subject: Subject, spec: KVCachePolicySpec, line: PoolTuningStatus, now: float
) -> Explanation:
    """The explanation.

    Args:
        subject: Whom it is about.
        spec: Of the policy that governs the pool.
        line: The pool's, in the policy's status.
        now: Unix seconds.
    """
    memory = memory_of(line.memory).caught_up(now, spec.rollback.max_hold_seconds)
    seen = None if memory.trend is None else now - memory.trend.at
    return Explanation(
        namespace=subject.namespace,
        pool=subject.pool,
        policy=subject.policy,
        mode=str(spec.mode),
        seen_seconds_ago=seen,
        pressure=line.pressure,
        high=spec.pressure.high,
        low=spec.pressure.low,
        rung=line.rung or "base",
        decision=line.decision,
        waiting_for=line.waiting_for,
        considered=line.considered,
        notes=line.notes,
        settings=_settings(memory),
        last_action=_last_action(line),
        under_way=_under_way(memory, now),
        hot_seconds=_since(memory.hot_since, now),
        calm_seconds=_since(memory.calm_since, now),
        changes=changes_within(memory, now),
        most_changes=spec.pace.max_changes_per_hour,
        wanted_replicas=line.wanted_replicas,
        waits=tuple(_waits(spec, memory, now)),
        conditions=tuple(_condition(one) for one in subject.conditions),
    )


def _settings(memory: TunerMemory) -> dict[str, tuple[Value, Value]]:
    return {
        str(knob): (memory.desired.value(knob), memory.base.value(knob))
        for knob in Knob
        if memory.desired.value(knob) is not None
    }


def _last_action(line: PoolTuningStatus) -> dict[str, str]:
    action = line.last_action
    if action is None:
        return {}
    found = {
        "time": action.time.isoformat(),
        "action": action.action,
        "reason": action.reason,
    }
    return found | ({} if action.command is None else {"command": action.command})


def _under_way(memory: TunerMemory, now: float) -> str:
    cold = memory.cold
    if cold is None:
        return ""
    why = f"; {cold.why}" if cold.why else ""
    return (
        f"{cold.knob} {cold.before} -> {cold.after}, {cold.phase} for {now - cold.since:.0f} s, "
        f"{cold.done} pods through{why}"
    )


def _waits(spec: KVCachePolicySpec, memory: TunerMemory, now: float) -> Iterator[Wait]:
    newest = max((one.at for one in memory.changes), default=None)
    if newest is not None:
        left = spec.pace.cooldown_seconds - (now - newest)
        yield from _if_left("cooldown: before anything else changes", left)
    for knob in Knob:
        yield from _before_turning_back(knob, spec, memory, now)
    for knob in Knob:
        yield from _before_giving_back(knob, spec, memory, now)
    for hold in memory.holds:
        text = f"{hold.value} failed {hold.failures} times: before it is tried again"
        yield from _if_left(text, hold.until - now)


def _before_turning_back(
    knob: Knob, spec: KVCachePolicySpec, memory: TunerMemory, now: float
) -> Iterator[Wait]:
    for direction in Direction:
        last = memory.last(knob, direction)
        if last is not None:
            left = spec.pace.stabilization_seconds - (now - last.at)
            yield from _if_left(f"{knob} was turned {direction}: before it is turned back", left)


def _before_giving_back(
    knob: Knob, spec: KVCachePolicySpec, memory: TunerMemory, now: float
) -> Iterator[Wait]:
    value = memory.desired.value(knob)
    if memory.calm_since is None or value is None or value == memory.base.value(knob):
        return
    left = calm_needed(knob, memory, spec) - (now - memory.calm_since)
    yield from _if_left(f"calm: before {knob} is given back", left)


def _if_left(what: str, seconds: float) -> Iterator[Wait]:
    if seconds > 0:
        yield Wait(what, seconds)


def _since(at: float | None, now: float) -> float:
    return 0.0 if at is None else now - at


def _condition(raw: Mapping[str, object]) -> str:
    said = f"{raw.get('type')}={raw.get('status')} ({raw.get('reason')})"
    message = str(raw.get("message") or "")
    return f"{said}: {message}" if message else said
