"""Times of single calls: the thread's CPU beside the wall, because machines are shared."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from alise_predictor.request import PredictionRequest, from_prompt
from alise_predictor.train.candidates.base import Fitted

_WARMUP = 3
_ONE_CALLS, _ONE_QUICK_CALLS = 40, 10
_ONE_WORDS = 128
_WORDS = (
    "the", "of", "and", "to", "in", "is", "that", "it", "was", "for", "on", "are", "as", "with",
    "his", "they", "be", "at", "one", "have", "this", "from", "or", "had", "by", "hot", "but",
    "some", "what", "there", "we", "can", "out", "other", "were", "all", "your", "when", "up",
    "use", "word", "how", "said", "an", "each", "she", "which", "do", "their", "time", "if",
    "will", "way", "about", "many", "then", "them", "would", "write", "like", "so", "these",
    "her", "long", "make", "thing", "see", "him", "two", "has", "look", "more", "day", "could",
    "go", "come", "did", "my", "sound", "no", "most", "number", "who", "over", "know", "water",
    "than", "call", "first", "people", "may", "down", "side", "been", "now", "find",
)  # fmt: skip
"""Common words: each is one token and one word piece."""


@dataclass(frozen=True, slots=True)
class Times:
    """Medians over calls, microseconds."""

    wall_us: float
    cpu_us: float
    calls: int


def measure(calls: Sequence[Callable[[], object]], repeats: int) -> Times:
    """Time calls in turn.

    Args:
        calls: Variants of one kind of call: one alone would find its data in the cache.
        repeats: Timed calls in all, at least 1.
    """
    for index in range(_WARMUP):
        calls[index % len(calls)]()
    wall, cpu = [], []
    for index in range(repeats):
        call = calls[index % len(calls)]
        wall_begin, cpu_begin = time.perf_counter_ns(), time.thread_time_ns()
        call()
        cpu.append(time.thread_time_ns() - cpu_begin)
        wall.append(time.perf_counter_ns() - wall_begin)
    middle = repeats // 2
    return Times(sorted(wall)[middle] / 1e3, sorted(cpu)[middle] / 1e3, repeats)


def sample_text(tokens: int, seed: int) -> str:
    """Common words in a mixed order; about as many tokens as asked for."""
    state = seed
    words = []
    for _ in range(tokens):
        state = (state * 1_103_515_245 + 12_345) % (1 << 31)
        words.append(_WORDS[(state >> 16) % len(_WORDS)])
    return " ".join(words)


def sample_requests(tokens: int, variants: int) -> list[PredictionRequest]:
    """Different prompts of one length."""
    return [from_prompt(sample_text(tokens, seed), "") for seed in range(variants)]


def time_one(fitted: Fitted, *, quick: bool) -> float | None:
    """CPU microseconds of one prediction as this process makes it, for prompts of 128 tokens."""
    if fitted.predict_one is None:
        return None
    predict = fitted.predict_one
    calls = [lambda one=one: predict(one) for one in sample_requests(_ONE_WORDS, 8)]
    return measure(calls, _ONE_QUICK_CALLS if quick else _ONE_CALLS).cpu_us
