"""What an engine's metrics page says of the engine itself: pure.

A page has a thousand lines, of which a handful matter: they are found by their names and only
these are taken apart. What pods send is not trusted: counts and lengths are bounded, and whatever
is missing or cannot be true is left out.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from alise_core.wire import engine_metrics as vllm
from alise_operator.decide.engine import EngineFacts

_MOST_SAMPLES = 4_096
_MOST_MODELS = 64
_MOST_CHARS = 512
_MOST_CAPACITY_TOKENS = 10**10
"""At 10 KB a token, which is little, a hundred terabytes."""
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
_ESCAPED = re.compile(r"\\(.)")


@dataclass(frozen=True, slots=True)
class Sample:
    """One line."""

    labels: Mapping[str, str]
    value: float


def samples(page: str, name: str) -> Iterator[Sample]:
    """Every sample of exactly this name, in the order of the page; lines that are broken are not.

    Source: Prometheus text format 0.0.4.
    """
    for found in _lines_of(page, name):
        labels, _, rest = found.rpartition("}")
        words = rest.split(None, 1)  # a timestamp may follow the value
        try:
            value = float(words[0])
        except (IndexError, ValueError):
            continue
        yield Sample(dict(_labels(labels)), value)


def engine_facts(page: str) -> EngineFacts | None:
    """What a page says of an engine; ``None`` where it says nothing that is known."""
    engines = {s.labels.get("engine", "0"): s for s in samples(page, vllm.CACHE_CONFIG_INFO)}
    models = {s.labels.get("model_name", "") for s in samples(page, vllm.REQUESTS_RUNNING)}
    facts = EngineFacts(
        capacity_tokens=_capacity(engines.values()),
        cache_dtypes=_words(s.labels.get("cache_dtype", "") for s in engines.values()),
        models=_words(models),
    )
    return None if facts == EngineFacts() else facts


def _lines_of(page: str, name: str) -> Iterator[str]:
    """What follows the name in the lines that begin with it."""
    start = page.find(name)
    for _ in range(_MOST_SAMPLES):
        if start < 0:
            return
        end = start + len(name)
        if (start == 0 or page[start - 1] == "\n") and page[end : end + 1] in {"{", " ", "\t"}:
            stop = page.find("\n", end)
            yield page[end:] if stop < 0 else page[end:stop]
        start = page.find(name, end)


def _labels(text: str) -> Iterator[tuple[str, str]]:
    for found in _LABEL.finditer(text):
        yield found[1], _ESCAPED.sub(_unescape, found[2])


def _unescape(found: re.Match[str]) -> str:
    return "\n" if found[1] == "n" else found[1]


def _words(values: Iterable[str]) -> tuple[str, ...]:
    """Sorted, without what is empty, absurdly long or not printable, and not too many."""
    good = {value for value in values if 0 < len(value) <= _MOST_CHARS and value.isprintable()}
    return tuple(sorted(good)[:_MOST_MODELS])


def _capacity(engines: Iterable[Sample]) -> int | None:
    """Tokens that fit into all engines of a page; ``None`` unless each one says it."""
    each = [_engine_capacity(sample.labels) for sample in engines]
    known = [tokens for tokens in each if tokens is not None]
    return sum(known) if known and len(known) == len(each) else None


def _engine_capacity(labels: Mapping[str, str]) -> int | None:
    blocks, size = labels.get("num_gpu_blocks", ""), labels.get("block_size", "")
    # The word None until the engine has measured how much memory it has.
    if not (_is_number(blocks) and _is_number(size)):
        return None
    # Block 0 stands for "no block" and never holds a token.
    tokens = (int(blocks) - 1) * int(size)
    return tokens if 0 < tokens <= _MOST_CAPACITY_TOKENS else None


def _is_number(word: str) -> bool:
    return word.isascii() and word.isdecimal() and len(word) <= len(str(_MOST_CAPACITY_TOKENS))
