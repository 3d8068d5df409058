"""One leader among several processes, by a Lease.

At most one leads at a time, as long as clocks run at about the same speed: a leader steps down
``renew_seconds`` after it last began a renewal that succeeded, by its own clock, and others wait
``lease_seconds`` after they last saw it renew, by theirs. Whoever acts as leader for longer than
the difference without looking at ``is_leader`` is on their own.
"""

import asyncio
import contextlib
from collections.abc import Callable

import structlog

from alise_cluster.client import ClusterClient
from alise_cluster.errors import CONFLICT, NOT_FOUND, ApiError
from alise_cluster.leases import (
    LeaseDurations,
    LeaseMemory,
    LeaseRecord,
    Step,
    micro_time,
    read_lease,
    write_lease,
)
from alise_cluster.pacing import Pacing
from alise_cluster.resources import LEASES
from alise_core.clock import Clock, MonotonicClock
from alise_core.errors import AliseError

_RELEASE_SECONDS = 3.0
_JITTER_RATIO = 0.2


class LeaderElection:
    """Takes part in the election while ``run`` runs.

    Args:
        client: Of the cluster.
        name: Of the Lease.
        identity: Ours, for example the pod's name; differs between all that take part.
        namespace: Of the Lease; ours without.
        durations: See there.
        clock: Our own clock.
        pacing: How to wait.
        on_change: Called on the loop with ``True`` when we begin to lead, ``False`` when we stop.
    """

    def __init__(  # noqa: PLR0913  who, where, and how
        self,
        client: ClusterClient,
        name: str,
        identity: str,
        *,
        namespace: str | None = None,
        durations: LeaseDurations | None = None,
        clock: Clock | None = None,
        pacing: Pacing | None = None,
        on_change: Callable[[bool], None] | None = None,
    ) -> None:
        self.identity = identity
        self._client = client
        self._name = name
        self._namespace = namespace or client.namespace
        self._durations = durations or LeaseDurations()
        self._clock = clock or MonotonicClock()
        self._pacing = pacing or Pacing()
        self._on_change = on_change or _nobody_cares
        self._memory = LeaseMemory()
        self._leads = False
        self._renewed_at = float("-inf")
        self._problem: str | None = None
        self._log = structlog.get_logger("alise_cluster").bind(
            lease=f"{self._namespace}/{name}", identity=identity
        )

    @property
    def is_leader(self) -> bool:
        """We lead now; ``False`` by itself when a renewal is overdue."""
        return self._leads and not self._is_overdue()

    @property
    def holder(self) -> str:
        """Whom the Lease named when it was last seen; empty for nobody."""
        return "" if self._memory.record is None else self._memory.record.holder

    async def run(self) -> None:
        """Take part until cancelled; then give up a Lease that is ours, so that nobody waits."""
        try:
            while True:
                await self.attempt()
                spread = 1.0 + _JITTER_RATIO * self._pacing.chance()
                await self._pacing.sleep(self._durations.retry_seconds * spread)
        finally:
            await self._release()

    async def attempt(self) -> None:
        """One look at the Lease, and what follows from it; ``run`` does this again and again."""
        began = self._clock.now()
        try:
            # A renewal that hangs must not outlast our right to lead.
            async with asyncio.timeout(self._patience(began)):
                held = await self._try()
        except (AliseError, TimeoutError) as error:
            self._note_problem(str(error) or "no answer in time")
            held = False
        else:
            self._note_problem(None)
            if held:
                self._renewed_at = began
        if held:
            self._lead(True)
        elif self._leads and (self.holder != self.identity or self._is_overdue()):
            self._lead(False)

    async def _try(self) -> bool:
        """Whether the Lease is ours now."""
        self._memory.see(await self._read(), self._clock.now())
        step = self._memory.next_step(self.identity, self._clock.now())
        if step is Step.WAIT:
            return False
        return await self._write(step, self._claim(self.identity))

    async def _read(self) -> LeaseRecord | None:
        try:
            return read_lease(await self._client.get(LEASES, self._namespace, self._name))
        except ApiError as error:
            if error.status == NOT_FOUND:
                return None
            raise

    async def _write(self, step: Step, claim: LeaseRecord) -> bool:
        body = write_lease(self._namespace, self._name, step, self._memory, claim)
        try:
            if step is Step.CREATE:
                answer = await self._client.create(LEASES, self._namespace, body)
            else:
                answer = await self._client.replace(LEASES, self._namespace, self._name, body)
        except ApiError as error:
            if error.status == CONFLICT:  # somebody was faster
                return False
            raise
        self._memory.see(read_lease(answer), self._clock.now())
        return True

    def _claim(self, holder: str) -> LeaseRecord:
        now = micro_time(self._clock.unix())
        return LeaseRecord(holder, self._durations.lease_seconds, acquired=now, renewed=now)

    def _patience(self, now: float) -> float:
        left = self._renewed_at + self._durations.renew_seconds - now
        return left if self._leads and left > 0 else self._durations.renew_seconds

    def _is_overdue(self) -> bool:
        return self._clock.now() >= self._renewed_at + self._durations.renew_seconds

    def _lead(self, leads: bool) -> None:
        if leads is self._leads:
            return
        self._leads = leads
        self._log.info("leading" if leads else "not_leading_any_more", holder=self.holder)
        self._on_change(leads)

    def _note_problem(self, problem: str | None) -> None:
        if problem is not None and self._problem is None:
            self._log.warning("lease_not_renewed", reason=problem)
        self._problem = problem

    async def _release(self) -> None:
        if not self._leads:
            return
        self._lead(False)
        now = micro_time(self._clock.unix())
        with contextlib.suppress(AliseError, TimeoutError):
            # Best effort: without it the others wait for the lease to run out.
            async with asyncio.timeout(_RELEASE_SECONDS):
                # Read anew: a renewal may have been under way when we were told to stop.
                self._memory.see(await self._read(), self._clock.now())
                if self.holder == self.identity:
                    await self._write(Step.RENEW, LeaseRecord("", 1.0, renewed=now))


def _nobody_cares(leads: bool) -> None:
    """Until somebody does."""
