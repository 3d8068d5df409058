"""Tier 1: a small encoder over the prompt's word pieces, milliseconds."""

from typing import TYPE_CHECKING

import numpy as np

from alise_core.prediction import LEVELS
from alise_predictor.artifact import TIER1, TOKENIZER, ArtifactError, Bundle, Tier1Facts
from alise_predictor.artifact.errors import RETRAIN
from alise_predictor.features import SCALARS, Ids, Scalars
from alise_predictor.prediction import Embedding
from alise_predictor.serving.graph import Feed, Graph, float32, int64

if TYPE_CHECKING:
    from alise_predictor.serving.pieces import PieceReader

_INPUTS = (
    int64("input_ids", 1, None),
    int64("attention_mask", 1, None),
    float32("scalars", 1, len(SCALARS)),
)


class Tier1:
    """The encoder of a bundle; thread-safe.

    Args:
        bundle: Verified, with a tier 1.
        facts: The manifest's ``tier1``.

    Raises:
        ArtifactError: Its graph or tokenizer is none of tier 1, or computes nonsense.
    """

    __slots__ = ("_graph", "_reader")

    def __init__(self, bundle: Bundle, facts: Tier1Facts) -> None:
        self._reader = _reader(bundle, facts)
        outputs = (
            float32("log_quantiles", 1, len(LEVELS)),
            float32("embedding", 1, facts.embedding_size),
        )
        with bundle.unchanged(TIER1) as path:
            self._graph = Graph(path, _INPUTS, outputs)
        longest = facts.head_pieces + facts.tail_pieces + 2
        # The longest input finds a position table that is too short, the highest id a vocabulary
        # that is.
        highest = np.full((1, longest), self._reader.vocabulary_size - 1, np.int64)
        scalars = np.zeros(len(SCALARS), np.float32)
        for ids in (highest[:, :2], highest):
            self._graph.probe(_feed(ids, scalars), outputs)

    def read(self, prompt: bytes, scalars: Scalars) -> tuple[list[float], Embedding]:
        """``log(1 + tokens)`` at each level as the graph gives it, and the pooled encoding.

        Args:
            prompt: UTF-8, cut or not.
            scalars: Of the request's features, shape ``(len(SCALARS),)``.

        Raises:
            PredictorError: The graph cannot be run.
        """
        ids = np.array((self._reader.ids(prompt),), np.int64)
        quantiles, embedding = self._graph.run(_feed(ids, scalars))
        values: list[float] = quantiles[0].tolist()
        return values, embedding[0]


def _feed(ids: Ids, scalars: Scalars) -> Feed:
    """One request is one row; nothing is padded, so nothing is masked."""
    return {
        "input_ids": ids,
        "attention_mask": np.ones_like(ids),
        "scalars": scalars[np.newaxis],
    }


def _reader(bundle: Bundle, facts: Tier1Facts) -> "PieceReader":
    # Imported here because who has no tier 1 shall not pay for the tokenizer's memory.
    from alise_predictor.serving.pieces import PieceReader  # noqa: PLC0415

    try:
        return PieceReader(bundle.read(TOKENIZER), facts.head_pieces, facts.tail_pieces)
    except ValueError as error:
        raise ArtifactError(
            str(bundle.directory / TOKENIZER),
            found=str(error),
            expected="a WordPiece tokenizer with [CLS] and [SEP]",
            remedy=RETRAIN,
        ) from error
