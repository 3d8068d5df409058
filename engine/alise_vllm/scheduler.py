"""vLLM's asynchronous scheduler, with the plugin's order; the adapter to ``ordering``.

::

    vllm serve ... --scheduler-cls alise_vllm.scheduler.AliseScheduler \
        --additional-config '{"alise": {"scheduler": {"policy": "srpt"}}}'

vLLM's scheduling loop stays as it is. Its queue of waiting requests is replaced by one with
another order, and before a step a running request may be put back to make room for one that
waits. What vLLM calls the scheduler's interface is not public, so other versions are refused.
"""

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from alise_core.errors import ConfigError
from alise_vllm.compat import require_tested
from alise_vllm.ordering.forecast import Estimate
from alise_vllm.ordering.order import RequestOrder
from alise_vllm.ordering.waits import expected_waits
from alise_vllm.ordering.work import Work
from alise_vllm.running import RunningRequests
from alise_vllm.scheduler_part import SchedulerPart
from alise_vllm.settings import read_scheduler
from alise_vllm.tier.swaps import Swaps
from alise_vllm.waiting import WaitingQueue, work_of

try:
    from vllm.version import __version__ as vllm_version

    require_tested(vllm_version, "alise_vllm.scheduler")

    from vllm.v1.core.sched.async_scheduler import AsyncScheduler
    from vllm.v1.core.sched.interface import PauseState
    from vllm.v1.core.sched.request_queue import SchedulingPolicy
    from vllm.v1.request import RequestStatus
except ImportError as error:
    raise ConfigError(
        f"alise_vllm.scheduler runs inside vLLM 0.32 and does not find it: {error}"
    ) from error

if TYPE_CHECKING:
    from vllm.v1.core.sched.output import SchedulerOutput
    from vllm.v1.request import Request

_MOST_PER_STEP = 4
"""Requests that others give way to in one step; the next step is milliseconds away."""


