"""Whether it pays to know who waits: ``ewt`` against ``lru``, where it can and where it cannot."""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from alise_bench.compare.results import Judged
from alise_bench.engine_trials.ask import Answer, Ask, send, some_prompt
from alise_bench.engine_trials.server import (
    MODEL,
    STEP_SECONDS,
    Server,
    Setup,
    running_engines,
    tier_flags,
)
from alise_bench.engine_trials.trial import Row, Say, Trial, at, judged, ratios
from alise_bench.processes import ChildFailed
from alise_bench.vllm.command import BLOCK_TOKENS
from alise_bench.vllm.place import VllmPlace

POLICIES = ("lru", "ewt")
INTERRUPTED, SESSIONS = "interrupted", "sessions"
SLOTS, BLOCKS = 4, 104
STEP_TOKENS = 64
"""That a step computes at most: with steps of 25 ms an engine of 2,560 prompt tokens a second."""
INTERRUPTED_CHUNKS, SESSIONS_CHUNKS = 100, 160
"""That the tier holds: what gives way, and not what passes in the meantime; more than the device,
and not all conversations."""
CHUNK_BYTES = 65_536
"""Of the tiny model's KV in blocks of ``BLOCK_TOKENS``."""
SETUP = Setup(
    "eviction",
    (*tier_flags(SLOTS, BLOCKS, 2_048), f"--max-num-batched-tokens={STEP_TOKENS}"),
    {
        "scheduler": {"policy": "gittins"},
        "tier": {
            "capacity_bytes": INTERRUPTED_CHUNKS * CHUNK_BYTES,
            "level": "none",
            "eviction": "lru",
        },
    },
)

LONGS, LONG_PROMPT, LONG_TOKENS = 4, 480, 300
BURSTS_AT_S = (4.0, 11.0)
BURST, BURST_PROMPT, BURST_TOKENS = 16, 320, 10

USERS, TURNS, FIRST_PROMPT, TURN_PROMPT, TURN_TOKENS = 14, 4, 320, 64, 12
TURN_EVERY_S, LEAST_GAP_S = 5.0, 1.0


@dataclass(frozen=True, slots=True)
class Scene:
    """A load.

    Attributes:
        plan: What is sent, by seed.
        judged: Kind of the requests whose time counts.
        chunks: That the tier holds.
    """

    plan: Callable[[int], list[Ask]]
    judged: str
    chunks: int


def interrupted(seed: int) -> list[Ask]:
    """Long requests that give way to bursts of short ones, whose prompts nobody needs again."""
    generator = random.Random(seed)  # noqa: S311
    asks = [
        Ask(0.0, "long", some_prompt(generator, LONG_PROMPT), LONG_TOKENS, _told(LONG_TOKENS))
        for _ in range(LONGS)
    ]
    for burst in BURSTS_AT_S:
        for _ in range(BURST):
            prompt = some_prompt(generator, BURST_PROMPT)
            begin = burst + generator.uniform(0.0, 0.5)
            asks.append(Ask(begin, "short", prompt, BURST_TOKENS, _told(BURST_TOKENS)))
    return sorted(asks, key=lambda ask: ask.at_s)


def sessions(seed: int) -> list[Ask]:
    """Conversations that come back after a while: nobody waits, and nothing says who is next."""
    generator = random.Random(seed)  # noqa: S311
    asks = []
    for _ in range(USERS):
        prompt = some_prompt(generator, FIRST_PROMPT)
        begin = generator.uniform(0.0, TURN_EVERY_S)
        for turn in range(TURNS):
            kind = "turn" if turn else "first"
            asks.append(Ask(begin, kind, list(prompt), TURN_TOKENS, _told(TURN_TOKENS)))
            prompt += some_prompt(generator, TURN_PROMPT)
            begin += LEAST_GAP_S + generator.expovariate(1 / (TURN_EVERY_S - LEAST_GAP_S))
    return sorted(asks, key=lambda ask: ask.at_s)


SCENES: Mapping[str, Scene] = {
    INTERRUPTED: Scene(interrupted, "long", INTERRUPTED_CHUNKS),
    SESSIONS: Scene(sessions, "turn", SESSIONS_CHUNKS),
}


def _told(tokens: int) -> dict[str, Any]:
    return {"vllm_xargs": {"alise_p50": tokens, "alise_p90": tokens + 1}}


def case_of(scene: str, policy: str) -> str:
    """Name of a row."""
    return f"{scene}: {policy}"


