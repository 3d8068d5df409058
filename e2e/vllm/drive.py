"""Drives vLLM's own scheduler with ours on top, without a model; prints what happened as JSON.

Runs in vLLM's environment: ``drive.py MODEL JSON``, where the JSON says what to do. Every sampled
token tells its position, so a token that is lost, doubled or out of place shows. With a depth of
two, a step is scheduled before the one before has been read, as asynchronous scheduling does;
vLLM itself never does so on a CPU.
"""

import json
import random
import sys
from collections import deque
from typing import Any

import torch
from vllm.config import VllmConfig
from vllm.engine.arg_utils import EngineArgs
from vllm.sampling_params import SamplingParams
from vllm.utils.hashing import sha256
from vllm.v1.core.kv_cache_utils import get_request_block_hasher, init_none_hash
from vllm.v1.core.sched.async_scheduler import AsyncScheduler
from vllm.v1.kv_cache_interface import FullAttentionSpec, KVCacheConfig, KVCacheGroupSpec
from vllm.v1.outputs import ModelRunnerOutput
from vllm.v1.request import Request, RequestStatus
from vllm.v1.structured_output import StructuredOutputManager

from alise_vllm.scheduler import AliseScheduler

BLOCK = 16
FIRST_TOKEN = 1_000
MOST_STEPS = 200_000


def vllm_config(model: str, wanted: dict[str, Any]) -> VllmConfig:
    arguments = EngineArgs(
        model=model,
        max_model_len=4_096,
        max_num_seqs=wanted["slots"],
        max_num_batched_tokens=wanted.get("batched_tokens", 2_048),
        block_size=BLOCK,
        scheduling_policy=wanted.get("scheduling_policy", "priority"),
        additional_config={"alise": {"scheduler": wanted.get("settings", {})}},
    )
    config = arguments.create_engine_config()
    config.cache_config.num_gpu_blocks = wanted["blocks"]
    config.scheduler_config.async_scheduling = wanted["depth"] > 1
    return config


def make_scheduler(config: VllmConfig, wanted: dict[str, Any]) -> Any:
    spec = FullAttentionSpec(block_size=BLOCK, num_kv_heads=1, head_size=1, dtype=torch.float32)
    cache = KVCacheConfig(
        num_blocks=wanted["blocks"],
        kv_cache_tensors=[],
        kv_cache_groups=[KVCacheGroupSpec(["layer"], spec)],
    )
    kind = AsyncScheduler if wanted.get("stock") else AliseScheduler
    return kind(
        vllm_config=config,
        kv_cache_config=cache,
        structured_output_manager=StructuredOutputManager(config),
        block_size=BLOCK,
        log_stats=True,
    )


class Drive:
    """One scheduler, and a model that says where it is."""

    def __init__(self, scheduler: Any, depth: int) -> None:
        self.scheduler = scheduler
        self._depth = depth
        self._in_flight: deque[tuple[Any, dict[str, int]]] = deque()
        self._hasher = get_request_block_hasher(BLOCK, sha256)
        self.requests: list[Request] = []
        self.first_step: dict[str, int] = {}
        self.steps = 0

    def add(self, prompt: list[int], tokens: int, extra: object, priority: int) -> Request:
        request = Request(
            request_id=str(len(self.requests)),
            prompt_token_ids=prompt,
            sampling_params=SamplingParams(
                max_tokens=tokens,
                ignore_eos=True,
                extra_args=extra,
            ),
            pooling_params=None,
            arrival_time=float(len(self.requests)),
            priority=priority,
            block_hasher=self._hasher,
        )
        self.requests.append(request)
        self.scheduler.add_request(request)
        return request

    def abort(self, request: Request) -> None:
        self.scheduler.finish_requests(request.request_id, RequestStatus.FINISHED_ABORTED)

    def step(self) -> None:
        self.steps += 1
        output = self.scheduler.schedule()
        sampled = {}
        for name in output.num_scheduled_tokens:
            request = self.scheduler.requests[name]
            self.first_step.setdefault(name, self.steps)
            if not request.is_prefill_chunk:
                sampled[name] = FIRST_TOKEN + request.num_computed_tokens
        self._in_flight.append((output, sampled))
        if len(self._in_flight) >= self._depth:
            self.read()

    def read(self) -> None:
        output, sampled = self._in_flight.popleft()
        names = list(output.num_scheduled_tokens)
        tokens = [[sampled[name]] if name in sampled else [] for name in names]
        result = ModelRunnerOutput(names, {name: at for at, name in enumerate(names)}, tokens)
        self.scheduler.update_from_output(output, result)

    def drain(self) -> None:
        while self.scheduler.has_requests():
            if self.steps > MOST_STEPS:
                raise AssertionError("it does not come to an end")
            self.step()
        while self._in_flight:
            self.read()

    def wrong(self) -> list[str]:
        """Requests that were not aborted and whose output is not what it should be."""
        found = []
        for request in self.requests:
            begin = FIRST_TOKEN + request.num_prompt_tokens
            expected = list(range(begin, begin + request.max_tokens))
            said = list(request.output_token_ids)
            aborted = request.status == RequestStatus.FINISHED_ABORTED
            if said != (expected[: len(said)] if aborted else expected):
                found.append(request.request_id)
        return found


