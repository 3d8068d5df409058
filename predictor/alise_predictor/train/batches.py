"""Which prompts are shown to the network together, and with which answers."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Pieces = npt.NDArray[np.int32]
"""Ids of a prompt's word pieces."""


@dataclass(frozen=True, slots=True)
class TrainingSet:
    """Prompts with the verbosity of the answering model taken out of their lengths.

    Attributes:
        pieces: Word pieces of each prompt.
        scalars: Request features, ``(prompts, k)``.
        answers: For each prompt ``log(1 + tokens)`` of its answers, without the model's offset.
        level: Mean of each prompt's ``answers``, ``(prompts,)``.
        sources: Number of the dataset each prompt is from, ``(prompts,)``.
    """

    pieces: list[Pieces]
    scalars: Floats
    answers: list[Floats]
    level: Floats
    sources: npt.NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.pieces)


@dataclass(frozen=True, slots=True)
class Batch:
    """Some lists of prompts; each list is from one dataset, so that its order means something.

    Attributes:
        input_ids: ``(lists * items, pieces)``, padded with 0.
        attention_mask: Same shape.
        scalars: ``(lists * items, k)``.
        targets: ``(lists * items, answers)``, NaN where a prompt has fewer.
        level: ``(lists * items,)``.
    """

    input_ids: npt.NDArray[np.int64]
    attention_mask: npt.NDArray[np.int64]
    scalars: Floats
    targets: Floats
    level: Floats


@dataclass(frozen=True, slots=True)
class BatchPlan:
    """How batches are drawn.

    Attributes:
        items: Prompts in a list.
        lists: Lists in a batch.
        answers: Answers shown of each prompt, drawn anew in every epoch.
        balance: Datasets are drawn in proportion to their size to this power: below 1 a small
            dataset is not drowned.
        largest_share: No prompt is drawn more often than this in one epoch, on average.
        pool: Lists whose prompts are sorted by length together, so that little is padded.
    """

    items: int = 16
    lists: int = 2
    answers: int = 6
    balance: float = 0.6
    largest_share: float = 3.0
    pool: int = 12


def draw_epoch(data: TrainingSet, plan: BatchPlan, seed: int, epoch: int) -> list[list[int]]:
    """Prompt numbers of every batch of one epoch; the same for the same arguments."""
    random = np.random.default_rng((seed, epoch))
    lists: list[list[int]] = []
    for source, wanted in _wanted(data, plan).items():
        if not wanted:
            continue
        members = np.flatnonzero(data.sources == source)
        rounds = int(np.ceil(wanted / len(members)))
        drawn = np.concatenate([random.permutation(members) for _ in range(rounds)])[:wanted]
        lists.extend(_lists(data, plan, drawn))
    order = random.permutation(len(lists))
    return [
        [prompt for number in order[start : start + plan.lists] for prompt in lists[number]]
        for start in range(0, len(order) - plan.lists + 1, plan.lists)
    ]


def assemble(data: TrainingSet, plan: BatchPlan, prompts: list[int], seed: int) -> Batch:
    """Padded arrays of one batch."""
    random = np.random.default_rng((seed, *prompts[:4]))
    longest = max(len(data.pieces[prompt]) for prompt in prompts)
    input_ids = np.zeros((len(prompts), longest), np.int64)
    mask = np.zeros((len(prompts), longest), np.int64)
    targets = np.full((len(prompts), plan.answers), np.nan, np.float32)
    for row, prompt in enumerate(prompts):
        pieces, answers = data.pieces[prompt], data.answers[prompt]
        input_ids[row, : len(pieces)] = pieces
        mask[row, : len(pieces)] = 1
        if len(answers) > plan.answers:
            answers = random.choice(answers, plan.answers, replace=False)
        targets[row, : len(answers)] = answers
    return Batch(input_ids, mask, data.scalars[prompts], targets, data.level[prompts])


def _wanted(data: TrainingSet, plan: BatchPlan) -> dict[int, int]:
    numbers, sizes = np.unique(data.sources, return_counts=True)
    shares = sizes**plan.balance / np.sum(sizes**plan.balance)
    return {
        int(number): int(min(share * len(data), size * plan.largest_share))
        for number, size, share in zip(numbers, sizes, shares, strict=True)
    }


def _lists(data: TrainingSet, plan: BatchPlan, drawn: npt.NDArray[np.intp]) -> Iterator[list[int]]:
    span = plan.items * plan.pool
    for start in range(0, len(drawn), span):
        pool = sorted(drawn[start : start + span], key=lambda prompt: len(data.pieces[prompt]))
        for first in range(0, len(pool) - plan.items + 1, plan.items):
            yield [int(prompt) for prompt in pool[first : first + plan.items]]
