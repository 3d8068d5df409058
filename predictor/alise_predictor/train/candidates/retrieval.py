"""The most similar finished requests answer: their lengths, weighted by similarity.

The structure of ALISE (arXiv 2410.23537): retrieve, and let a learned head answer where nothing
is similar enough.
"""

from dataclasses import dataclass

import numpy as np

from alise_core.prediction import LEVELS
from alise_predictor.train.candidates.base import (
    CandidateUnavailable,
    Context,
    Fitted,
    Floats,
    Prompts,
    Quantiles,
    weighted_quantiles,
)
from alise_predictor.train.candidates.encoding import FrozenEncoder
from alise_predictor.train.candidates.vectors import Vectors
from alise_predictor.train.examples import Examples
from alise_predictor.train.tier0 import sample_answers

FALLBACK = "frozen_pinball"
_NEIGHBOURS = 10
_SHARPNESS = 10.0
"""Weight of a neighbour: ``exp(10 * cosine)``."""
_ANSWERS = 8
_CHUNK = 512


@dataclass(frozen=True, slots=True)
class Retrieval:
    """k nearest finished requests by cosine of the frozen embedding.

    Attributes:
        name: See ``Candidate``.
        summary: See ``Candidate``.
        threshold: Least similarity of the nearest; below it ``FALLBACK`` answers. -1 never asks
            it.
    """

    name: str
    summary: str
    threshold: float

    def fit(self, examples: Examples, context: Context) -> Fitted:
        """Remember the training prompts' embeddings and lengths."""
        fallback = context.fitted.get(FALLBACK)
        if fallback is None and self.threshold > -1.0:
            raise CandidateUnavailable(f"{self.name} falls back on {FALLBACK}; compare it as well")
        encoder = FrozenEncoder(context)
        store = context.prompts

        def vectors(prompts: Prompts) -> Vectors:
            return encoder.rows([store.text(prompt) for prompt in prompts.tolist()])

        memory = _Memory(vectors(examples.prompts), examples, context)

        def log_quantiles(prompts: Prompts) -> Quantiles:
            similarity, found = memory.ask(vectors(prompts))
            if fallback is None:
                return found
            hit = similarity >= self.threshold
            return np.where(hit[:, None], found, fallback.log_quantiles(prompts))

        held_out = memory.ask(vectors(context.validation.prompts))[0]
        return Fitted(
            log_quantiles,
            size_bytes=memory.size_bytes + encoder.weights.stat().st_size,
            notes={f"validation prompts with a neighbour at cosine >= {self._shown()}":
                   float(np.mean(held_out >= self._shown()))},
        )  # fmt: skip

    def _shown(self) -> float:
        return self.threshold if self.threshold > -1.0 else 0.9


class _Memory:
    def __init__(self, keys: Vectors, examples: Examples, context: Context) -> None:
        self._keys = keys / np.linalg.norm(keys, axis=1, keepdims=True)
        random = np.random.default_rng(context.seed)
        self._answers = sample_answers(examples, random, _ANSWERS)
        self._span = context.span
        self.size_bytes = self._keys.nbytes + self._answers.nbytes

    def ask(self, queries: Vectors) -> tuple[Floats, Quantiles]:
        """Greatest similarity and the neighbours' quantiles of each query."""
        best, found = np.zeros(len(queries)), np.zeros((len(queries), len(LEVELS)), np.float32)
        for start in range(0, len(queries), _CHUNK):
            rows = slice(start, start + _CHUNK)
            chunk = queries[rows]
            cosine = chunk @ self._keys.T / np.linalg.norm(chunk, axis=1, keepdims=True)
            nearest = np.argpartition(-cosine, min(_NEIGHBOURS, len(self._keys) - 1), axis=1)
            nearest = nearest[:, :_NEIGHBOURS]
            close = np.take_along_axis(cosine, nearest, axis=1)
            best[rows] = close.max(axis=1)
            found[rows] = [
                self._histogram(who, how) for who, how in zip(nearest, close, strict=True)
            ]
        return best, np.clip(found, *self._span)

    def _histogram(self, nearest: Prompts, cosine: Vectors) -> Floats:
        answers = self._answers[nearest]
        known = ~np.isnan(answers)
        weight = np.exp(_SHARPNESS * cosine.astype(np.float64)) / known.sum(axis=1)
        weights = np.broadcast_to(weight[:, None], answers.shape)[known]
        return weighted_quantiles(answers[known].astype(np.float64), weights)


def retrieval_candidates() -> list[Retrieval]:
    """Retrieval alone, and with the head below two similarities."""
    return [
        Retrieval("retrieval", "10 nearest finished requests, similarity-weighted", -1.0),
        Retrieval("retrieval_0.8", f"retrieval at cosine >= 0.8, else {FALLBACK}", 0.8),
        Retrieval("retrieval_0.7", f"retrieval at cosine >= 0.7, else {FALLBACK}", 0.7),
    ]
