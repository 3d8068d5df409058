"""vLLM's scheduler in miniature, for the adapter to subclass; ``e2e/vllm`` has the real one.

Slots and blocks, a loop that admits from the queue, preemption for memory: as much of the real
thing as the adapter meets, under the same names.
"""

import enum
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

VERSION = "0.32.0+cpu"
BLOCK_SIZE = 16


class Policy(enum.Enum):
    FCFS = "fcfs"
    PRIORITY = "priority"


class Pause(enum.Enum):
    UNPAUSED = 0
    PAUSED_NEW = 1


class Status(enum.IntEnum):
    WAITING = 1
    WAITING_FOR_STRUCTURED_OUTPUT_GRAMMAR = 2
    RUNNING = 5
    PREEMPTED = 6
    FINISHED_STOPPED = 7
    FINISHED_LENGTH_CAPPED = 8
    FINISHED_ABORTED = 9


@dataclass(eq=False)
class FakeRequest:
    """A request as vLLM keeps it; one token of output a step."""

    request_id: str
    num_prompt_tokens: int = 10
    max_tokens: int = 1_000
    extra: object = None
    priority: int = 0
    arrival_time: float = 0.0
    status: Status = Status.WAITING
    ends_at: int | None = None
    """Tokens after which it ends by itself; ``max_tokens`` cut it otherwise."""
    num_output_tokens: int = 0
    num_computed_tokens: int = 0
    num_preemptions: int = 0
    num_stale_output_tokens: int = 0
    drop_stale_output: bool = False
    is_prefill_chunk: bool = False
    resumable: bool = False

    @property
    def sampling_params(self) -> Any:
        return SimpleNamespace(extra_args=self.extra)

    @property
    def num_tokens(self) -> int:
        return self.num_prompt_tokens + self.num_output_tokens

    @property
    def length(self) -> int:
        return self.max_tokens if self.ends_at is None else min(self.ends_at, self.max_tokens)

    @property
    def blocks(self) -> int:
        return -(-self.num_computed_tokens // BLOCK_SIZE)


@dataclass
class FakeCache:
    """The block pool: free is what no running request holds."""

    scheduler: "FakeScheduler"
    watermark_blocks: int = 0

    @property
    def block_pool(self) -> Any:
        return self

    def get_num_free_blocks(self) -> int:
        held = sum(request.blocks for request in self.scheduler.running)
        return self.scheduler.num_blocks - held


@dataclass
class FakeConfig:
    """What the server was started with."""

    additional_config: object = None
    policy: str = "fcfs"
    slots: int = 2
    blocks: int = 10_000
    cached_tokens: int = 0
    """Of a preempted request, that are found again when it resumes."""
    connector: Any = None
    """To KV elsewhere."""


@dataclass
class Output:
    num_scheduled_tokens: dict[str, int]
    finished_req_ids: set[str] = field(default_factory=set)

    @property
    def total_num_scheduled_tokens(self) -> int:
        return sum(self.num_scheduled_tokens.values())


class FakeScheduler:
    """In place of vLLM's ``AsyncScheduler``."""

    def __init__(self, config: FakeConfig) -> None:
        self.vllm_config = SimpleNamespace(additional_config=config.additional_config)
        self.scheduler_config = SimpleNamespace(policy=config.policy)
        self.policy = Policy(config.policy)
        self.max_num_running_reqs = self.max_num_active_reqs = config.slots
        self.max_num_scheduled_tokens = 2_048
        self.num_waiting_for_streaming_input = 0
        self.num_blocks = config.blocks
        self.block_size = BLOCK_SIZE
        self.cached_tokens = config.cached_tokens
        self.kv_cache_manager = FakeCache(self)
        self.requires_kv_delivery = False
        self.connector = config.connector
        self.waiting: Any = None
        self.kv_holding_waiting: list[FakeRequest] = []
        self.running: list[FakeRequest] = []
        self.requests: dict[str, FakeRequest] = {}
        self.prev_step_scheduled_req_ids: set[str] = set()
        self.finished_req_ids: set[str] = set()
        self.preempted_in_order: list[str] = []
        self._pause_state = Pause.UNPAUSED

    def add_request(self, request: FakeRequest) -> None:
        self.requests[request.request_id] = request
        self.waiting.add_request(request)

    def schedule(self, throttle_prefills: bool = False) -> Output:
        scheduled: dict[str, int] = {}
        preempted = self._schedule_running(scheduled)
        skipped = []
        while not preempted and self.waiting and len(self.running) < self.max_num_active_reqs:
            request = self.waiting.peek_request()
            if request.status is Status.WAITING_FOR_STRUCTURED_OUTPUT_GRAMMAR:
                skipped.append(self.waiting.pop_request())
                continue
            if self._is_held_by_connector(request):
                skipped.append(self.waiting.pop_request())
                continue
            needed = -(-request.num_tokens // BLOCK_SIZE)
            if needed > self.kv_cache_manager.get_num_free_blocks():
                break
            assert self.waiting.pop_request() is request
            found = self.cached_tokens if request.status is Status.PREEMPTED else 0
            scheduled[request.request_id] = request.num_tokens - found
            request.num_computed_tokens = found
            request.status = Status.RUNNING
            self.running.append(request)
        self.waiting.prepend_requests(skipped)
        for name, tokens in scheduled.items():
            self.requests[name].num_computed_tokens += tokens
        output = Output(scheduled, self.finished_req_ids)
        self.finished_req_ids = set()
        self.prev_step_scheduled_req_ids = set(scheduled)
        if self.connector is not None and hasattr(self.connector, "build_connector_meta"):
            self.connector.build_connector_meta(output)
        return output

    def _is_held_by_connector(self, request: FakeRequest) -> bool:
        if self.connector is None or not hasattr(self.connector, "get_num_new_matched_tokens"):
            return False
        tokens, _ = self.connector.get_num_new_matched_tokens(request, 0)
        return tokens is None

    def _schedule_running(self, scheduled: dict[str, int]) -> bool:
        preempted = False
        for request in list(self.running):
            while request in self.running and self._is_short(request):
                assert self.policy is Policy.PRIORITY
                victim = max(self.running, key=lambda each: (each.priority, each.arrival_time))
                self.running.remove(victim)
                scheduled.pop(victim.request_id, None)
                self._preempt_request(victim, 0.0, drop_stale_output=False)
                preempted = True
            if request in self.running:
                scheduled[request.request_id] = 1
        return preempted

    def _is_short(self, request: FakeRequest) -> bool:
        more = -(-(request.num_computed_tokens + 1) // BLOCK_SIZE) - request.blocks
        return more > self.kv_cache_manager.get_num_free_blocks()

    def _request_blocks_can_be_freed(self, request: FakeRequest) -> bool:
        return True

    def _preempt_request(
        self, request: FakeRequest, timestamp: float, drop_stale_output: bool = False
    ) -> None:
        assert request.status is Status.RUNNING
        request.status = Status.PREEMPTED
        request.num_computed_tokens = 0
        request.num_preemptions += 1
        self.preempted_in_order.append(request.request_id)
        self.waiting.prepend_request(request)

    def generated(self) -> list[FakeRequest]:
        """Every running request got its token; those that are complete leave, and are returned."""
        for request in self.running:
            request.num_output_tokens += 1
        done = [each for each in self.running if each.num_output_tokens >= each.length]
        for request in done:
            cut = request.num_output_tokens >= request.max_tokens
            self.running.remove(request)
            request.status = Status.FINISHED_LENGTH_CAPPED if cut else Status.FINISHED_STOPPED
            assert self._handle_stopped_request(request)
            self._free(request)
        return done

    def _handle_stopped_request(self, request: FakeRequest) -> bool:
        return not request.resumable

    def finish(self, requests: Iterable[FakeRequest]) -> None:
        """End requests, wherever they are."""
        for request in requests:
            if request.status is Status.RUNNING:
                self.running.remove(request)
            else:
                self.waiting.remove_requests([request])
            request.status = Status.FINISHED_ABORTED
            self._free(request)

    def _free(self, request: FakeRequest) -> None:
        request.num_computed_tokens = 0
        self.finished_req_ids.add(request.request_id)
        del self.requests[request.request_id]


MODULES: dict[str, dict[str, object]] = {
    "vllm.version": {"__version__": VERSION},
    "vllm.v1.core.sched.async_scheduler": {"AsyncScheduler": FakeScheduler},
    "vllm.v1.core.sched.interface": {"PauseState": Pause},
    "vllm.v1.core.sched.request_queue": {"SchedulingPolicy": Policy},
    "vllm.v1.request": {"RequestStatus": Status},
}


def install(monkeypatch: pytest.MonkeyPatch, version: str = VERSION) -> None:
    """Let ``import vllm...`` find the miniature."""
    for name, content in MODULES.items():
        parts = name.split(".")
        for depth in range(1, len(parts)):
            parent = ".".join(parts[:depth])
            if not isinstance(sys.modules.get(parent), ModuleType):
                monkeypatch.setitem(sys.modules, parent, ModuleType(parent))
        module = ModuleType(name)
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, name, module)
    sys.modules["vllm.version"].__version__ = version  # type: ignore[attr-defined]
