"""Carries out what restarts pods: the tuner's wish and the workload in, one step of the plan out.

Implements ``alise_operator.tuning.restarts.Restarts``. What has to outlive the process is in the
record on the workload; here is kept what may be lost: what was read last, and the comparison of a
canary, which a restarted operator begins anew.
"""

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf

from alise_cluster.errors import ClusterError
from alise_core.clock import Clock
from alise_core.crds.base import SecretRef
from alise_core.crds.governing import PoolRef
from alise_core.crds.kv_cache_policy import KVCachePolicySpec
from alise_core.errors import AliseError
from alise_operator.canary.carrying import Cluster, carry_out
from alise_operator.canary.comparison import Comparison
from alise_operator.canary.described import held_text, obstacle, workload_of
from alise_operator.canary.goals import gate_result, goal_among, goal_of
from alise_operator.canary.plan import Look, Measure, State, look
from alise_operator.canary.probing import Pair, Probing
from alise_operator.canary.reading import Sight, WorkloadReader
from alise_operator.canary.record import Record, record_from
from alise_operator.canary.seen import Seen, SeenPod, seen_pod
from alise_operator.canary.words import Refused
from alise_operator.canary.workload import vllm_container
from alise_operator.decide.announcements import Announcement, EventType
from alise_operator.tending import TendedPool
from alise_operator.tuning.observed import GateResult
from alise_operator.tuning.plan import Restart
from alise_operator.tuning.restarts import Engine, Moved, Standing

ReadKey = Callable[[str, SecretRef], Awaitable[str | None]]
"""The engines' API key in a Secret of a namespace; ``None`` where there is none to be had."""

_BELIEVED_SECONDS = 60.0
"""For so long a workload at which nothing is under way is taken to be as it was."""
_TEXT_CHARS = 1_024
_TOLD = {
    State.REFUSED: EventType.WARNING,
    State.WAITING: EventType.NORMAL,
    State.PAUSED: EventType.NORMAL,
    State.CANARY_STARTING: EventType.NORMAL,
    State.OBSERVING: EventType.NORMAL,
    State.PASSED: EventType.NORMAL,
    State.ROLLING: EventType.NORMAL,
    State.ROLLING_BACK: EventType.WARNING,
    State.ABANDONED: EventType.WARNING,
}
"""The ends are told by the tuner, once its own figures say the same."""


@dataclass(slots=True)
class _Pool:
    """What is kept of a pool between two looks.

    Attributes:
        sight: What was read last; ``None`` where that did not work.
        trouble: Why not.
        read_at: When.
        fresh: It was read for this very look.
        gate: Of the last step.
        comparison: Of the canary that is under way.
        problem: Why its last round of probes came to nothing.
        so_far: What its comparison had found at the last look, in words.
        told: What was told last.
    """

    sight: Sight | None = None
    trouble: str = ""
    read_at: float = -inf
    fresh: bool = False
    gate: GateResult | None = None
    comparison: Comparison | None = None
    problem: str = ""
    so_far: str = ""
    told: tuple[str, ...] = ()

    @property
    def record(self) -> Record:
        """On the workload."""
        return (
            Record()
            if self.sight is None
            else record_from(Seen(self.sight.workload, ()).record_text)
        )


