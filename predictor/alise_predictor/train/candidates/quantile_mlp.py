"""A small network over dense inputs, trained with any mixture of the losses compared."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from alise_core.prediction import LEVELS
from alise_predictor.train.candidates.base import MEDIAN, Quantiles
from alise_predictor.train.examples import Examples
from alise_predictor.train.losses import list_mle, margin_rank, pinball
from alise_predictor.train.network import monotone
from alise_predictor.train.tier0 import sample_answers

Inputs = npt.NDArray[np.float32]

_ITEMS, _LISTS = 16, 16
_ANSWERS = 8
_SHARPNESS = 4.0
"""Scores are log lengths: sharpened so that a factor of e is a clear preference in ListMLE."""


@dataclass(frozen=True, slots=True)
class MlpSettings:
    """Constants.

    Attributes:
        pinball_weight: Weight of the distributional loss; 0 trains a score alone.
        list_weight: Weight of ListMLE.
        margin_weight: Weight of the pairwise hinge.
        epochs: Passes over the training set.
    """

    pinball_weight: float = 1.0
    list_weight: float = 0.0
    margin_weight: float = 0.0
    epochs: int = 20
    width: int = 192
    dropout: float = 0.3
    rate: float = 2e-3
    decay: float = 1e-2
    seed: int = 11


class QuantileMlp(nn.Module):
    """Dense inputs to ordered quantiles, clamped to the training range."""

    def __init__(self, inputs: int, span: tuple[float, float], settings: MlpSettings) -> None:
        super().__init__()
        self.span = span
        self.body = nn.Sequential(
            nn.Linear(inputs, settings.width),
            nn.GELU(),
            nn.Dropout(settings.dropout),
            nn.Linear(settings.width, settings.width // 3),
            nn.GELU(),
            nn.Linear(settings.width // 3, len(LEVELS)),
        )

    def start_at(self, centre: float) -> None:
        """Let the untrained output be narrow and around a usual length."""
        last = self.body[-1]
        with torch.no_grad():
            last.weight.mul_(0.1)
            last.bias.fill_(-1.0)
            last.bias[MEDIAN] = centre

    def forward(self, inputs: Tensor) -> Tensor:
        """``log(1 + tokens)`` at each level, not clamped, ``(batch, levels)``."""
        return monotone(self.body(inputs), MEDIAN)

    def predict(self, inputs: Inputs) -> Quantiles:
        """Clamped quantiles, ``(n, levels)``."""
        self.eval()
        with torch.no_grad():
            output: Quantiles = self(torch.from_numpy(inputs)).clamp(*self.span).numpy()
        return output

    def size_bytes(self) -> int:
        """Of the weights in float32."""
        return sum(parameter.numel() * 4 for parameter in self.parameters())


def fit_mlp(network: nn.Module, inputs: Tensor, examples: Examples, settings: MlpSettings) -> None:
    """Train in place.

    Args:
        network: Rows of ``inputs`` to quantiles.
        inputs: One row for each example; anything the network can index by rows.
        examples: The training set.
        settings: Constants.
    """
    random = np.random.default_rng(settings.seed)
    answers = torch.from_numpy(sample_answers(examples, random, _ANSWERS))
    level = torch.tensor(examples.level, dtype=torch.float32)
    batches = [list(_lists(examples, random)) for _ in range(settings.epochs)]
    optimizer = torch.optim.AdamW(network.parameters(), settings.rate, weight_decay=settings.decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, settings.rate, total_steps=max(2, sum(map(len, batches))), pct_start=0.1
    )
    network.train()
    for rows in (torch.from_numpy(batch) for epoch in batches for batch in epoch):
        quantiles = network(inputs[rows])
        loss = _loss(quantiles, answers[rows], level[rows], settings)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
    network.eval()


def _loss(quantiles: Tensor, answers: Tensor, level: Tensor, settings: MlpSettings) -> Tensor:
    scores = quantiles[:, MEDIAN].view(-1, _ITEMS)
    wanted = level.view(-1, _ITEMS)
    loss = quantiles.sum() * 0.0
    if settings.pinball_weight:
        loss = loss + settings.pinball_weight * pinball(quantiles, answers, torch.tensor(LEVELS))
    if settings.list_weight:
        loss = loss + settings.list_weight * list_mle(_SHARPNESS * scores, wanted)
    if settings.margin_weight:
        loss = loss + settings.margin_weight * margin_rank(scores, wanted, 0.3, 0.25)
    return loss


def _lists(examples: Examples, random: np.random.Generator) -> Iterator[npt.NDArray[np.int64]]:
    """Rows of each batch of one epoch: lists of one dataset each, drawn by importance."""
    lists: list[npt.NDArray[np.int64]] = []
    total = examples.weight.sum()
    for source in np.unique(examples.source):
        members = np.flatnonzero(examples.source == source)
        share = examples.weight[members]
        wanted = max(1, round(len(examples) * share.sum() / total / _ITEMS))
        drawn = random.choice(members, (wanted, _ITEMS), p=share / share.sum())
        lists.extend(drawn)
    order = random.permutation(len(lists))
    for start in range(0, len(order), _LISTS):
        yield np.concatenate([lists[one] for one in order[start : start + _LISTS]])
