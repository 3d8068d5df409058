"""What a candidate is: something that learns from examples and predicts quantiles.

Pure: no learning library is imported here, so that what only handles results needs none.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from alise_core.errors import AliseError
from alise_core.prediction import LEVELS
from alise_predictor.features import Features, extract
from alise_predictor.request import PredictionRequest
from alise_predictor.train.dataset.corpus import Corpus
from alise_predictor.train.examples import Examples

Prompts = npt.NDArray[np.int64]
"""Indices of prompts in the corpus, ``(n,)``."""
Quantiles = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]

MEDIAN = len(LEVELS) // 2


class CandidateUnavailable(AliseError):
    """A candidate cannot be fitted here: a file or a package is missing.

    The comparison goes on without it and says so.
    """


class PromptStore:
    """The corpus' prompts as candidates see them; features are computed once.

    Args:
        corpus: The prompts.
    """

    def __init__(self, corpus: Corpus) -> None:
        self.corpus = corpus
        self._features: dict[int, Features] = {}

    def request(self, prompt: int) -> PredictionRequest:
        """One prompt's request."""
        return self.corpus.prompts[prompt].request

    def text(self, prompt: int) -> str:
        """The last user turn, which is what encoders read."""
        return self.request(prompt).prompt.decode("utf-8", "replace")

    def add(self, examples: Examples) -> None:
        """Keep features that have been computed already."""
        self._features.update(zip(examples.prompts.tolist(), examples.features, strict=True))

    def features(self, prompts: Prompts) -> list[Features]:
        """Features of tier 0."""
        for prompt in prompts.tolist():
            if prompt not in self._features:
                self._features[prompt] = extract(self.request(prompt))
        return [self._features[prompt] for prompt in prompts.tolist()]

    def scalars(self, prompts: Prompts) -> npt.NDArray[np.float32]:
        """Scalar features, ``(n, k)``."""
        return np.array([one.scalars for one in self.features(prompts)], np.float32)


@dataclass(frozen=True, slots=True)
class Fitted:
    """A candidate that has learned.

    Attributes:
        log_quantiles: Prompts to ``log(1 + tokens)`` at each of ``LEVELS``, ``(n, levels)``,
            without any model's offset, ordered and inside the training range.
        score: Prompts to what they are ordered by, ``(n,)``; ``None`` for the median.
        size_bytes: Of what would be shipped.
        onnx: Name to ONNX file, where there is one.
        predict_one: One prediction as this process makes it, features included, for timing.
        notes: Figures worth showing, such as the share of requests retrieval answers.
    """

    log_quantiles: Callable[[Prompts], Quantiles]
    score: Callable[[Prompts], Floats] | None = None
    size_bytes: int = 0
    onnx: Mapping[str, Path] = field(default_factory=dict)
    predict_one: Callable[[PredictionRequest], object] | None = None
    notes: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Files:
    """Where candidates find and keep files.

    Attributes:
        cache: Directory of what is expensive to compute again.
        bundle: A trained bundle whose tier 1 is compared where only permissive data train.
        checkpoints: Directory with ``REGIME.pt``, the fine-tuned network of each regime.
    """

    cache: Path
    bundle: Path | None = None
    checkpoints: Path | None = None


@dataclass(frozen=True, slots=True)
class Context:
    """What candidates are given besides the training examples.

    Attributes:
        regime: Name of the training set.
        prompts: All prompts.
        validation: Examples that are neither trained on nor scored.
        span: Range of training lengths, ``log(1 + tokens)``; nothing outside is predicted.
        files: Where files are.
        fitted: Candidates fitted before this one, by name.
        log: Told what takes long.
        quick: A first look: fewer rounds.
        seed: Of every random choice.
    """

    regime: str
    prompts: PromptStore
    validation: Examples
    span: tuple[float, float]
    files: Files
    fitted: Mapping[str, Fitted]
    log: Callable[[str], None]
    quick: bool = False
    seed: int = 0


class Candidate(Protocol):
    """Something that can be fitted and compared."""

    @property
    def name(self) -> str:
        """Unique; letters, digits and underscores."""

    @property
    def summary(self) -> str:
        """What it is, in one line."""

    def fit(self, examples: Examples, context: Context) -> Fitted:
        """Learn.

        Args:
            examples: The training set.
            context: Everything else.

        Raises:
            CandidateUnavailable: A file or package it needs is missing.
        """


def flat_answers(examples: Examples, most: int, seed: int) -> tuple[npt.NDArray[np.int64], Floats]:
    """Single answers as rows: at most ``most`` of each example.

    Args:
        examples: The training set.
        most: Of one prompt.
        seed: Of the draw from prompts that have more.

    Returns: The example of each row, and its offset-free ``log(1 + tokens)``.
    """
    random = np.random.default_rng(seed)
    taken = [
        answers if len(answers) <= most else random.choice(answers, most, replace=False)
        for answers in examples.answers
    ]
    rows = np.repeat(np.arange(len(taken)), [len(one) for one in taken])
    return rows, np.concatenate(taken).astype(np.float64)


def weighted_quantiles(values: Floats, weights: Floats, levels: Sequence[float] = LEVELS) -> Floats:
    """Quantiles of a weighted sample, interpolated between the values' mid-ranks.

    Args:
        values: ``(n,)``, n >= 1.
        weights: Positive, ``(n,)``.
        levels: Probabilities.
    """
    order = np.argsort(values, kind="stable")
    ranks = np.cumsum(weights[order]) - 0.5 * weights[order]
    return np.interp(levels, ranks / weights.sum(), values[order])
