"""Slots full of long requests, and short ones that come: vLLM's own priorities against the plugin.

Both are told the same predictions, as wrong as a good predictor's: the true length times a factor
whose logarithm is normal, with a standard deviation of ``NOISE``. A third case knows the truth.
"""

import random
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from alise_bench.compare.results import Judged
from alise_bench.engine_trials.ask import Answer, Ask, send, some_prompt
from alise_bench.engine_trials.server import (
    MODEL,
    SCHEDULER,
    STEP_SECONDS,
    Server,
    Setup,
    pause,
    running_engines,
)
from alise_bench.engine_trials.trial import Row, Say, Trial, at, judged, ratios
from alise_bench.processes import ChildFailed
from alise_bench.vllm.command import BLOCK_TOKENS
from alise_bench.vllm.place import VllmPlace
from alise_core.wire.engine_metrics import GENERATION_TOKENS

STOCK, OURS, EXACT = "vllm-priority", "default", "default, true lengths"
SLOTS = 8
LONGS = 36
LONG_TOKENS, SHORT_TOKENS = (300, 400), (10, 40)
SHORTS = 60
SHORTS_FROM_S, SHORTS_UNTIL_S = 2.0, 32.0
"""When short ones come: every slot has a long one by then, and long ones wait all the time.

Several times as long as a short request waits for vLLM's own priorities: what waits at the end, and
is work that one case has not done yet, is little of the whole.
"""
PROMPT_TOKENS = 40
NOISE = 0.5
_P90_RATIO = 1.9
"""90th percentile over median of such a factor: exp(1.2816 * NOISE)."""
_FLAGS = (f"--max-num-seqs={SLOTS}", "--max-model-len=2048", f"--block-size={BLOCK_TOKENS}")
SETUPS = (
    Setup(STOCK, (*_FLAGS, "--scheduling-policy=priority")),
    Setup(OURS, (*_FLAGS, SCHEDULER)),
)


CASES = {STOCK: 0, OURS: 1, EXACT: 1}
"""By case: which of the servers."""


def plan(seed: int, case: str) -> list[Ask]:
    """What is sent, the same in all cases but for what is told of its length."""
    generator = random.Random(seed)  # noqa: S311
    drawn: list[tuple[float, str, int]] = [
        (0.0, "long", generator.randint(*LONG_TOKENS)) for _ in range(LONGS)
    ]
    drawn += [
        (
            generator.uniform(SHORTS_FROM_S, SHORTS_UNTIL_S),
            "short",
            generator.randint(*SHORT_TOKENS),
        )
        for _ in range(SHORTS)
    ]
    asks = []
    for at_s, kind, tokens in sorted(drawn):
        factor = generator.lognormvariate(0, NOISE)
        p50 = tokens if case == EXACT else max(1, round(tokens * factor))
        prompt = some_prompt(generator, PROMPT_TOKENS)
        asks.append(Ask(at_s, kind, prompt, tokens, _told(case, p50)))
    return asks


def figures(answers: Sequence[Answer], full_tokens: float) -> dict[str, float]:
    """Of one run.

    Args:
        answers: To all requests.
        full_tokens: That were generated while short ones came: all slots are taken then.

    Raises:
        ChildFailed: An answer is not whole: that would be another experiment.
    """
    if not all(answer.is_whole and answer.queue_s is not None for answer in answers):
        raise ChildFailed("an answer is not what was asked for, or has no queue time")
    waits = {kind: _waits(answers, kind) for kind in ("short", "long")}
    seconds = {
        kind: [answer.seconds for answer in answers if answer.ask.kind == kind] for kind in waits
    }
    whole = max(answer.sent_s + answer.seconds for answer in answers)
    return {
        "short_queue_p50_s": at(waits["short"], 0.5),
        "short_queue_p95_s": at(waits["short"], 0.95),
        "short_total_p95_s": at(seconds["short"], 0.95),
        "long_total_mean_s": sum(seconds["long"]) / len(seconds["long"]),
        "long_total_max_s": max(seconds["long"]),
        "tokens_per_s": full_tokens / (SHORTS_UNTIL_S - SHORTS_FROM_S),
        "all_done_s": whole,
    }


def _waits(answers: Sequence[Answer], kind: str) -> list[float]:
    return [answer.queue_s or 0.0 for answer in answers if answer.ask.kind == kind]