def run(place: VllmPlace, folder: Path, seeds: Sequence[int], say: Say) -> list[Row]:
    """Both policies in turn on both loads, for every seed, one at a time."""
    rows = []
    with running_engines(place, [SETUP], folder) as (server,):
        for seed in seeds:
            for name, scene in SCENES.items():
                # Neither is always the first to find the machine warm.
                for policy in POLICIES if seed % 2 else reversed(POLICIES):
                    found = _measure(server, scene, policy, seed)
                    rows.append(Row(case_of(name, policy), seed, found))
                    say(f"measured: {rows[-1].case}, seed {seed}: {found}")
    return rows


def _measure(server: Server, scene: Scene, policy: str, seed: int) -> dict[str, float]:
    server.tune({"tier": {"eviction": policy, "capacity_bytes": scene.chunks * CHUNK_BYTES}})
    # The same load, but no prompt begins as any did before: nothing that is left is of use.
    asks = [replace(ask, prompt=[_mark(policy), *ask.prompt[1:]]) for ask in scene.plan(seed)]
    before = server.wait_until_idle()
    answers = send(server.address, MODEL, asks)
    after = server.wait_until_idle()
    return figures(scene, answers, before, after)


def _mark(policy: str) -> int:
    """A token that prompts have at no place, of one policy's run."""
    return 1 + POLICIES.index(policy)


def figures(
    scene: Scene,
    answers: Sequence[Answer],
    before: Mapping[str, Mapping[str, float]],
    after: Mapping[str, Mapping[str, float]],
) -> dict[str, float]:
    """Of one run.

    Raises:
        ChildFailed: An answer is not whole.
    """
    if not all(answer.is_whole for answer in answers):
        raise ChildFailed("an answer is not what was asked for")
    seconds = [answer.seconds for answer in answers if answer.ask.kind == scene.judged]
    scheduler, tier = (
        {name: after[part][name] - before[part][name] for name in names}
        for part, names in (
            ("scheduler", ("restored_tokens_total", "recomputed_tokens_total", "resumed_total")),
            ("tier", ("loaded_tokens", "evicted_tokens", "declined_tokens")),
        )
    )
    return {
        "mean_s": sum(seconds) / len(seconds),
        "p95_s": at(seconds, 0.95),
        "all_done_s": max(answer.sent_s + answer.seconds for answer in answers),
        **scheduler,
        **tier,
    }


def judge(rows: Sequence[Row]) -> list[Judged]:
    """Who is faster where."""
    return [
        judged(
            f"{SCENES[scene].judged} requests' mean time, ewt by lru, {scene}",
            ratios(rows, "mean_s", case_of(scene, "ewt"), case_of(scene, "lru")),
            1.0,
            at_least=False,
        )
        for scene in SCENES
    ]


TRIAL = Trial(
    title="Eviction by expected wait, against recency",
    document="eviction",
    question=(
        "A host tier too small for everything: does it pay to evict by expected wait (`ewt`) "
        "rather than by last use (`lru`)?"
    ),
    notes=(
        f"{INTERRUPTED}: {LONGS} requests (prompt {LONG_PROMPT} tokens, answer {LONG_TOKENS}) hold "
        f"all slots and give way to bursts of {BURST} short ones (prompt {BURST_PROMPT}, answer "
        f"{BURST_TOKENS}). ewt knows that the long ones come back and that what has ended does "
        "not; lru sees the short ones' chunks as the newer ones",
        f"{SESSIONS}: {USERS} conversations of {TURNS} turns that come back after {TURN_EVERY_S:g} "
        f"s on average ({LEAST_GAP_S:g} s and an exponential rest); nobody waits in between, so "
        "that ewt knows nothing that lru does not",
        f"the tier holds {INTERRUPTED_CHUNKS} chunks of {BLOCK_TOKENS} tokens for the first and "
        f"{SESSIONS_CHUNKS} for the second, the device {BLOCKS}",
        f"a step computes at most {STEP_TOKENS} tokens and takes at least "
        f"{STEP_SECONDS * 1_000:g} ms, as an engine of {STEP_TOKENS / STEP_SECONDS:,.0f} prompt "
        "tokens a second: computing anew costs what it costs elsewhere",
        "mean and p95 are of the requests that could profit: the long ones, the later turns",
    ),
    columns={
        "mean_s": "mean, s",
        "p95_s": "p95, s",
        "all_done_s": "all done, s",
        "resumed_total": "resumed",
        "restored_tokens_total": "tokens restored",
        "recomputed_tokens_total": "computed anew",
        "loaded_tokens": "loaded from host",
        "evicted_tokens": "evicted",
    },
    run=run,
    judge=judge,
    conditions={"flags": list(SETUP.flags), "settings": dict(SETUP.settings)},
)
