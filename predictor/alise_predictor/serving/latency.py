"""How long predictions take, on whichever machine and predictor; the clock is passed in."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from alise_core.clock import Clock
from alise_core.prediction import PredictionSource
from alise_predictor.request import PredictionRequest, from_prompt
from alise_predictor.serving.predictor import LengthPredictor

_VARIANTS = 16
"""Different prompts of each size, in turn: one alone would have its table rows in the cache."""
_WARMUP = 32
"""Calls before the first that counts: lazily built tables, branch predictors, clock speed."""
_FIRST, _MULTIPLIER, _MODULUS = 12_345, 48_271, 2_147_483_647
"""A Lehmer generator (Park and Miller's minimal standard): the same prompts everywhere."""
_LETTERS = "etaoinshrdlucmfwygpbvk"


@dataclass(frozen=True, slots=True)
class LatencyRow:
    """Times of one kind of call for one size of prompt.

    Attributes:
        source: The tier.
        prompt_bytes: Size of the prompt before it is cut.
        calls: How often it was called.
        p50_seconds: Median of one call.
        p99_seconds: 99th percentile of one call.
        calls_per_second: Calls through the sum of their times, on one core.
    """

    source: PredictionSource
    prompt_bytes: int
    calls: int
    p50_seconds: float
    p99_seconds: float
    calls_per_second: float


def measure_latency(
    predictor: LengthPredictor, sizes: Sequence[int], repeats: int, clock: Clock
) -> list[LatencyRow]:
    """Time ``predict``, features included.

    Args:
        predictor: Opened.
        sizes: Bytes of prompt, one row each.
        repeats: Calls per row, at least 1.
        clock: Read before and after every call.
    """
    return [
        _row(
            PredictionSource.TIER0,
            size,
            _times([partial(predictor.predict, each) for each in _requests(size)], repeats, clock),
        )
        for size in sizes
    ]


def measure_refinement(
    predictor: LengthPredictor, sizes: Sequence[int], repeats: int, clock: Clock
) -> list[LatencyRow]:
    """Time ``refine`` alone; no rows where the predictor has no tier 1.

    Args:
        predictor: Opened.
        sizes: Bytes of prompt, one row each.
        repeats: Calls per row, at least 1.
        clock: Read before and after every call.
    """
    if not predictor.has_tier1:
        return []
    rows = []
    for size in sizes:
        calls = [
            partial(predictor.refine, each, predictor.predict(each)) for each in _requests(size)
        ]
        rows.append(_row(PredictionSource.TIER1, size, _times(calls, repeats, clock)))
    return rows


def sample_prompt(size: int, seed: int) -> str:
    """Made-up words in the lengths and with the punctuation of English; ASCII.

    Args:
        size: Bytes.
        seed: The same seed gives the same text.
    """
    state = _FIRST + seed
    words: list[str] = []
    length = 0
    while length < size:
        state = state * _MULTIPLIER % _MODULUS
        digits, letters = state, []
        for _ in range(1 + state % 7):
            digits, index = divmod(digits, len(_LETTERS))
            letters.append(_LETTERS[index])
        words.append("".join(letters) + (". " if state % 11 == 0 else " "))
        length += len(words[-1])
    return "".join(words)[:size]


def _requests(size: int) -> list[PredictionRequest]:
    return [from_prompt(sample_prompt(size, seed), "") for seed in range(_VARIANTS)]


def _times(calls: Sequence[Callable[[], object]], repeats: int, clock: Clock) -> list[float]:
    for index in range(_WARMUP):
        calls[index % len(calls)]()
    times = []
    for index in range(repeats):
        call = calls[index % len(calls)]
        begin = clock.now()
        call()
        times.append(clock.now() - begin)
    return times


def _row(source: PredictionSource, size: int, times: list[float]) -> LatencyRow:
    times.sort()
    total = sum(times)
    return LatencyRow(
        source=source,
        prompt_bytes=size,
        calls=len(times),
        p50_seconds=times[len(times) // 2],
        p99_seconds=times[min(len(times) - 1, len(times) * 99 // 100)],
        calls_per_second=len(times) / total if total > 0 else 0.0,
    )