class AliseScheduler(AsyncScheduler):
    """See the module.

    Attributes:
        alise_tunable: What can be looked at and changed.

    Raises:
        ConfigError: A setting is wrong; the server does not start.
    """

    max_num_active_reqs: int

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        settings = read_scheduler(self.vllm_config.additional_config)
        self._order = RequestOrder(settings)
        by_priority = self.scheduler_config.policy == SchedulingPolicy.PRIORITY.value
        self.waiting: Any = WaitingQueue(self._order, time.monotonic, by_priority=by_priority)
        # Makes vLLM look at `priority` when the memory is full, which then says who goes first.
        self.policy = SchedulingPolicy.PRIORITY
        self._may_give_way: RunningRequests[Any] = RunningRequests(self._order, _runs)
        self._preempted: dict[str, int] = {}
        """Preempted requests that have not run since: tokens that they had in memory."""
        self.alise_tunable = SchedulerPart(self._order, self)
        self._waits: tuple[int, Mapping[int, float]] = (-1, {})
        self._swaps: Swaps | None = None
        tier = getattr(self.connector, "tier", None)
        if tier is not None:
            tier.waits.expected = self.alise_wait_seconds
            self._swaps = tier.swaps
            tier.swaps.on_hold = self._start_nobody_else

    def schedule(self, throttle_prefills: bool = False) -> "SchedulerOutput":
        """Put requests back that give way, let vLLM schedule, and note what came of it."""
        counts = self._order.counts
        now = time.monotonic()
        begin = time.perf_counter_ns()
        self._order.begin_step(now)
        self._look_at_running()
        self._make_room()
        counts.nanoseconds += time.perf_counter_ns() - begin
        active: int = self.max_num_active_reqs
        output = super().schedule(throttle_prefills)
        self.max_num_active_reqs = active
        begin = time.perf_counter_ns()
        scheduled = output.num_scheduled_tokens
        self._order.end_step(now, len(scheduled), output.total_num_scheduled_tokens)
        self._note_resumed(output)
        counts.nanoseconds += time.perf_counter_ns() - begin
        return output

    def alise_wait_seconds(self, request_id: str) -> float | None:
        """When a request is expected to run, 0 for now; None where it is not known at all.

        For the host KV tier, which asks for all of them at once, at most once a step.
        """
        work = work_of(self.requests.get(request_id))
        if work is None:
            return None
        step = self._order.counts.steps
        if self._waits[0] != step:
            line = self._order.line.in_order()
            self._waits = (step, expected_waits(line, self._order.pace, self.max_num_active_reqs))
        return self._waits[1].get(work.number, 0.0)

    def alise_refine(self, request_id: str, estimate: Estimate) -> bool:
        """Hand in what is known of a request by now, between two steps; False where it is gone.

        The seam for a probe on hidden states; see ``Estimate``.
        """
        request = self.requests.get(request_id)
        work = work_of(request)
        if work is None:
            return False
        work.generated = request.num_output_tokens
        self._order.refine(work, estimate, time.monotonic())
        return True

    def _start_nobody_else(self) -> None:
        """In this step; a place was made for a request that starts in the next one."""
        self.max_num_active_reqs = len(self.running)

    def alise_works(self) -> list[Work]:
        """The order's side of every request that exists."""
        return [work for work in map(work_of, self.requests.values()) if work is not None]

    def _preempt_request(
        self, request: "Request", timestamp: float, drop_stale_output: bool = False
    ) -> None:
        """What vLLM calls when the memory is full."""
        self._order.counts.forced += 1
        self._note_preempted(request)
        super()._preempt_request(request, timestamp, drop_stale_output)

    def _handle_stopped_request(self, request: "Request") -> bool:
        """What vLLM calls when an answer is complete."""
        finished: bool = super()._handle_stopped_request(request)
        work = work_of(request)
        cut = request.status == RequestStatus.FINISHED_LENGTH_CAPPED
        complete = cut or request.status == RequestStatus.FINISHED_STOPPED
        if finished and complete and work is not None:
            self._order.ended(work, request.num_output_tokens, cut=cut)
        return finished

    def _note_preempted(self, request: "Request") -> None:
        self._preempted[request.request_id] = request.num_computed_tokens
        work = work_of(request)
        if work is not None:
            work.generated = request.num_output_tokens
            self._order.gives_way(work)

    def _look_at_running(self) -> None:
        """Find out where running requests stand, as far as this step or a later one may ask."""
        # The step cannot need more blocks than these.
        most = len(self.running) + self._blocks(self.max_num_scheduled_tokens)
        is_tight = self.kv_cache_manager.block_pool.get_num_free_blocks() < most
        if is_tight or self.waiting or len(self.running) >= self.max_num_active_reqs:
            self._may_give_way.look(self.running)
        if is_tight:
            self._may_give_way.rank(self.running)

    def _make_room(self) -> None:
        """Put running requests back for the first of those that wait."""
        free_slots = (
            self.max_num_active_reqs - len(self.running) - self.num_waiting_for_streaming_input
        )
        blocked = self.kv_holding_waiting or self._pause_state is not PauseState.UNPAUSED
        if not self.waiting or blocked or free_slots < 0:
            return
        first = self.waiting.peek_request()
        if not free_slots and _can_run(first) and not self._order.asks(first.alise_work):
            return
        cache = self.kv_cache_manager
        free_blocks = cache.block_pool.get_num_free_blocks() - cache.watermark_blocks
        for waiting in self.waiting.best(_MOST_PER_STEP):
            if not _can_run(waiting):
                continue
            free_blocks -= self._blocks(waiting.num_tokens)
            if free_slots and free_blocks >= 0:
                free_slots -= 1
                continue
            if not self._order.asks(waiting.alise_work):
                return
            victim = self._victim(waiting, -free_blocks)
            if victim is None:
                return
            free_blocks += self._blocks(victim.num_computed_tokens)
            self._put_back(victim, for_memory=free_slots > 0)

    def _victim(self, waiting: "Request", short_blocks: int) -> "Request | None":
        """Who gives way to one that waits, of those that hold the blocks it is short of."""
        worst = self._may_give_way.worst(lambda each: self._can_give_way(each, short_blocks))
        work = None if worst is None else work_of(worst)
        return worst if self._order.exchanges(waiting.alise_work, work) else None

    def _can_give_way(self, request: "Request", short_blocks: int) -> bool:
        return (
            not request.is_prefill_chunk
            and not request.resumable
            and self._blocks(request.num_computed_tokens) >= short_blocks
            and self._request_blocks_can_be_freed(request)
        )

    def _put_back(self, request: "Request", *, for_memory: bool) -> None:
        if for_memory:
            self._order.counts.gave_way_memory += 1
        else:
            self._order.counts.gave_way_slot += 1
        if self._swaps is not None:
            self._swaps.out()
        self.running.remove(request)
        self._note_preempted(request)
        super()._preempt_request(request, time.monotonic(), self.requires_kv_delivery)
        # vLLM's first model runner would otherwise take one that resumes in this very step for
        # one that never stopped.
        self.prev_step_scheduled_req_ids.discard(request.request_id)

    def _note_resumed(self, output: "SchedulerOutput") -> None:
        for name in self._preempted.keys() & output.num_scheduled_tokens.keys():
            computed = self.requests[name].num_computed_tokens
            restored = computed - output.num_scheduled_tokens[name]
            self._order.resumed(self._preempted.pop(name), restored)
        for name in self._preempted.keys() & output.finished_req_ids:
            del self._preempted[name]

    def _blocks(self, tokens: int) -> int:
        """Blocks that hold so many tokens; what is shared with others counts in full."""
        return int(-(-tokens // self.block_size))


def _runs(request: "Request") -> bool:
    return bool(request.status == RequestStatus.RUNNING)


def _can_run(waiting: "Request") -> bool:
    """Whether a request that waits could run in this step, as far as can be told beforehand."""
    ready = waiting.status in (RequestStatus.WAITING, RequestStatus.PREEMPTED)
    return ready and (waiting.drop_stale_output or not waiting.num_stale_output_tokens)
