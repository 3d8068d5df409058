"""Tier 1: the pre-trained encoder, fine-tuned on prompts and their answers' lengths."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from alise_core.prediction import LEVELS
from alise_predictor.features import SCALARS, Features
from alise_predictor.request import PredictionRequest
from alise_predictor.serving.pieces import PieceReader
from alise_predictor.train.batches import TrainingSet
from alise_predictor.train.dataset.corpus import Corpus
from alise_predictor.train.encoder import load_encoder
from alise_predictor.train.examples import Examples
from alise_predictor.train.fit import FitProgress, FitSettings, fit
from alise_predictor.train.network import LengthNetwork, LengthRange

_BATCH = 64
_MOST_ANSWERS = 400


@dataclass(frozen=True, slots=True)
class Tier1Settings:
    """How tier 1 is trained and fed.

    Attributes:
        head_pieces: Word pieces from a prompt's beginning.
        tail_pieces: Word pieces from its end.
        fit: Of the fine-tuning.
    """

    head_pieces: int = 64
    tail_pieces: int = 32
    fit: FitSettings = field(default_factory=FitSettings)


class Tier1Trainer:
    """Fine-tunes and runs one network.

    Args:
        weights: Directory of the pre-trained encoder.
        span: Range of the training lengths.
        settings: Constants.
    """

    def __init__(self, weights: Path, span: LengthRange, settings: Tier1Settings) -> None:
        tokenizer = (weights / "tokenizer.json").read_bytes()
        self._settings = settings
        self._reader = PieceReader(tokenizer, settings.head_pieces, settings.tail_pieces)
        torch.manual_seed(settings.fit.seed)
        centre = (span.low + span.high) / 2
        self.network = LengthNetwork(load_encoder(weights), len(SCALARS), len(LEVELS), span, centre)

    def train(
        self,
        examples: Examples,
        corpus: Corpus,
        checkpoint: Path | None,
        on_step: Callable[[FitProgress], None],
    ) -> None:
        """Fine-tune on the examples; see ``fit.fit``."""
        requests = [corpus.prompts[index].request for index in examples.prompts]
        data = TrainingSet(
            pieces=[np.array(self._reader.ids(one.prompt), np.int32) for one in requests],
            scalars=examples.scalars(),
            answers=[answers[:_MOST_ANSWERS] for answers in examples.answers],
            level=examples.level.astype(np.float32),
            sources=examples.source,
        )
        with torch.no_grad():
            # The median starts where the targets are, not in the middle of their range.
            self.network.out.bias[self.network.half] = float(np.median(data.level))
        fit(self.network, data, self._settings.fit, checkpoint, on_step)

    def log_quantiles(
        self, requests: Sequence[PredictionRequest], features: Sequence[Features]
    ) -> npt.NDArray[np.float32]:
        """Predictions in bulk, ``(n, levels)``; requests of one length go together."""
        pieces = [self._reader.ids(one.prompt) for one in requests]
        order = sorted(range(len(pieces)), key=lambda row: len(pieces[row]))
        found = np.zeros((len(pieces), len(LEVELS)), np.float32)
        network = self.network.eval()
        for start in range(0, len(order), _BATCH):
            rows = order[start : start + _BATCH]
            ids, mask = padded([pieces[row] for row in rows])
            scalars = torch.from_numpy(np.array([features[row].scalars for row in rows]))
            with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
                found[rows] = network(ids, mask, scalars)[0].float().numpy()
        return found


def padded(pieces: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Word pieces of several texts as one batch.

    Args:
        pieces: Ids of each text.

    Returns: Ids, padded with 0, and 1 where there is a piece; int64 ``(texts, longest)``.
    """
    ids = torch.zeros(len(pieces), max(map(len, pieces)), dtype=torch.int64)
    mask = torch.zeros_like(ids)
    for row, one in enumerate(pieces):
        ids[row, : len(one)] = torch.tensor(one)
        mask[row, : len(one)] = 1
    return ids, mask
