"""What a KV cache dtype does to a simulated engine, asked as the operator asks."""

import json
from contextlib import AsyncExitStack
from math import exp
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alise_bench.sim.config import EngineConfig
from alise_bench.sim.kv_dtype import DTYPES, KvDtype, prompt_logprobs
from alise_bench.sim.text import TOKEN_TEXTS
from alise_core.crds.kv_cache_policy import QualityGate
from alise_operator.canary.gate import Outcome, Verdict, answer_checks
from alise_operator.canary.probe import Prober, probe_pair, probe_prompts
from alise_operator.canary.quality import Quality, compare
from fakes.engine import FAST, fast_engine, running_engine

TOKENS = st.lists(st.sampled_from(sorted(TOKEN_TEXTS)) | st.integers(0, 2**32 - 1), max_size=12)


async def probed(unchanged: EngineConfig, changed: EngineConfig) -> Quality:
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(httpx.AsyncClient(trust_env=False))
        engines = [
            await stack.enter_async_context(running_engine(config))
            for config in (unchanged, changed)
        ]
        one, other = (Prober(client, engine.url, "alise-sim") for engine in engines)
        return compare(*await probe_pair(one, other, probe_prompts()[:8], 48, seed=3))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("dtype", "misread", "outcome"),
    [
        ("auto", (), Outcome.PASSED),
        ("fp8", (), Outcome.PASSED),
        ("fp8_e5m2", (), Outcome.PASSED),
        ("fp8", ("fp8",), Outcome.FAILED),
    ],
)
async def test_the_gate_tells_rounding_from_misreading(
    dtype: str, misread: tuple[str, ...], outcome: Outcome
) -> None:
    changed = fast_engine(kv_cache_dtype=dtype, misread_dtypes=frozenset(misread))
    quality = await probed(fast_engine(), changed)

    verdict = Verdict(answer_checks(QualityGate(), quality))
    assert verdict.outcome is outcome, verdict.text
    assert (quality.kl.value == 0) == (dtype == "auto")


def test_a_smaller_dtype_has_more_blocks_and_says_so() -> None:
    exact, small = fast_engine(num_blocks=13), fast_engine(num_blocks=13, kv_cache_dtype="fp8")

    assert exact.scheduler.num_blocks == 13
    assert small.scheduler.num_blocks == 25
    assert small.timing.cache_dtype == "fp8"
    assert exact.timing.cache_dtype == FAST.cache_dtype


async def test_metrics_say_what_a_tuner_goes_by() -> None:
    async with (
        running_engine(fast_engine(num_blocks=13, kv_cache_dtype="fp8")) as engine,
        httpx.AsyncClient(trust_env=False) as client,
    ):
        page = (await client.get(f"{engine.url}/metrics")).text

    assert 'cache_dtype="fp8"' in page
    assert 'num_gpu_blocks="25"' in page


async def complete(**body: Any) -> httpx.Response:
    async with (
        running_engine(fast_engine()) as engine,
        httpx.AsyncClient(base_url=engine.url, trust_env=False) as client,
    ):
        return await client.post("/v1/completions", json={"model": "alise-sim", **body})


async def test_tokens_and_their_log_probabilities_are_there_when_asked_for() -> None:
    wanted = {"prompt": "the of a", "max_tokens": 4, "ignore_eos": True}
    plain = (await complete(**wanted)).json()["choices"][0]
    asked = await complete(**wanted, return_token_ids=True, prompt_logprobs=2)
    choice = asked.json()["choices"][0]

    assert (plain["prompt_logprobs"], plain["token_ids"], plain["prompt_token_ids"]) == (None,) * 3
    assert len(choice["token_ids"]) == 4
    assert "".join(TOKEN_TEXTS[token] for token in choice["token_ids"]) == choice["text"]
    first, *others = choice["prompt_logprobs"]
    assert first is None
    assert [next(iter(entry)) for entry in others] == [
        str(token) for token in choice["prompt_token_ids"][1:]
    ]
    assert all(2 <= len(entry) <= 3 for entry in others)
    own = others[0][str(choice["prompt_token_ids"][1])]
    assert own == {"logprob": pytest.approx(-4.585, abs=1e-3), "rank": 1, "decoded_token": " of"}


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"prompt_logprobs": 21}, "which is greater than max allowed: 20"),
        ({"prompt_logprobs": -2}, "must be a positive value or -1"),
        ({"prompt_logprobs": 1, "stream": True}, "not available when `stream=True`"),
    ],
)
async def test_what_vllm_refuses_is_refused(asked: dict[str, object], says: str) -> None:
    answer = await complete(prompt="a", **asked)

    assert answer.status_code == 400
    assert says in json.dumps(answer.json())


@given(TOKENS, st.integers(0, 20), st.sampled_from(sorted(DTYPES)))
def test_it_is_a_distribution_and_the_same_every_time(
    tokens: list[int], top: int, name: str
) -> None:
    dtype = DTYPES[name]
    found = list(prompt_logprobs(tokens, len(TOKEN_TEXTS), dtype))

    assert found == list(prompt_logprobs(tokens, len(TOKEN_TEXTS), dtype))
    assert found[:1] == [None][: len(tokens)]
    for place, token in zip(found[1:], tokens[1:], strict=True):
        assert place is not None
        assert sum(exp(logprob) for _, logprob in place.top) == pytest.approx(1.0)
        assert [logprob for _, logprob in place.top] == sorted(
            (logprob for _, logprob in place.top), reverse=True
        )
        assert dict(place.top).get(token, place.logprob) == place.logprob
    shorter = list(prompt_logprobs(tokens, top, dtype))
    assert all(
        one is None or (two is not None and one.top == two.top[:top])
        for one, two in zip(shorter, found, strict=True)
    )


def test_the_error_is_as_large_as_the_dtype_says() -> None:
    tokens = list(TOKEN_TEXTS) * 8
    exact = prompt_logprobs(tokens, 0, DTYPES["auto"])
    rounded = prompt_logprobs(tokens, 0, KvDtype("x", error=0.05))
    differences = [
        abs(one.logprob - two.logprob)
        for one, two in zip(exact, rounded, strict=True)
        if one is not None and two is not None
    ]

    assert sum(differences) / len(differences) == pytest.approx(0.05, rel=0.1)
