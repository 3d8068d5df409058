"""A corpus as arrays to learn from: features, levels, answers, weights."""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from alise_predictor.features import Features, extract
from alise_predictor.train.dataset.corpus import Corpus
from alise_predictor.train.dataset.split import UNUSED
from alise_predictor.train.targets import fit_levels

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int32]

_MOST_PROMPTS = 4_000
"""Of one dataset: exam questions by the thousand would teach exams only."""
_SPAN_PERCENTILES = (0.05, 99.95)
_SPAN_ANSWERS = 50
"""Of one prompt: one with hundreds does not decide the range."""
_ANSWER_POWER = 0.25
_BALANCE_POWER = 0.6


@dataclass(frozen=True, slots=True)
class Examples:
    """Prompts of a training set and what is known of their answers' lengths.

    Attributes:
        prompts: Index of each example's prompt in the corpus, ``(n,)``.
        features: What tier 0 sees of each.
        level: Mean ``log(1 + tokens)`` without the models' offsets, ``(n,)``.
        answers: Each answer's ``log(1 + tokens)`` without its model's offset.
        source: Number of the dataset, ``(n,)``.
        cluster: Near-duplicate cluster, ``(n,)``.
        weight: Importance, mean 1, ``(n,)``: many answers say more than one, less than
            proportionally; a large dataset says more than a small one, likewise.
        offsets: Offset of each (dataset, model).
    """

    prompts: npt.NDArray[np.int64]
    features: list[Features]
    level: Floats
    answers: list[npt.NDArray[np.float32]]
    source: Ints
    cluster: Ints
    weight: Floats
    offsets: dict[tuple[str, str], float]

    def __len__(self) -> int:
        return len(self.features)

    def log_span(self) -> tuple[float, float]:
        """Range in which lengths are predicted, ``log(1 + tokens)``: nearly all answers'."""
        lengths = np.concatenate([answers[:_SPAN_ANSWERS] for answers in self.answers])
        low, high = np.percentile(lengths, _SPAN_PERCENTILES)
        return float(low), float(high)

    def scalars(self) -> npt.NDArray[np.float32]:
        """Scalar features of all examples, ``(n, k)``."""
        return np.array([features.scalars for features in self.features])


def gather(
    corpus: Corpus,
    splits: npt.NDArray[np.int8],
    wanted: Collection[int],
    *,
    most_prompts: int = _MOST_PROMPTS,
    seed: int = 0,
) -> Examples:
    """Examples of all prompts with answers on the wanted sides of a split.

    Args:
        corpus: Prompts and answers.
        splits: Side of each answer (``dataset.split``).
        wanted: Sides to take.
        most_prompts: Of one dataset at most this many, drawn with ``seed``.
        seed: Of that draw.
    """
    answers = corpus.answers
    chosen = np.flatnonzero(np.isin(splits, list(wanted)) & (splits != UNUSED))
    group, names = _groups(corpus)
    levels = fit_levels(
        answers.prompt[chosen],
        group[chosen],
        np.array([corpus.sources.index(source) for source, _ in names], np.int32),
        np.log1p(answers.tokens[chosen].astype(np.float64)),
        len(corpus.prompts),
    )
    prompts = _draw(corpus, np.flatnonzero(levels.answers), most_prompts, seed)
    residual = np.log1p(answers.tokens[chosen]) - levels.offset[group[chosen]]
    order = np.argsort(answers.prompt[chosen], kind="stable")
    bounds = np.searchsorted(answers.prompt[chosen][order], (prompts, prompts + 1))
    source = corpus.prompt_source[prompts]
    return Examples(
        prompts=prompts,
        features=[extract(corpus.prompts[index].request) for index in prompts],
        level=levels.level[prompts],
        answers=[
            residual[order[first:last]].astype(np.float32)
            for first, last in zip(*bounds, strict=True)
        ],
        source=source,
        cluster=corpus.prompt_cluster[prompts],
        weight=_weights(source, levels.answers[prompts]),
        offsets={
            name: float(levels.offset[number])
            for number, name in enumerate(names)
            if np.any(group[chosen] == number)
        },
    )


def _groups(corpus: Corpus) -> tuple[Ints, list[tuple[str, str]]]:
    group = np.zeros(len(corpus.answers), np.int32)
    names = []
    for number, (source, model, members) in enumerate(corpus.groups()):
        group[members] = number
        names.append((source, model))
    return group, names


def _draw(
    corpus: Corpus, prompts: npt.NDArray[np.int64], most: int, seed: int
) -> npt.NDArray[np.int64]:
    random = np.random.default_rng(seed)
    kept = []
    for source in np.unique(corpus.prompt_source[prompts]):
        members = prompts[corpus.prompt_source[prompts] == source]
        if len(members) > most:
            members = random.choice(members, most, replace=False)
        kept.append(members)
    return np.sort(np.concatenate(kept)) if kept else prompts


def _weights(source: Ints, answers: Ints) -> Floats:
    if not len(source):
        return np.zeros(0)
    numbers, sizes = np.unique(source, return_counts=True)
    share = dict(zip(numbers.tolist(), sizes ** (_BALANCE_POWER - 1.0), strict=True))
    weight = np.minimum(answers, 30) ** _ANSWER_POWER
    weight = weight * np.array([share[number] for number in source.tolist()])
    return np.asarray(weight / weight.mean(), np.float64)
