"""Asks engines for the log-probabilities that they give to fixed tokens.

Three requests per probe: the unchanged engine goes on with a prompt, then both score prompt and
continuation. What engines send is not trusted: sizes and times are bounded, and numbers may be
absent, infinite or none.

Source: vLLM 0.32 ``entrypoints/openai/completion/protocol.py`` (``prompt_logprobs``,
``return_token_ids``); the first token of a prompt has no entry.
"""

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf, isfinite, nan
from pathlib import Path
from typing import cast

import httpx

from alise_core.errors import AliseError
from alise_operator.canary.quality import TokenScore

_PROMPTS = Path(__file__).with_name("probes.json")
_MOST_BYTES = 16 * 1024 * 1024
_MOST_REASON_CHARS = 200
_IMPOSSIBLE = -9_999.0
_FIRST = 1
"""The first token follows nothing and is not scored."""

TokenIds = tuple[int, ...]


class NotProbed(AliseError):
    """An engine did not answer as it should."""


@dataclass(frozen=True, slots=True)
class Text:
    """Tokens to score.

    Attributes:
        ids: All of them.
        drawn_from: Where those begin that the unchanged engine drew.
    """

    ids: TokenIds
    drawn_from: int


def probe_prompts() -> tuple[str, ...]:
    """The prompts that ship with ALISE."""
    return tuple(json.loads(_PROMPTS.read_text(encoding="utf-8")))


class Prober:
    """Asks one engine.

    Args:
        client: Whose; it is not closed here.
        url: Of the engine, without a path.
        model: As the engine calls it.
        timeout_seconds: Of one exchange, all of it.
        top: Log-probabilities per token; vLLM's ``--max-logprobs`` is 20 by default.
        key: Of the engine's API, if it has one.
    """

    def __init__(
        self,
        client: httpx.AsyncClient,
        url: str,
        model: str,
        *,
        timeout_seconds: float = 60.0,
        top: int = 10,
        key: str | None = None,
    ) -> None:
        self._client, self._url, self._model = client, f"{url}/v1/completions", model
        self._timeout_seconds, self._top = timeout_seconds, top
        self._headers = {"authorization": f"Bearer {key}"} if key else {}

    async def draw(self, prompt: str, tokens: int, seed: int) -> Text:
        """Have the engine go on with a prompt, at temperature 1.

        Raises:
            NotProbed: It does not answer as it should.
        """
        choice = await self._ask(
            prompt=prompt,
            max_tokens=tokens,
            temperature=1.0,
            seed=seed,
            ignore_eos=True,
            return_token_ids=True,
        )
        before, after = _ids(choice, "prompt_token_ids"), _ids(choice, "token_ids")
        return Text((*before, *after), len(before))

    async def score(self, text: Text) -> tuple[TokenScore, ...]:
        """The log-probabilities of a text's tokens but the first.

        Raises:
            NotProbed: It does not answer as it should.
        """
        choice = await self._ask(
            prompt=list(text.ids), max_tokens=1, temperature=0.0, prompt_logprobs=self._top
        )
        return parse_scores(choice.get("prompt_logprobs"), text)

    async def _ask(self, **body: object) -> Mapping[str, object]:
        reply = await self._exchange({"model": self._model, **body})
        choices = reply.get("choices")
        if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
            raise NotProbed(f"{self._url}: the answer has no choices")
        return cast("Mapping[str, object]", choices[0])

    async def _exchange(self, body: Mapping[str, object]) -> Mapping[str, object]:
        request = self._client.build_request("POST", self._url, json=body, headers=self._headers)
        return await _exchanged(self._client, request, self._timeout_seconds)


