"""A thousand requests, and everything that can be changed changed all the time meanwhile."""

import random
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import cycle
from pathlib import Path

from alise_bench.compare.results import Judged
from alise_bench.engine_trials.ask import Answer, Ask, send, some_prompt
from alise_bench.engine_trials.server import (
    MODEL,
    Server,
    Setup,
    pause,
    running_engines,
    tier_flags,
)
from alise_bench.engine_trials.trial import Row, Say, Trial, judged, over_seeds
from alise_bench.vllm.place import VllmPlace

CASE = "everything changes"
REQUESTS = 1_000
AT_ONCE = 24
SLOTS, BLOCKS = 8, 120
CAPACITY_BYTES = 16 * 1_048_576
EVERY_SECONDS = 0.1
PROMPT_TOKENS, OUTPUT_TOKENS = (20, 300), (4, 40)
_SHARED_PROMPTS = 40
"""Prompts come again, so that the tier loads as well as stores."""
SETUP = Setup(
    "changes",
    tier_flags(SLOTS, BLOCKS, 1_024),
    {
        "scheduler": {"policy": "gittins"},
        "tier": {"capacity_bytes": CAPACITY_BYTES, "level": "none", "eviction": "ewt"},
    },
    step_seconds=None,
)
CHANGES: Sequence[Mapping[str, Mapping[str, object]]] = (
    {"tier": {"level": "int8"}},
    {"scheduler": {"policy": "mlfq"}},
    {"tier": {"eviction": "lru"}, "scheduler": {"max_active_requests": 3}},
    {"tier": {"capacity_bytes": CAPACITY_BYTES // 3}},
    {"scheduler": {"policy": "srpt", "recalibrate": False}},
    {"scheduler": {"policy": "tool-aware", "margin": 0.0}},
    {"tier": {"level": "int4", "eviction": "arc"}},
    {"scheduler": {"max_active_requests": SLOTS}},
    {"tier": {"capacity_bytes": CAPACITY_BYTES}},
    {"scheduler": {"policy": "fcfs"}, "tier": {"eviction": "vllm:lru"}},
    {"tier": {"level": "none", "eviction": "ewt"}},
    {"scheduler": {"policy": "gittins", "margin": 0.25, "preemption_limit": 0.8}},
    {"scheduler": {"recalibrate": True}},
)


def plan(seed: int) -> list[Ask]:
    """What is sent; half of the prompts come several times."""
    generator = random.Random(seed)  # noqa: S311
    shared = [some_prompt(generator, PROMPT_TOKENS[1]) for _ in range(_SHARED_PROMPTS)]
    asks = []
    for _ in range(REQUESTS):
        prompt = some_prompt(generator, generator.randint(*PROMPT_TOKENS))
        if generator.randrange(2):
            prompt = generator.choice(shared)
        tokens = generator.randint(*OUTPUT_TOKENS)
        said = {"vllm_xargs": {"alise_p50": tokens, "alise_class": generator.randrange(3)}}
        asks.append(Ask(0.0, "any", prompt, tokens, said))
    return asks


def run(place: VllmPlace, folder: Path, seeds: Sequence[int], say: Say) -> list[Row]:
    """A thousand requests for every seed."""
    rows = []
    with running_engines(place, [SETUP], folder) as (server,):
        for seed in seeds:
            rows.append(Row(CASE, seed, _measure(server, plan(seed))))
            say(f"measured: seed {seed}: {rows[-1].figures}")
    return rows


def _measure(server: Server, asks: Sequence[Ask]) -> dict[str, float]:
    before = server.state()
    with ThreadPoolExecutor(1) as threads:
        answers = threads.submit(send, server.address, MODEL, asks, AT_ONCE)
        totals, round_trips = _change_until(server, answers)
    after = server.wait_until_idle()
    return figures(answers.result(), before, after, totals, round_trips)


def _change_until(
    server: Server, answers: "Future[list[Answer]]"
) -> tuple[list[float], list[float]]:
    """Seconds: of all changes so far in the engine, and until each was answered."""
    inside: list[float] = []
    outside: list[float] = []
    for change in cycle(CHANGES):
        if answers.done():
            return inside, outside
        took = server.tune(change)
        inside.append(server.state()["core"]["change_seconds_total"])
        outside.append(took)
        pause(EVERY_SECONDS)
    return inside, outside


def figures(
    answers: Sequence[Answer],
    before: Mapping[str, Mapping[str, float]],
    after: Mapping[str, Mapping[str, float]],
    totals: Sequence[float],
    round_trips: Sequence[float],
) -> dict[str, float]:
    """Of one run.

    Args:
        answers: To all requests.
        before: State of the engine before the run.
        after: After it.
        totals: Seconds that all changes since the engine's start took, after each of this run.
        round_trips: Seconds until each was answered.
    """
    start = before["core"]["change_seconds_total"]
    each = [last - first for first, last in zip([start, *totals], totals, strict=False)]
    moved = {
        name: after["tier"][f"{name}_tokens"] - before["tier"][f"{name}_tokens"]
        for name in ("stored", "loaded", "evicted")
    }
    return {
        "requests": len(answers),
        "failed": sum(not answer.is_whole for answer in answers),
        "changes": len(each),
        "change_mean_ms": 1e3 * sum(each) / len(each),
        "change_longest_ms": 1e3 * max(each),
        "answer_mean_ms": 1e3 * sum(round_trips) / len(round_trips),
        "answer_longest_ms": 1e3 * max(round_trips),
        **{f"{name}_tokens": float(tokens) for name, tokens in moved.items()},
        "kv_usage_after": after["core"]["kv_cache_usage_ratio"],
    }


def judge(rows: Sequence[Row]) -> list[Judged]:
    """The goals."""
    return [
        judged(
            "longest change, in the engine, ms",
            over_seeds(rows, CASE, "change_longest_ms"),
            10.0,
            at_least=False,
        ),
        judged(
            f"failed of {REQUESTS:,} requests", over_seeds(rows, CASE, "failed"), 0, at_least=False
        ),
    ]


TRIAL = Trial(
    title="Changes under load",
    document="engine-changes",
    question=(
        f"{REQUESTS:,} requests, {AT_ONCE} at a time, to an engine with everything: level and "
        f"eviction of the host tier, its size, the scheduler's policy and caps change every "
        f"{EVERY_SECONDS:g} s and more. What does a change take, and does any request fail?"
    ),
    notes=(
        "a change's time is the engine's own (`change_seconds_total` of the part `core`), in which "
        "it runs no step; the answer comes when the step that runs has ended, twice: once to ask "
        "all parts whether they agree, once to change them",
        "a request that fails is one with another status than 200 or another number of tokens",
        "full speed: steps take as long as the tiny model needs on one CPU",
    ),
    columns={
        "requests": "requests",
        "failed": "failed",
        "changes": "changes",
        "change_mean_ms": "change: mean, ms",
        "change_longest_ms": "longest, ms",
        "answer_mean_ms": "answered: mean, ms",
        "answer_longest_ms": "longest, ms",
        "stored_tokens": "tokens stored",
        "loaded_tokens": "loaded",
        "evicted_tokens": "evicted",
        "kv_usage_after": "KV held at the end",
    },
    run=run,
    judge=judge,
    conditions={"flags": list(SETUP.flags), "settings": dict(SETUP.settings)},
)
