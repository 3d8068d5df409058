"""How predictable length is at all: answers compared with answers."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
import numpy.typing as npt

from alise_predictor.evaluation.ranking import kendall_tau_b
from alise_predictor.train.dataset.corpus import Corpus

Floats = npt.NDArray[np.float64]

_SMALLEST = 40
_MOST_PROMPTS = 1_000
_MOST_COMPARISONS = 60
_TEMPERATURES = ("0.0", "0.3", "0.5", "0.7")
_LENGTHS = "alpaca_vicuna_lengths"


@dataclass(frozen=True, slots=True)
class Ceiling:
    """Tau between lengths of answers to the same prompts.

    Attributes:
        kind: What is compared with what.
        source: Data set.
        comparisons: Number of pairs of columns.
        tau: Mean over them.
        low: 10th percentile over them.
        high: 90th percentile over them.
    """

    kind: str
    source: str
    comparisons: int
    tau: float
    low: float
    high: float


def corpus_ceilings(corpus: Corpus, seed: int) -> list[Ceiling]:
    """Resampling, between models, and the oracle that knows all other models' answers."""
    found = []
    for source in corpus.sources:
        random = np.random.default_rng(seed)
        columns = _columns(corpus, source)
        found += _summarise("two answers of one model", source, _resampled(corpus, source, random))
        if len(columns) > 1:
            found += _summarise("two models", source, _between(columns, random))
        if len(columns) > 2:  # noqa: PLR2004  the others' mean needs two of them
            found += _summarise("oracle: mean of all other models", source,
                                _oracle(columns, random))  # fmt: skip
    return found


def temperature_ceilings(data: Path) -> list[Ceiling]:
    """Vicuna-7B at several temperatures on the same 20,000 Alpaca prompts; lengths only.

    Args:
        data: Directory of the data sets; without this one there are no ceilings of it.
    """
    files = sorted((data / _LENGTHS).glob("*.json.zst"))
    rows = [row for file in files for row in json.loads(_read(file))]
    if not rows:
        return []
    columns = {name: np.array([float(row[f"L_t{name}"]) for row in rows])
               for name in _TEMPERATURES}  # fmt: skip
    found = []
    for one, other in combinations(_TEMPERATURES, 2):
        tau = kendall_tau_b(columns[one], columns[other])
        kind = f"Vicuna-7B, temperature {one} and {other}"
        found += _summarise(kind, "alpaca", [] if tau is None else [tau])
    return found


def _read(file: Path) -> bytes:
    # Only this data set needs it here.
    import zstandard  # noqa: PLC0415

    return zstandard.ZstdDecompressor().stream_reader(file.read_bytes()).read()


def _summarise(kind: str, source: str, taus: Sequence[float]) -> list[Ceiling]:
    if not taus:
        return []
    low, high = np.percentile(taus, (10, 90))
    return [Ceiling(kind, source, len(taus), float(np.mean(taus)), float(low), float(high))]


def _columns(corpus: Corpus, source: str) -> list[Floats]:
    """Log length of each model's first answer to each prompt of a data set, NaN without one."""
    answers = corpus.answers
    numbers = np.flatnonzero(corpus.prompt_source == corpus.sources.index(source))
    place = np.full(len(corpus.prompts), -1)
    place[numbers] = np.arange(len(numbers))
    columns = []
    for name, _, members in corpus.groups():
        if name == source:
            column = np.full(len(numbers), np.nan)
            first = members[answers.sample[members] == 0]
            column[place[answers.prompt[first]]] = np.log1p(answers.tokens[first])
            if np.isfinite(column).sum() >= _SMALLEST:
                columns.append(column)
    return columns


def _resampled(corpus: Corpus, source: str, random: np.random.Generator) -> list[float]:
    """Tau between the first and the second answer of each model that gave two."""
    answers = corpus.answers
    taus: list[float] = []
    for name, _, members in corpus.groups():
        if name != source:
            continue
        pair = [
            dict(zip(answers.prompt[rows].tolist(), answers.tokens[rows].tolist(), strict=True))
            for rows in (members[answers.sample[members] == number] for number in (0, 1))
        ]
        both = sorted(pair[0].keys() & pair[1].keys())
        columns = [np.array([one[prompt] for prompt in both], np.float64) for one in pair]
        taus += _tau(columns[0], columns[1], random)
    return taus


def _between(columns: list[Floats], random: np.random.Generator) -> list[float]:
    pairs = list(combinations(range(len(columns)), 2))
    chosen = random.permutation(len(pairs))[:_MOST_COMPARISONS]
    return [
        tau
        for index in chosen
        for tau in _tau(columns[pairs[index][0]], columns[pairs[index][1]], random)
    ]


def _oracle(columns: list[Floats], random: np.random.Generator) -> list[float]:
    centred = np.array([column - np.nanmean(column) for column in columns])
    known = np.isfinite(centred)
    total, count = np.where(known, centred, 0.0).sum(axis=0), known.sum(axis=0)
    taus: list[float] = []
    for index in random.permutation(len(columns))[:_MOST_COMPARISONS]:
        others = count - known[index]
        rest = total - np.where(known[index], centred[index], 0.0)
        mean = np.divide(rest, others, out=np.full(len(rest), np.nan), where=others > 0)
        taus += _tau(columns[index], mean, random)
    return taus


def _tau(one: Floats, other: Floats, random: np.random.Generator) -> Iterator[float]:
    """Tau over what both know, if that is enough."""
    both = np.flatnonzero(np.isfinite(one) & np.isfinite(other))
    if len(both) > _MOST_PROMPTS:
        both = random.choice(both, _MOST_PROMPTS, replace=False)
    tau = kendall_tau_b(one[both], other[both]) if len(both) >= _SMALLEST else None
    if tau is not None:
        yield tau
