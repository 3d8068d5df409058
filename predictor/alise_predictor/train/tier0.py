"""Tier 0: the linear score, and a small head that makes a distribution of it."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from alise_core.prediction import LEVELS
from alise_predictor.features import SCALARS
from alise_predictor.train.examples import Examples, Floats
from alise_predictor.train.linear import LinearModel, LinearSettings, cross_fit, fit_linear
from alise_predictor.train.losses import pinball
from alise_predictor.train.network import LengthRange, monotone

_ANSWERS = 8
_WIDTH = 16
CENTRE = 4.5
"""A usual log length; keeps the head's inputs of the order of 1."""


@dataclass(frozen=True, slots=True)
class HeadSettings:
    """Constants of the head's training."""

    steps: int = 1_500
    batch: int = 1_024
    rate: float = 0.01
    decay: float = 1e-3
    seed: int = 5


class QuantileHead(nn.Module):
    """Score and request features in, ordered quantiles of log length out.

    The median is a line through the score, so that requests keep the order the score gives them:
    a median that may use the features learns to tell the training sets apart, which gains
    absolute error there and loses order everywhere (measured). The spread may use them.

    Args:
        span: Output range.
    """

    def __init__(self, span: LengthRange) -> None:
        super().__init__()
        self.span = span
        self.half = len(LEVELS) // 2
        self.hidden = nn.Linear(1 + len(SCALARS), _WIDTH)
        self.out = nn.Linear(_WIDTH, len(LEVELS) - 1)
        self.slope = nn.Parameter(torch.ones(()))
        self.bias = nn.Parameter(torch.zeros(()))
        with torch.no_grad():
            self.out.weight.mul_(0.1)
            self.out.bias.fill_(-1.0)

    def forward(self, score: Tensor, scalars: Tensor) -> Tensor:
        """``log(1 + tokens)`` at each level, ``(batch, levels)``.

        Args:
            score: ``(batch, 1)``.
            scalars: ``(batch, k)``.
        """
        hidden = torch.tanh(self.hidden(torch.cat((score - CENTRE, scalars), 1)))
        steps = self.out(hidden)
        half = self.half
        median = self.bias + CENTRE + self.slope * (score - CENTRE)
        raw = torch.cat((steps[:, :half], median, steps[:, half:]), 1)
        return monotone(raw, half).clamp(self.span.low, self.span.high)


@dataclass(frozen=True, slots=True)
class Tier0Model:
    """A trained tier 0."""

    linear: LinearModel
    head: QuantileHead

    def log_quantiles(self, data: Examples) -> npt.NDArray[np.float32]:
        """Predictions for examples, ``(n, levels)``."""
        return head_quantiles(self.head, self.linear.scores(data.features), data.scalars())


def fit_tier0(
    data: Examples,
    span: LengthRange,
    linear: LinearSettings,
    head: HeadSettings,
) -> Tier0Model:
    """Fit the score, and the head on cross-fitted scores.

    The head sees scores as good as those of unseen prompts, so that its spread is honest.

    Args:
        data: Examples: the score learns their levels, the head their answers.
        span: Range of training lengths.
        linear: Constants of the score.
        head: Constants of the head.
    """
    scores = cross_fit(data, linear)
    return Tier0Model(fit_linear(data, linear), fit_head(data, scores, span, head))


def fit_head(
    data: Examples, scores: Floats, span: LengthRange, settings: HeadSettings
) -> QuantileHead:
    """Quantile regression of the answers on score and request features."""
    torch.manual_seed(settings.seed)
    random = np.random.default_rng(settings.seed)
    head = QuantileHead(span)
    optimizer = torch.optim.AdamW(head.parameters(), settings.rate, weight_decay=settings.decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, settings.rate, total_steps=settings.steps
    )
    levels = torch.tensor(LEVELS)
    score = torch.tensor(scores, dtype=torch.float32)[:, None]
    scalars = torch.from_numpy(data.scalars())
    answers = torch.from_numpy(sample_answers(data, random, _ANSWERS))
    chance = data.weight / data.weight.sum()
    for _ in range(settings.steps):
        rows = torch.from_numpy(random.choice(len(data), settings.batch, p=chance))
        quantiles = head(score[rows], scalars[rows])
        loss = pinball(quantiles, answers[rows], levels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
    return head.eval()


def head_quantiles(
    head: QuantileHead, scores: Floats, scalars: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    """Run the head, ``(n, levels)``."""
    with torch.no_grad():
        score = torch.tensor(scores, dtype=torch.float32)[:, None]
        output: npt.NDArray[np.float32] = head(score, torch.from_numpy(scalars)).numpy()
    return output


def sample_answers(
    data: Examples, random: np.random.Generator, most: int
) -> npt.NDArray[np.float32]:
    """Up to ``most`` answers of each example, NaN beyond, ``(n, most)``."""
    sampled = np.full((len(data), most), np.nan, np.float32)
    for row, answers in enumerate(data.answers):
        taken = answers if len(answers) <= most else random.choice(answers, most, replace=False)
        sampled[row, : len(taken)] = taken
    return sampled