def _told(case: str, p50: int) -> dict[str, Any]:
    if case == STOCK:
        return {"priority": p50}
    p90 = p50 if case == EXACT else round(_P90_RATIO * p50)
    return {"vllm_xargs": {"alise_p50": p50, "alise_p90": p90}}


def run(place: VllmPlace, folder: Path, seeds: Sequence[int], say: Say) -> list[Row]:
    """All cases in turn for every seed, one at a time."""
    rows = []
    with running_engines(place, SETUPS, folder) as servers:
        _warm(servers)
        for seed in seeds:
            for case, number in CASES.items():
                rows.append(Row(case, seed, _measure(servers[number], plan(seed, case))))
                say(f"measured: {case}, seed {seed}: {rows[-1].figures}")
    return rows


def _measure(server: Server, asks: Sequence[Ask]) -> dict[str, float]:
    with ThreadPoolExecutor(1) as threads:
        counted = threads.submit(_count, server)
        answers = send(server.address, MODEL, asks)
    first, last = counted.result()
    return figures(answers, last - first)


def _count(server: Server) -> tuple[float, float]:
    """Tokens generated when short requests begin to come, and when they cease."""
    pause(SHORTS_FROM_S)
    first = server.metric(GENERATION_TOKENS)
    pause(SHORTS_UNTIL_S - SHORTS_FROM_S)
    return first, server.metric(GENERATION_TOKENS)


def _warm(servers: Sequence[Server]) -> None:
    for server in servers:
        send(server.address, MODEL, [Ask(0.0, "warm", [1, 2, 3], 4)])


def _at_least_a_step(rows: Sequence[Row]) -> list[Row]:
    """With waits that are shorter than a step counted as one: what is less is luck."""
    name = "short_queue_p95_s"
    return [
        Row(row.case, row.seed, {**row.figures, name: max(row.figures[name], STEP_SECONDS)})
        for row in rows
    ]


def judge(rows: Sequence[Row]) -> list[Judged]:
    """The goals."""
    goals = []
    for case in (OURS, EXACT):
        gain = ratios(_at_least_a_step(rows), "short_queue_p95_s", STOCK, case)
        kept = ratios(rows, "tokens_per_s", case, STOCK)
        waited = f"short requests' p95 queue time, {STOCK} by {case}"
        goals.append(judged(waited, gain, 10.0, at_least=True))
        throughput = f"tokens/s while slots are full, {case} by {STOCK}"
        goals.append(judged(throughput, kept, 0.97, at_least=True))
        # Of the same requests: tokens/s are in the ratio of the times.
        whole = ratios(rows, "all_done_s", STOCK, case)
        throughput = f"tokens/s until all is done, {case} by {STOCK}"
        goals.append(judged(throughput, whole, 0.97, at_least=True))
    return goals


TRIAL = Trial(
    title="Slots full of long requests",
    document="engine-slots",
    question=(
        f"{LONGS} long requests ({LONG_TOKENS[0]} to {LONG_TOKENS[1]} tokens) come at once to an "
        f"engine with {SLOTS} slots; {SHORTS} short ones ({SHORT_TOKENS[0]} to {SHORT_TOKENS[1]}) "
        f"come between {SHORTS_FROM_S:g} and {SHORTS_UNTIL_S:g} s. How long do these wait?"
    ),
    notes=(
        "vllm-priority is vLLM's own priority scheduling with the predicted median as priority: it "
        "takes the shortest of those that wait, and lets what runs run; default is the "
        "plugin as it ships",
        "both are told the same predictions: the truth times a log-normal factor of sigma "
        f"{NOISE:g}",
        "tokens/s while full: generated while short requests come, when long ones wait in either "
        "case; vllm-priority leaves prompts of short ones, and their work, for later",
        "tokens/s until all is done: all the work that there is, and the end, when what gave way "
        "runs last and slots idle",
        "queue time is the engine's own word, until a request runs for the first time; in the goal "
        "it counts as one step at least",
        f"a step takes at least {STEP_SECONDS * 1_000:g} ms (alise_vllm.pace); cases take turns on "
        "the same CPU",
    ),
    columns={
        "short_queue_p50_s": "short: queue p50, s",
        "short_queue_p95_s": "short: queue p95, s",
        "short_total_p95_s": "short: p95, s",
        "long_total_mean_s": "long: mean, s",
        "long_total_max_s": "long: longest, s",
        "tokens_per_s": "tokens/s while full",
        "all_done_s": "all done, s",
    },
    run=run,
    judge=judge,
    conditions={setup.name: list(setup.flags) for setup in SETUPS},
)
