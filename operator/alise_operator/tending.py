"""Where the tuner meets the operator: which pools it tends, under which policy, and what it says.

The operator knows which KVCachePolicy governs which pool and what the pool's pods are; it calls the
tuner for each such pool, one look at a time, on the leader only, and writes what it reports into
the policy's status. The tuner observes, decides and acts by itself.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from alise_core.crds.base import SecretRef
from alise_core.crds.book import Stored
from alise_core.crds.governing import PoolRef, governing
from alise_core.crds.kv_cache_policy import KVCachePolicySpec
from alise_core.crds.model_pool import ModelPoolSpec, Scheme
from alise_core.crds.names import PAUSED_ANNOTATION, Kind
from alise_operator.decide.announcements import Announcement
from alise_operator.decide.pods import Pod, Selection
from alise_operator.decide.pools import inference_pool_selection, selection_of, stands_alone
from alise_operator.decide.raw import sequence_at, text_at
from alise_operator.decide.scope import Scope, WorkKey
from alise_operator.decide.tuning import TuningReport

_SPREAD_RATIO = 0.2


@dataclass(frozen=True, slots=True)
class TendedPool:
    """One pool, as the tuner is given it.

    Attributes:
        ref: Which.
        policy: The one in force there; its spec is the last good one.
        pods: Those selected, ready or not, that have not run to their end.
        ports: On each of them.
        scheme: How they are spoken to.
        base_path: Prefix of every request path.
        labels: That select the pods.
        admin_token: Secret with the engine plugin's token.
        api_key: Secret with the key that the engines demand.
        paused: The pool carries the annotation that keeps the tuner away.
        standing: The pool's line in the policy's status as it was seen last; what the tuner has
            put there before is there after a restart too.
    """

    ref: PoolRef
    policy: Stored[KVCachePolicySpec]
    pods: tuple[Pod, ...]
    ports: tuple[int, ...]
    scheme: Scheme = Scheme.HTTP
    base_path: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    admin_token: SecretRef | None = None
    api_key: SecretRef | None = None
    paused: bool = False
    standing: Mapping[str, Any] | None = None


Publish = Callable[[TuningReport], Awaitable[None]]
"""Has a report in the policy's status before it returns. Raises ClusterError where it cannot."""


class Tuner(Protocol):
    """What tends pools."""

    async def tend(self, pool: TendedPool, publish: Publish) -> TuningReport:
        """One look at one pool, with what follows from it.

        Args:
            pool: As it is now.
            publish: For what must be on record before the tuner acts.

        Returns: How it stands after the look.

        Raises:
            AliseError: It could not be looked at; it is tried again later.
        """
        ...

    def let_go(self, pool: PoolRef) -> None:
        """The pool is gone, or no policy governs it any more, or another process leads."""
        ...


