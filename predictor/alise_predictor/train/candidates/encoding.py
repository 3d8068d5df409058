"""Texts through the encoder, with or without fine-tuning, in batches on one thread."""

from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from alise_predictor.serving.pieces import PieceReader
from alise_predictor.train.candidates.base import Context
from alise_predictor.train.candidates.vectors import VectorCache, Vectors
from alise_predictor.train.encoder import Encoder, load_encoder, packaged_weights
from alise_predictor.train.tier1 import padded

HEAD_PIECES, TAIL_PIECES = 64, 32
"""Word pieces read of each prompt in this comparison, as the shipped tier 1 reads them."""

_BATCH = 32
_DIGITS = 12

Run = Callable[[Tensor, Tensor, Sequence[int]], Tensor]
"""Padded ids, their mask and the rows they are of to one vector for each row."""


def encode_texts(reader: PieceReader, texts: Sequence[str], run: Run) -> Vectors:
    """Run something over the texts' word pieces, texts of one length together.

    Args:
        reader: Text to pieces.
        texts: Any.
        run: What computes the vectors.
    """
    pieces = [reader.ids(text.encode("utf-8", "replace")) for text in texts]
    order = sorted(range(len(pieces)), key=lambda row: len(pieces[row]))
    found: dict[int, npt.NDArray[np.float32]] = {}
    for start in range(0, len(order), _BATCH):
        rows = order[start : start + _BATCH]
        ids, mask = padded([pieces[row] for row in rows])
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            vectors = run(ids, mask, rows)
        found.update(zip(rows, vectors.float().numpy(), strict=True))
    return np.stack([found[row] for row in range(len(pieces))])


def pooled(encoder: Encoder, ids: Tensor, mask: Tensor) -> Tensor:
    """Mean of the encoder's output over the pieces, l2-normalised, ``(batch, hidden)``."""
    state = encoder(ids, mask).float()
    weights = mask.float()[:, :, None]
    mean = (state * weights).sum(1) / weights.sum(1)
    return torch.nn.functional.normalize(mean, dim=1)


def piece_reader(directory: Path) -> PieceReader:
    """The tokenizer of an encoder's directory, cutting as this comparison does."""
    return PieceReader((directory / "tokenizer.json").read_bytes(), HEAD_PIECES, TAIL_PIECES)


class FrozenEncoder:
    """The pre-trained encoder as a function from texts to vectors, cached on disk.

    Args:
        context: Where the cache is, and whom to tell.
    """

    def __init__(self, context: Context) -> None:
        directory = packaged_weights()
        self.weights = directory / "model.safetensors"
        self._encoder = load_encoder(directory).eval()
        self._reader = piece_reader(directory)
        self.width = self._encoder.shape.hidden
        digest = file_digest(self.weights)
        name = f"frozen-{HEAD_PIECES}-{TAIL_PIECES}-{digest}.npz"
        self._cache = VectorCache(context.files.cache / name, self.encode, self.width, context.log)

    def rows(self, texts: Sequence[str]) -> Vectors:
        """Vectors of the texts, ``(n, hidden)``."""
        return self._cache.rows(texts)

    def encode(self, texts: Sequence[str]) -> Vectors:
        """The same without the cache."""
        return encode_texts(self._reader, texts, lambda i, m, _: pooled(self._encoder, i, m))


def file_digest(file: Path) -> str:
    """First digits of a file's SHA-256."""
    return sha256(file.read_bytes()).hexdigest()[:_DIGITS]
