import asyncio
import json
from collections.abc import Callable
from math import isnan

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alise_operator.canary.probe import (
    NotProbed,
    Prober,
    Text,
    parse_scores,
    probe_pair,
    probe_prompts,
)

TEXT = Text((5, 6, 7), 2)


def entry(**logprobs: object) -> dict[str, object]:
    return {name.strip("t"): {"logprob": value, "rank": 1} for name, value in logprobs.items()}


def prober(answer: Callable[[httpx.Request], httpx.Response], **changes: float) -> Prober:
    def streamed(request: httpx.Request) -> httpx.Response:
        made = answer(request)
        return httpx.Response(made.status_code, stream=httpx.ByteStream(made.content))

    client = httpx.AsyncClient(transport=httpx.MockTransport(streamed))
    return Prober(client, "http://pod:8000", "m", key="secret", **changes)  # type: ignore[arg-type]


def engine(request: httpx.Request) -> httpx.Response:
    """Goes on with two tokens; gives each token the same."""
    body = json.loads(request.content)
    assert request.headers["authorization"] == "Bearer secret"
    choice: dict[str, object]
    if "prompt_logprobs" in body:
        assert body["temperature"] == 0.0
        told = [{str(one): {"logprob": -1.5}} for one in body["prompt"]]
        choice = {"prompt_logprobs": [None, *told[1:]]}
    else:
        assert body["temperature"] == 1.0
        choice = {"prompt_token_ids": [1, 2, 3], "token_ids": [body["seed"], 5]}
    return httpx.Response(200, json={"choices": [choice]})


async def test_both_score_what_the_unchanged_engine_said() -> None:
    ours, theirs = await probe_pair(prober(engine), prober(engine), ("a", "b"), 2, 40)
    assert ours == theirs
    assert [score.drawn for score in ours[0]] == [False, False, True, True]
    assert list(ours[1][2].top) == [41]


def test_scores_as_vllm_writes_them() -> None:
    first, second = parse_scores(
        [None, entry(t6=-0.5, t9=-1.0), entry(t1=-0.1, t7=-9999.0)], TEXT
    )  # fmt: skip
    assert (first.logprob, first.drawn, first.top) == (-0.5, False, {6: -0.5, 9: -1.0})
    assert (second.logprob, second.drawn) == (-9999.0, True)


@pytest.mark.parametrize(
    "odd",
    [None, {}, [], entry(t9=-1.0), entry(t6=float("nan")), entry(t6=None), entry(t6="x"),
     entry(t6=float("inf")), {"6": 3}, {"x": {"logprob": 1}}, entry(t6=True)],
)  # fmt: skip
def test_a_token_without_a_number_has_none(odd: object) -> None:
    assert isnan(parse_scores([None, odd, entry(t7=-1.0)], TEXT)[0].logprob)


def test_minus_infinity_is_impossible() -> None:
    raw = json.loads('[null, {"6": {"logprob": -Infinity}}, {}]')
    assert parse_scores(raw, TEXT)[0].logprob == -9999.0


@pytest.mark.parametrize("odd", [None, {}, "x", [], [None], [None] * 4])
def test_another_number_of_tokens_is_no_answer(odd: object) -> None:
    with pytest.raises(NotProbed, match="for 3 tokens"):
        parse_scores(odd, TEXT)


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner),
)


@given(JSON)
def test_whatever_comes_is_scored_or_refused(raw: object) -> None:
    try:
        assert len(parse_scores(raw, TEXT)) == 2
    except NotProbed:
        return


@pytest.mark.parametrize(
    ("response", "says"),
    [
        (httpx.Response(503), "answered 503"),
        (httpx.Response(200, text="<html>"), "not JSON"),
        (httpx.Response(200, text="[" * 100_000), "not JSON"),
        (httpx.Response(200, json=[]), "no choices"),
        (httpx.Response(200, json={"choices": []}), "no choices"),
        (httpx.Response(200, json={"choices": [{"token_ids": [1]}]}), "no prompt_token_ids"),
        (httpx.Response(200, json={"choices": [{"prompt_token_ids": ["x"]}]}), "prompt_token_ids"),
        (httpx.Response(200, content=b" " * (17 * 2**20)), "more than"),
    ],
)
async def test_answers_that_are_none(response: httpx.Response, says: str) -> None:
    with pytest.raises(NotProbed, match=says) as refused:
        await prober(lambda request: response).draw("a", 2, 0)
    assert "secret" not in str(refused.value)


async def test_an_engine_that_is_gone_or_slow() -> None:
    def gone(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    with pytest.raises(NotProbed, match="ConnectError"):
        await prober(gone).draw("a", 2, 0)

    async def never(request: httpx.Request) -> httpx.Response:
        await asyncio.Event().wait()
        raise AssertionError

    client = httpx.AsyncClient(transport=httpx.MockTransport(never))
    slow = Prober(client, "http://pod:8000", "m", timeout_seconds=0.01)
    with pytest.raises(NotProbed, match=r"no answer in 0\.01 s"):
        await slow.draw("a", 2, 0)


def test_prompts_ship_with_the_package() -> None:
    prompts = probe_prompts()
    assert len(set(prompts)) == len(prompts) >= 12
