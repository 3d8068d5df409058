"""What the host tier holds, gives back and loses, at each of its levels."""

import random
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from statistics import mean

from alise_bench.compare.results import Judged
from alise_bench.engine_trials.ask import Ask, send, some_prompt
from alise_bench.engine_trials.server import (
    MODEL,
    Server,
    Setup,
    pause,
    running_engines,
    tier_flags,
)
from alise_bench.engine_trials.trial import Row, Say, Trial, at, judged, over_seeds, ratios
from alise_bench.processes import ChildFailed
from alise_bench.vllm.place import VllmPlace
from alise_core.wire.engine_metrics import GENERATION_TOKENS

LEVELS = ("none", "int8", "int4")
NOISE = "bfloat16 against float32"
"""The row of what the dtype does by itself."""
SLOTS, BLOCKS = 2, 56
"""Room on the device for two long requests and a short one; what gave way is soon overwritten."""
SMALL_TOKENS, LARGE_TOKENS = 6_144, 32_768
"""Of the tier, as they are in memory: to be filled, and to have room."""
LONG_PROMPT, LONG_TOKENS, SHORT_PROMPT, SHORT_TOKENS = 40, 700, 400, 16
SHORTS, ROUNDS = 6, 3
PROMPTS, PROMPT_TOKENS, TOP = 24, 600, 20
_FILL_TOKENS = 900
_MIDDLE, _LOOK_SECONDS = 0.6, 0.02
FLAGS = tier_flags(SLOTS, BLOCKS, 1_024)
EXACT = Setup(
    "float32",
    (f"--max-num-seqs={SLOTS}", "--max-model-len=1024", "--dtype=float32"),
    step_seconds=None,
)


def run(place: VllmPlace, folder: Path, seeds: Sequence[int], say: Say) -> list[Row]:
    """All levels for every seed."""
    rows = []
    small, large = (each * place.kv_bytes_per_token() for each in (SMALL_TOKENS, LARGE_TOKENS))
    settings = {
        "scheduler": {"policy": "gittins"},
        "tier": {"capacity_bytes": large, "level": "none", "eviction": "ewt"},
    }
    setup = Setup("tier", FLAGS, settings, step_seconds=None)
    with running_engines(place, [setup, EXACT], folder) as (server, exact):
        for seed in seeds:
            generator = random.Random(seed)  # noqa: S311
            for level in LEVELS:
                server.tune({"tier": {"level": level, "capacity_bytes": small}})
                found = _held(server, level, generator, small)
                server.tune({"tier": {"capacity_bytes": large}})
                found |= {
                    **_given_back(server, level, generator),
                    **_lost(server, level, generator),
                }
                rows.append(Row(level, seed, found))
                say(f"measured: {level}, seed {seed}: {found}")
            rows.append(Row(NOISE, seed, _noise(server, exact, generator)))
            say(f"measured: {NOISE}, seed {seed}: {rows[-1].figures}")
    return rows


def _held(server: Server, level: str, generator: random.Random, size: int) -> dict[str, float]:
    """Chunks that a tier of so many bytes holds when it is full of that level."""
    for _ in count():
        tier = server.wait_until_idle()["tier"]
        own, every = tier["chunks"][level], sum(tier["chunks"].values())
        if own == every and tier["used_bytes"] > size - 2 * _chunk_bytes(tier):
            break
        send(server.address, MODEL, [Ask(0.0, "fill", some_prompt(generator, _FILL_TOKENS), 1)])
    return {"held_chunks": own}


def _chunk_bytes(tier: Mapping[str, float]) -> float:
    held = sum(tier["chunks"].values())  # type: ignore[attr-defined]
    return tier["used_bytes"] / max(1, held)


def _given_back(server: Server, level: str, generator: random.Random) -> dict[str, float]:
    """Of what preempted requests had in memory: how much is found again, and where."""
    server.tune({"tier": {"level": level}})
    before = server.wait_until_idle()
    for _ in range(ROUNDS):
        _interrupt(server, generator)
    after = server.wait_until_idle()
    restored, again = (
        after["scheduler"][name] - before["scheduler"][name]
        for name in ("restored_tokens_total", "recomputed_tokens_total")
    )
    if not restored + again:
        raise ChildFailed("nobody was preempted")
    loaded, declined = (
        after["tier"][name] - before["tier"][name]
        for name in ("restored_tokens", "declined_tokens")
    )
    return {
        "preempted_tokens": restored + again,
        "restored_share": restored / (restored + again),
        "from_host_share": loaded / (restored + again),
        "declined_tokens": declined,
    }