class Tending:
    """Calls the tuner for every pool that a KVCachePolicy governs.

    Args:
        tuner: ``None`` where nothing tunes: no pool is tended, and statuses say nothing of it.
        interval_seconds: Between two looks at a pool.
        chance: A number in [0, 1), a new one with each call.

    Attributes:
        on_followed: Told of a pool that should be tended from now on.
        on_let_go: Told of one that should not any more.
        on_reported: Told the policy whose status should say something else.
        write_now: Brings the status of a policy up to date before it returns.
        tell: Tells Events about a policy.
    """

    def __init__(
        self, tuner: Tuner | None, interval_seconds: float, chance: Callable[[], float]
    ) -> None:
        self._tuner = tuner
        self._interval_seconds = interval_seconds
        self._chance = chance
        self._pools: dict[PoolRef, TendedPool] = {}
        self._reports: dict[PoolRef, TuningReport] = {}
        self.on_followed: Callable[[PoolRef], None] = _nobody_listens
        self.on_let_go: Callable[[PoolRef], None] = _nobody_listens
        self.on_reported: Callable[[WorkKey], None] = _nobody_listens
        self.write_now: Callable[[WorkKey], Awaitable[object]] = _nothing_to_write
        self.tell: Callable[[WorkKey, Iterable[Announcement]], None] = _nobody_tells

    def follow(self, pool: WorkKey, found: Stored[Any], scope: Scope) -> None:
        """Take note of a pool as it is now."""
        if self._tuner is None:
            return
        ref = PoolRef(pool.namespace, pool.kind, pool.name)
        tended = _tended(ref, found, scope)
        if tended is None:
            self.let_go(pool)
            return
        before, self._pools[ref] = self._pools.get(ref), tended
        if before is None:
            self.on_followed(ref)
        elif before.policy.uid != tended.policy.uid:
            self._drop_report(ref, before.policy)

    def let_go(self, pool: WorkKey) -> None:
        """A pool is gone, or nothing governs it."""
        ref = PoolRef(pool.namespace, pool.kind, pool.name)
        tended = self._pools.pop(ref, None)
        if tended is None or self._tuner is None:
            return
        self._tuner.let_go(ref)
        self._drop_report(ref, tended.policy)
        self.on_let_go(ref)

    def let_go_of_all(self) -> None:
        """Another process leads from now on."""
        for ref in tuple(self._pools):
            self.let_go(WorkKey(ref.kind, ref.namespace, ref.name))

    async def tend(self, ref: PoolRef) -> float | None:
        """One look at one pool.

        Returns: Seconds until the next; ``None`` where the pool is not tended any more.

        Raises:
            AliseError: The tuner could not look at it.
        """
        tended = self._pools.get(ref)
        if tended is None or self._tuner is None:
            return None
        report = await self._tuner.tend(tended, self._publish)
        self._take(report)
        return self._interval_seconds * (1 + _SPREAD_RATIO * (self._chance() - 0.5))

    def reports(self, policy_uid: str) -> tuple[TuningReport, ...] | None:
        """What is known of the pools under a policy; ``None`` where nothing tunes."""
        if self._tuner is None:
            return None
        return tuple(
            report
            for ref, report in self._reports.items()
            if ref in self._pools and self._pools[ref].policy.uid == policy_uid
        )

    def standing(self) -> tuple[TuningReport, ...]:
        """The last report of every pool that is tended."""
        return tuple(report for ref, report in self._reports.items() if ref in self._pools)

    async def _publish(self, report: TuningReport) -> None:
        key = self._note(report)
        if key is not None:
            await self.write_now(key)

    def _take(self, report: TuningReport) -> None:
        before = self._reports.get(report.pool)
        key = self._note(report)
        if key is None:
            return
        if before is None or (before.status, before.findings) != (report.status, report.findings):
            self.on_reported(key)
        self.tell(key, report.announcements)

    def _note(self, report: TuningReport) -> WorkKey | None:
        """Remember a report; the policy that it belongs to, where the pool is still tended."""
        tended = self._pools.get(report.pool)
        if tended is None:
            return None
        self._reports[report.pool] = report
        return _key_of(tended.policy)

    def _drop_report(self, ref: PoolRef, policy: Stored[KVCachePolicySpec]) -> None:
        if self._reports.pop(ref, None) is not None:
            self.on_reported(_key_of(policy))


def _tended(ref: PoolRef, found: Stored[Any], scope: Scope) -> TendedPool | None:
    policy = governing(ref, scope.kv_cache).winner
    selection = _selection(ref, found, scope)
    if policy is None or selection is None:
        return None
    spec = found.spec if isinstance(found.spec, ModelPoolSpec) else None
    lines = sequence_at(policy.status, "pools")
    return TendedPool(
        ref=ref,
        policy=policy,
        pods=tuple(selection.pods(scope.pods)),
        ports=selection.ports,
        scheme=Scheme.HTTP if spec is None else spec.scheme,
        base_path="" if spec is None else spec.base_path,
        labels=selection.labels,
        admin_token=None if spec is None else spec.admin_token_secret_ref,
        api_key=None if spec is None else spec.api_key_secret_ref,
        paused=found.annotations.get(PAUSED_ANNOTATION) == "true",
        standing=next((line for line in lines if text_at(line, "name") == ref.name), None),
    )


def _selection(ref: PoolRef, found: Stored[Any], scope: Scope) -> Selection | None:
    if found.spec is None:
        return None
    if ref.kind is Kind.MODEL_POOL:
        return selection_of(scope, found.spec)
    return inference_pool_selection(found) if stands_alone(scope, found) else None


def _key_of(policy: Stored[KVCachePolicySpec]) -> WorkKey:
    return WorkKey(Kind.KV_CACHE_POLICY, policy.namespace, policy.name)


def _nobody_listens(what: object) -> None:
    """Until somebody wants to know."""


def _nobody_tells(key: WorkKey, announcements: Iterable[Announcement]) -> None:
    """Until somebody does."""


async def _nothing_to_write(key: WorkKey) -> None:
    """Until somebody does."""