def said_of(kind: str, tokens: int, rank: int) -> dict[str, Any] | None:
    told: dict[str, dict[str, Any] | None] = {
        "right": {"alise_p50": tokens, "alise_p90": tokens + 1, "alise_class": rank},
        "wrong": {"alise_p50": 700 - tokens, "alise_class": rank},
        "garbage": {"alise_p50": -1, "alise_p90": "x", "alise_class": 1.5},
        "nothing": None,
    }
    return told[kind]


def random_load(drive: Drive, wanted: dict[str, Any]) -> None:
    """Requests come, some are aborted wherever they are, settings change."""
    generator = random.Random(wanted["seed"])  # noqa: S311
    policies = ["gittins", "srpt", "mlfq", "tool-aware", "fcfs"]
    shared = [generator.randrange(900) for _ in range(48)]
    for _ in range(wanted["requests"]):
        for _ in range(generator.randrange(12)):
            drive.step()
        own = [generator.randrange(900) for _ in range(generator.randint(1, 90))]
        tokens = generator.choice((3, 20, 60, 300, 600))
        kind = generator.choice(("right", "right", "wrong", "garbage", "nothing"))
        rank = generator.choice((0, 0, 0, 1, 2))
        prompt = shared + own if generator.random() < 0.5 else own
        drive.add(prompt, tokens, said_of(kind, tokens, rank), rank)
        alive = [each for each in drive.requests if not each.is_finished()]
        if alive and generator.random() < 0.15:
            drive.abort(generator.choice(alive))
        gave_way = [each for each in alive if each.status == RequestStatus.PREEMPTED]
        if gave_way and generator.random() < 0.3:
            drive.abort(generator.choice(gave_way))
        if generator.random() < 0.05:
            change = {"policy": generator.choice(policies)}
            drive.scheduler.alise_tunable.plan(change)()


def short_after_long(drive: Drive, wanted: dict[str, Any]) -> None:
    """Every slot has a long request; then short ones come."""
    generator = random.Random(1)  # noqa: S311

    def prompt() -> list[int]:
        return [generator.randrange(900) for _ in range(20)]

    for _ in range(wanted["slots"]):
        drive.add(prompt(), 1_000, said_of("right", 1_000, 0), 0)
    for _ in range(100):
        drive.step()
    for _ in range(wanted["shorts"]):
        drive.add(prompt(), 20, said_of("right", 20, 0), 0)


def main() -> None:
    model, wanted = sys.argv[1], json.loads(sys.argv[2])
    init_none_hash(sha256)
    config = vllm_config(model, wanted)
    results = []
    for seed in wanted["seeds"]:
        scheduler = make_scheduler(config, wanted)
        drive = Drive(scheduler, wanted["depth"])
        load = {"random": random_load, "short_after_long": short_after_long}[wanted["load"]]
        load(drive, {**wanted, "seed": seed})
        drive.drain()
        part = getattr(scheduler, "alise_tunable", None)
        results.append(
            {
                "seed": seed,
                "wrong": drive.wrong(),
                "aborted": sum(
                    each.status == RequestStatus.FINISHED_ABORTED for each in drive.requests
                ),
                "usage": scheduler.get_kv_cache_usage(),
                "left": len(scheduler.requests) + len(scheduler.waiting),
                "kept": len(getattr(scheduler, "_preempted", ())),
                "waited": [drive.first_step.get(each.request_id, 0) for each in drive.requests],
                "steps": drive.steps,
                "state": None if part is None else part.state(),
            }
        )
    print(json.dumps(results))


if __name__ == "__main__":
    main()