async def served_model(
    client: httpx.AsyncClient, url: str, *, timeout_seconds: float = 60.0, key: str | None = None
) -> str:
    """The first model that an engine serves, which is its own and no adapter's.

    Raises:
        NotProbed: It does not say.
    """
    headers = {"authorization": f"Bearer {key}"} if key else {}
    request = client.build_request("GET", f"{url}/v1/models", headers=headers)
    reply = await _exchanged(client, request, timeout_seconds)
    models = reply.get("data")
    name = models[0].get("id") if isinstance(models, list) and _is_object(models[:1]) else None
    if not isinstance(name, str) or not name:
        raise NotProbed(f"{url} names no model")
    return name


def _is_object(items: list[object]) -> bool:
    return bool(items) and isinstance(items[0], dict)


async def _exchanged(
    client: httpx.AsyncClient, request: httpx.Request, timeout_seconds: float
) -> Mapping[str, object]:
    """One exchange, bounded in time and size; an answer that is no object is an empty one."""
    request.headers["accept-encoding"] = "identity"
    url, read = str(request.url), bytearray()
    try:
        async with asyncio.timeout(timeout_seconds):
            answer = await client.send(request, stream=True)
            try:
                async for part in answer.aiter_raw():
                    read += part
                    if len(read) > _MOST_BYTES:
                        raise NotProbed(f"{url}: more than {_MOST_BYTES} bytes")
            finally:
                await answer.aclose()
        if answer.status_code != httpx.codes.OK:
            raise NotProbed(f"{url} answered {answer.status_code}")
        found = json.loads(read)
    except TimeoutError:
        raise NotProbed(f"{url}: no answer in {timeout_seconds:g} s") from None
    except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, OSError) as error:
        reason = f"{url}: {type(error).__name__}: {error}"
        raise NotProbed(reason[:_MOST_REASON_CHARS]) from error
    except (ValueError, RecursionError):
        raise NotProbed(f"{url}: the answer is not JSON") from None
    return found if isinstance(found, dict) else {}


def parse_scores(raw: object, text: Text) -> tuple[TokenScore, ...]:
    """The scores of a text out of vLLM's ``prompt_logprobs``; NaN of what it gives no number.

    Raises:
        NotProbed: It is not a list with an entry for each token.
    """
    if not isinstance(raw, list) or len(raw) != len(text.ids):
        size = len(raw) if isinstance(raw, list) else "no"
        raise NotProbed(f"{size} log-probabilities came for {len(text.ids)} tokens")
    return tuple(
        _score(entry, token, drawn=at >= text.drawn_from)
        for at, (entry, token) in enumerate(zip(raw, text.ids, strict=True))
        if at >= _FIRST
    )


def _score(entry: object, token: int, *, drawn: bool) -> TokenScore:
    top: dict[int, float] = {}
    for name, one in entry.items() if isinstance(entry, dict) else ():
        value = _logprob(one)
        if value is not None and str(name).isdecimal():
            top[int(name)] = value
    return TokenScore(top.get(token, nan), top, drawn)


def _logprob(one: object) -> float | None:
    """VLLM writes -9999 for minus infinity, since JSON has none; others may write that."""
    value = one.get("logprob") if isinstance(one, dict) else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if value == -inf:
        return _IMPOSSIBLE
    return float(value) if isfinite(value) else None


def _ids(choice: Mapping[str, object], name: str) -> TokenIds:
    raw = choice.get(name)
    if not isinstance(raw, list) or not raw or not all(type(one) is int for one in raw):
        raise NotProbed(f"the answer has no {name}")
    return tuple(cast("list[int]", raw))


async def probe_pair(
    unchanged: Prober, changed: Prober, prompts: Sequence[str], tokens: int, seed: int
) -> tuple[list[tuple[TokenScore, ...]], list[tuple[TokenScore, ...]]]:
    """Scores of the same texts by both, one probe after the other: engines serve others too.

    Raises:
        NotProbed: One of them does not answer as it should.
    """
    ours, theirs = [], []
    for at, prompt in enumerate(prompts):
        text = await unchanged.draw(prompt, tokens, seed + at)
        ours.append(await unchanged.score(text))
        theirs.append(await changed.score(text))
    return ours, theirs
