"""What the dtype of the KV cache does to an engine: how much fits, and how exact its answers are.

Pure. The simulated model gives each of its words the same probability. A dtype that rounds KV moves
every log-probability by an error that depends on the tokens before it, the same at every run; what
is off by more is an engine whose kernel misreads the dtype, and which answers all the same.

Source: vLLM 0.32 on its CPU build with an 88M model: capacity 2.00 times with fp8; mean absolute
difference of prompt log-probabilities 0.038 (``fp8_e4m3``), 0.077 (``fp8_e5m2``), 0.39 to 0.60
where a dtype is misread.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import exp, log

from alise_bench.sim.text import END_OF_TEXT, TOKEN_TEXTS, mix, seed_of

AUTO = "auto"
MISREAD_ERROR = 0.5
_ELSEWHERE = -12.0
"""Of a token that the model never says, in nats: it says a hundred words only."""
_NEXT = 0x9E3779B1
_HALF = 1 << 30


@dataclass(frozen=True, slots=True)
class KvDtype:
    """One value of ``--kv-cache-dtype``.

    Attributes:
        name: As vLLM has it.
        capacity: Tokens in the same memory, by 16 bits.
        error: Mean absolute error of a log-probability, in nats.
    """

    name: str
    capacity: float = 1.0
    error: float = 0.0


DTYPES = {
    dtype.name: dtype
    for dtype in (
        KvDtype(AUTO),
        KvDtype("bfloat16"),
        KvDtype("float16"),
        KvDtype("fp8", 2.0, 0.038),
        KvDtype("fp8_e4m3", 2.0, 0.038),
        KvDtype("fp8_e5m2", 2.0, 0.077),
    )
}


@dataclass(frozen=True, slots=True)
class TokenLogprobs:
    """Log-probabilities at one place of a prompt.

    Attributes:
        token: That stands there.
        logprob: Its own, in nats.
        rank: Its own, from 1.
        top: Of the likeliest tokens, likeliest first.
    """

    token: int
    logprob: float
    rank: int
    top: tuple[tuple[int, float], ...]


def prompt_logprobs(
    tokens: Sequence[int], top: int, dtype: KvDtype
) -> Iterator[TokenLogprobs | None]:
    """What a model with this KV cache gives to each token; ``None`` to the first one.

    Args:
        tokens: Of the prompt.
        top: Tokens to list besides it.
        dtype: Of the cache.
    """
    context = seed_of(dtype.name)
    for at, token in enumerate(tokens):
        yield None if at == 0 else _at(token, context, top, dtype)
        context = mix(context ^ (token * _NEXT & 0xFFFFFFFF), at)


def decoded(token: int) -> str:
    """The text of a token; of one that the model never says nobody kept it."""
    return TOKEN_TEXTS.get(token, "<|endoftext|>" if token == END_OF_TEXT else f"<{token}>")


def _at(token: int, context: int, top: int, dtype: KvDtype) -> TokenLogprobs:
    logits = {one: _error(context, one, dtype) for one in TOKEN_TEXTS}
    whole = log(sum(map(exp, logits.values())))
    likeliest = sorted(logits.items(), key=lambda pair: -pair[1])
    listed = tuple((one, logit - whole) for one, logit in likeliest[:top])
    if token not in logits:
        own = _ELSEWHERE + _error(context, token, dtype)
        return TokenLogprobs(token, own, len(logits) + 1, listed)
    rank = 1 + sum(logit > logits[token] for logit in logits.values())
    return TokenLogprobs(token, logits[token] - whole, rank, listed)


def _error(context: int, token: int, dtype: KvDtype) -> float:
    """Uniform about nothing, with the dtype's mean absolute value."""
    if not dtype.error:
        return 0.0
    return 2.0 * dtype.error * (mix(context, token) / _HALF - 1.0)
