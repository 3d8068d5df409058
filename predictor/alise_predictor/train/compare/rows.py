"""The rows every candidate is scored on: one draw for all, so that comparisons are paired."""

from collections.abc import Iterator
from dataclasses import dataclass
from zlib import crc32

import numpy as np
import numpy.typing as npt

from alise_predictor.train.compare.options import Limits
from alise_predictor.train.dataset.corpus import Corpus

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class GroupRows:
    """Rows of one data set and one model.

    Attributes:
        source: The data set.
        model: The answering model.
        prompts: Index in the corpus, ``(n,)``; no prompt twice.
        tokens: True lengths, ``(n,)``.
        calibration: Prompts that set the group's offset, ``(m,)``; none of ``prompts``.
        calibration_tokens: Their true lengths, ``(m,)``.
    """

    source: str
    model: str
    prompts: Ints
    tokens: Ints
    calibration: Ints
    calibration_tokens: Ints


def draw_rows(
    corpus: Corpus, wanted: npt.NDArray[np.bool_], limits: Limits, *, calibrate: bool, seed: int
) -> list[GroupRows]:
    """Rows of each group that is large enough.

    Of each data set some prompts are drawn, then some of its models; of several answers of one
    model to one prompt the first counts.

    Args:
        corpus: Prompts and answers.
        wanted: Mask over the answers.
        limits: How much.
        calibrate: Set some rows of each group aside for its offset.
        seed: Of the draws.
    """
    first = _first_answers(corpus)
    needed = limits.smallest + (limits.calibration if calibrate else 0)
    groups: dict[str, list[tuple[str, Ints]]] = {}
    for source, model, members in corpus.groups():
        kept = members[wanted[members] & first[members]]
        if len(kept) >= needed:
            groups.setdefault(source, []).append((model, kept))
    drawn = []
    for source, found in groups.items():
        random = np.random.default_rng((seed, crc32(source.encode())))
        drawn += _draw_source(corpus, source, found, _Draw(limits, calibrate, random))
    return drawn


def used_prompts(groups: list[GroupRows]) -> Ints:
    """Every prompt of any row, once, in order."""
    parts = [part for group in groups for part in (group.prompts, group.calibration)]
    return np.unique(np.concatenate(parts)) if parts else np.zeros(0, np.int64)


def _first_answers(corpus: Corpus) -> npt.NDArray[np.bool_]:
    """Mask of the first answer of each model to each prompt."""
    answers = corpus.answers
    keys = answers.prompt.astype(np.int64) * max(1, len(corpus.models)) + answers.model
    first = np.zeros(len(answers), np.bool_)
    first[np.unique(keys, return_index=True)[1]] = True
    return first


@dataclass(frozen=True, slots=True)
class _Draw:
    limits: Limits
    calibrate: bool
    random: np.random.Generator


def _draw_source(
    corpus: Corpus, source: str, found: list[tuple[str, Ints]], draw: _Draw
) -> list[GroupRows]:
    """Groups in random order; the first bring in prompts until there are enough."""
    prompt = corpus.answers.prompt
    aside = draw.limits.calibration if draw.calibrate else 0
    allowed = np.zeros(len(corpus.prompts), np.bool_)
    drawn: list[GroupRows] = []
    for model, members in _in_random_order(found, draw.random):
        room = draw.limits.prompts - int(allowed.sum())
        new = members[~allowed[prompt[members]]]
        if room > 0:
            allowed[prompt[draw.random.permutation(new)[:room]]] = True
        kept = members[allowed[prompt[members]]]
        if len(kept) >= draw.limits.smallest + aside:
            rows = draw.random.permutation(kept)
            drawn.append(_split(corpus, (source, model), rows, aside))
        if len(drawn) == draw.limits.models:
            break
    return drawn


def _in_random_order(
    found: list[tuple[str, Ints]], random: np.random.Generator
) -> Iterator[tuple[str, Ints]]:
    for index in random.permutation(len(found)):
        yield found[index]


def _split(corpus: Corpus, name: tuple[str, str], rows: Ints, calibration: int) -> GroupRows:
    answers = corpus.answers
    aside, scored = rows[:calibration], np.sort(rows[calibration:])
    return GroupRows(
        *name,
        answers.prompt[scored].astype(np.int64),
        answers.tokens[scored].astype(np.int64),
        answers.prompt[aside].astype(np.int64),
        answers.tokens[aside].astype(np.int64),
    )