def _interrupt(server: Server, generator: random.Random) -> None:
    """Two long requests take both slots; short ones come when those are past their middle."""

    def ask(kind: str, tokens: int, prompt: int) -> Ask:
        said = {"vllm_xargs": {"alise_p50": tokens, "alise_p90": tokens + 1}}
        return Ask(0.0, kind, some_prompt(generator, prompt), tokens, said)

    longs = [ask("long", LONG_TOKENS, LONG_PROMPT) for _ in range(SLOTS)]
    shorts = [ask("short", SHORT_TOKENS, SHORT_PROMPT) for _ in range(SHORTS)]
    before = server.metric(GENERATION_TOKENS)

    with ThreadPoolExecutor(1) as threads:
        running = threads.submit(send, server.address, MODEL, longs)
        while server.metric(GENERATION_TOKENS) - before < _MIDDLE * SLOTS * LONG_TOKENS:
            server.child.check_alive()
            pause(_LOOK_SECONDS)
        answers = send(server.address, MODEL, shorts) + running.result()
    if not all(answer.is_whole for answer in answers):
        raise ChildFailed("an answer is not what was asked for")


def _lost(server: Server, level: str, generator: random.Random) -> dict[str, float]:
    """How far the logprobs of a prompt's next token are off when it is loaded from the host.

    At ``none`` every byte comes back and nothing should differ.
    """
    server.tune({"tier": {"level": level}})
    prompts = [some_prompt(generator, PROMPT_TOKENS) for _ in range(PROMPTS)]
    computed = [_top(server, prompt) for prompt in prompts]
    before = server.wait_until_idle()["tier"]["loaded_tokens"]
    again = [_top(server, prompt) for prompt in reversed(prompts)][::-1]
    loaded = server.wait_until_idle()["tier"]["loaded_tokens"] - before
    return {"loaded_share": loaded / (PROMPTS * PROMPT_TOKENS), **_off(computed, again)}


def _noise(server: Server, exact: Server, generator: random.Random) -> dict[str, float]:
    """How far the dtype's own rounding puts them off: the same model and prompts in float32."""
    prompts = [some_prompt(generator, PROMPT_TOKENS) for _ in range(PROMPTS)]
    tops = [[_top(each, prompt) for prompt in prompts] for each in (server, exact)]
    return _off(*tops)


def _off(
    first: Sequence[Mapping[str, float]], second: Sequence[Mapping[str, float]]
) -> dict[str, float]:
    off = [
        abs(one[token] - other[token])
        for one, other in zip(first, second, strict=True)
        for token in one.keys() & other.keys()
    ]
    return {
        "logprob_off_mean_e3": 1e3 * mean(off),
        "logprob_off_p99_e3": 1e3 * at(off, 0.99),
        "logprob_off_max_e3": 1e3 * max(off),
    }


def _top(server: Server, prompt: Sequence[int]) -> dict[str, float]:
    (answer,) = send(server.address, MODEL, [Ask(0.0, "probe", prompt, 1, {"logprobs": TOP})])
    return answer.logprobs


def judge(rows: Sequence[Row]) -> list[Judged]:
    """The goals."""
    return [
        *(
            judged(
                f"KV restored when a preempted request resumes, {level}",
                over_seeds(rows, level, "restored_share"),
                0.9,
                at_least=True,
            )
            for level in LEVELS
        ),
        judged(
            "chunks that int8 holds by none's",
            ratios(rows, "held_chunks", "int8", "none"),
            1.9,
            at_least=True,
        ),
        judged(
            f"mean logprob off, int8 by {NOISE}",
            ratios(rows, "logprob_off_mean_e3", "int8", NOISE),
            1.0,
            at_least=False,
        ),
    ]


TRIAL = Trial(
    title="The host tier's levels",
    document="tier",
    question=(
        "How many chunks does a full tier hold at each level? How much of a preempted request's "
        "KV is found again when it resumes and the tier has room? How far off are the logprobs of "
        "a token that follows a prompt which was loaded from the host instead of computed?"
    ),
    notes=(
        f"held: a tier as large as {SMALL_TOKENS:,} tokens are on the device, filled with prompts "
        f"until every chunk is of the level; for all else it has room for {LARGE_TOKENS:,}",
        f"restored: {ROUNDS} times two answers of {LONG_TOKENS} tokens give way, past their "
        f"middle, to {SHORTS} of {SHORT_TOKENS} with prompts of {SHORT_PROMPT}, for which the "
        "device needs the room. From host: the share that the tier brought back; not worth "
        "loading: tokens that it had and that were computed anew, as twice the copy took longer",
        f"logprobs: {PROMPTS} prompts of {PROMPT_TOKENS} tokens, each one's {TOP} likeliest next "
        f"tokens, computed and loaded again; {NOISE}: the same, computed by this engine and by one "
        "whose weights and KV are float32, which is what the dtype's own rounding does",
        "the weights are random: differences are of this model's scale; what counts is how they "
        "compare with the dtype's",
    ),
    columns={
        "held_chunks": "chunks held",
        "preempted_tokens": "tokens preempted",
        "restored_share": "restored",
        "from_host_share": "from host",
        "declined_tokens": "not worth loading",
        "loaded_share": "prompts loaded",
        "logprob_off_mean_e3": "logprob off: mean, 1/1000",
        "logprob_off_p99_e3": "p99, 1/1000",
        "logprob_off_max_e3": "max, 1/1000",
    },
    run=run,
    judge=judge,
    conditions={"flags": list(FLAGS)},
)