class Canaries:
    """See the module.

    Args:
        cluster: Where workloads are.
        probing: Asks engines.
        read_key: Of a pool's Secret.
        clock: Time.
        allowed: The operator may change workloads.
        on_step: Told of every step by the state that it came to.
    """

    def __init__(
        self,
        cluster: Cluster,
        probing: Probing,
        read_key: ReadKey,
        clock: Clock,
        *,
        allowed: bool,
        on_step: Callable[[State], None] = lambda state: None,
    ) -> None:
        self._cluster, self._probing, self._read_key = cluster, probing, read_key
        self._reader = WorkloadReader(cluster)
        self._clock = clock
        self._allowed = allowed
        self._pools: dict[PoolRef, _Pool] = {}
        self.on_step = on_step

    @property
    def allowed(self) -> bool:
        """See ``Restarts``."""
        return self._allowed

    async def stand(self, pool: TendedPool, *, closely: bool) -> Standing:
        """See ``Restarts``."""
        kept = self._pools.setdefault(pool.ref, _Pool())
        old = self._clock.now() - kept.read_at >= _BELIEVED_SECONDS
        if closely or old or kept.record.underway is not None:
            await self._read(pool, kept)
        sight, now = kept.sight, self._clock.unix()
        if sight is None:
            return Standing(gate=kept.gate, obstacle=kept.trouble if pool.pods else "")
        seen = Seen(sight.workload, _pods(sight, kept.record))
        stands = kept.record.underway is not None or not self._allowed
        return Standing(
            workload=workload_of(sight.workload),
            gate=kept.gate,
            obstacle="" if stands else obstacle(_spec(pool), seen, now),
            held=held_text(kept.record, now),
        )

    async def move(
        self,
        pool: TendedPool,
        wanted: Sequence[Restart],
        engines: Mapping[str, Engine],
        *,
        begin: bool,
    ) -> Moved:
        """See ``Restarts``."""
        kept = self._pools.setdefault(pool.ref, _Pool())
        if begin and not kept.fresh:
            await self._read(pool, kept)
        kept.fresh = False
        if not begin and kept.record.underway is None:
            self._forget(pool.ref, kept)
            return Moved()
        sight = kept.sight
        if sight is None:
            return Moved(problem=kept.trouble)
        if not self._allowed:
            text = "the operator is not set up to change workloads (change_workloads)"
            return Moved(problem=f"a change of {sight.owner.name} is under way, and {text}")
        try:
            return await self._step(pool, kept, sight, wanted, engines)
        except (Refused, ClusterError) as error:
            return Moved(problem=f"{sight.owner.kind} {sight.owner.name}: {error}"[:_TEXT_CHARS])

    def let_go(self, pool: PoolRef) -> None:
        """See ``Restarts``."""
        kept = self._pools.pop(pool, None)
        if kept is not None:
            self._forget(pool, kept)

    async def close(self) -> None:
        """End what is under way; workloads stay as they are."""
        await self._probing.close()

    async def _read(self, pool: TendedPool, kept: _Pool) -> None:
        kept.read_at, kept.fresh = self._clock.now(), True
        kept.sight, kept.trouble = None, ""
        try:
            kept.sight = await self._reader.sight(pool.ref.namespace, pool.labels)
        except Refused as refused:
            kept.trouble = str(refused)
        except ClusterError as error:
            kept.trouble = f"what owns the pods cannot be read: {error}"[:_TEXT_CHARS]

    async def _step(
        self,
        pool: TendedPool,
        kept: _Pool,
        sight: Sight,
        wanted: Sequence[Restart],
        engines: Mapping[str, Engine],
    ) -> Moved:
        goal = goal_among(map(goal_of, wanted), kept.record.underway)
        seen = Seen(
            sight.workload,
            _pods(sight, kept.record),
            blocked_by=await self._reader.blocked_by(sight, pool.ref.namespace),
            paused=pool.paused or any(pod.paused for pod in pool.pods),
            so_far=kept.so_far,
        )
        spec, now = _spec(pool), self._clock.unix()
        found = look(spec, goal, seen, now)
        measure = next((one for one in found.effects if isinstance(one, Measure)), None)
        if measure is not None:
            seen = await self._compared(pool, kept, seen, measure, engines)
            found = look(spec, goal, seen, now)
        else:
            self._forget(pool.ref, kept)
        owner = sight.owner
        undone = await carry_out(
            self._cluster, owner.kind, pool.ref.namespace, owner.name, found.effects
        )
        if undone is not None:
            problem = undone.text if undone.lasting else ""
            return Moved(undone.text, looked=True, problem=problem)
        kept.gate = gate_result(found)
        return self._moved(kept, seen, found)

    async def _compared(
        self,
        pool: TendedPool,
        kept: _Pool,
        seen: Seen,
        measure: Measure,
        engines: Mapping[str, Engine],
    ) -> Seen:
        """The same with what the comparison has come to."""
        uid = next(pod.uid for pod in seen.pods if pod.name == measure.canary)
        spec = _spec(pool).canary
        comparison = kept.comparison
        if comparison is None or not comparison.is_of(uid, spec):
            self._forget(pool.ref, kept)
            comparison = kept.comparison = Comparison(uid, measure.canary, spec)
        known = {
            name: engines[name] for name in (measure.canary, *measure.controls) if name in engines
        }
        comparison.saw({
            name: engine.sample for name, engine in known.items() if engine.sample is not None
        })  # fmt: skip
        await self._probed(pool, kept, comparison, measure, known)
        text = comparison.verdict().text
        kept.so_far = f"{text}; {kept.problem}" if kept.problem else text
        return replace(seen, judged=comparison.judged(), so_far=kept.so_far)

    async def _probed(
        self,
        pool: TendedPool,
        kept: _Pool,
        comparison: Comparison,
        measure: Measure,
        engines: Mapping[str, Engine],
    ) -> None:
        name = _canary_name(pool.ref, comparison)
        ended = self._probing.collect(name)
        if ended is not None:
            kept.problem = ended.problem
        if ended is not None and not ended.problem:
            comparison.answered(ended.unchanged, ended.changed)
        control = next((one for one in measure.controls if one in engines), None)
        if control is None or measure.canary not in engines or not comparison.wants_probes():
            return
        key = None
        if pool.api_key is not None:
            key = await self._read_key(pool.ref.namespace, pool.api_key)
        pair = Pair(engines[control].base, engines[measure.canary].base, key)
        self._probing.begin(name, pair, comparison.rounds)

    def _moved(self, kept: _Pool, seen: Seen, found: Look) -> Moved:
        blocked = seen.blocked_by if found.state in {State.WAITING, State.ROLLING} else ()
        part = found.text.partition(";")[0] if found.state is State.ROLLING else ""
        told = (found.state.value, part, *blocked)
        news: Iterator[Announcement] = iter(())
        if told != kept.told:
            kept.told = told
            self.on_step(found.state)
            news = _news(found, waits_for_budget=bool(blocked))
        waits = not found.effects and (
            found.state in {State.WAITING, State.PAUSED} or (bool(blocked))
        )
        return Moved(
            text="" if found.state is State.IDLE else found.text[:_TEXT_CHARS],
            waits=waits,
            degraded=found.degraded,
            looked=True,
            news=tuple(news),
        )

    def _forget(self, ref: PoolRef, kept: _Pool) -> None:
        """No canary is compared any more."""
        if kept.comparison is not None:
            self._probing.drop(_canary_name(ref, kept.comparison))
        kept.comparison, kept.problem, kept.so_far, kept.gate = None, "", "", None


def _news(found: Look, *, waits_for_budget: bool) -> Iterator[Announcement]:
    # That a pod gets ready is waited for all the time, and is no news.
    if found.state in _TOLD and (found.state is not State.WAITING or waits_for_budget):
        yield Announcement(_TOLD[found.state], found.state.value, found.text[:_TEXT_CHARS])


def _pods(sight: Sight, record: Record) -> tuple[SeenPod, ...]:
    """By the container that was changed; whatever is not clear about it is the plan's to say."""
    container = "" if record.underway is None else record.underway.container
    if not container:
        try:
            container = vllm_container(Seen(sight.workload, ()).template)
        except Refused:
            container = ""
    found = (seen_pod(raw, container) for raw in sight.pods)
    return tuple(pod for pod in found if pod is not None)


def _spec(pool: TendedPool) -> KVCachePolicySpec:
    if pool.policy.spec is None:
        raise AliseError(f"{pool.policy.name} has no valid spec")
    return pool.policy.spec


def _canary_name(ref: PoolRef, comparison: Comparison) -> str:
    return f"{ref.namespace}/{ref.kind}/{ref.name} {comparison.pod_uid}"
