"""The network of tier 1: encoder, request features, monotone quantiles."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from alise_predictor.train.encoder import Encoder

_HEAD_WIDTH = 128


@dataclass(frozen=True, slots=True)
class LengthRange:
    """What is ever predicted, in ``log(1 + tokens)``: the range of the training lengths."""

    low: float
    high: float


class LengthNetwork(nn.Module):
    """Word pieces and request features in, quantiles of log length and an embedding out.

    Args:
        encoder: The pre-trained encoder; fine-tuned in place.
        scalars: Number of request features.
        levels: Number of quantiles, odd; the middle one is the median.
        span: The output is clamped to it, inside the graph: an unclamped head extrapolates to
            absurd lengths on unusual text.
        centre: Median of the training targets, where the untrained head starts.
    """

    def __init__(
        self, encoder: Encoder, scalars: int, levels: int, span: LengthRange, centre: float
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.span = span
        self.half = levels // 2
        width = encoder.shape.hidden
        self.hidden = nn.Linear(width + scalars, _HEAD_WIDTH)
        self.dropout = nn.Dropout(0.1)
        self.out = nn.Linear(_HEAD_WIDTH, levels)
        with torch.no_grad():
            self.out.weight.mul_(0.1)
            self.out.bias.fill_(-1.0)
            self.out.bias[self.half] = centre

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, scalars: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Quantiles and embedding.

        Args:
            input_ids: int64 ``(batch, pieces)``.
            attention_mask: int64 ``(batch, pieces)``.
            scalars: float32 ``(batch, k)``.

        Returns: ``log(1 + tokens)`` at each level, float32 ``(batch, levels)``, non-decreasing;
            the l2-normalised mean of the encoder's output, float32 ``(batch, hidden)``.
        """
        state = self.encoder(input_ids, attention_mask)
        mask = attention_mask.to(state.dtype)[:, :, None]
        pooled = (state * mask).sum(1) / mask.sum(1)
        hidden = functional.gelu(self.hidden(torch.cat((pooled, scalars.to(pooled.dtype)), 1)))
        raw = self.out(self.dropout(hidden)).float()
        quantiles = monotone(raw, self.half).clamp(self.span.low, self.span.high)
        return quantiles, functional.normalize(pooled.float(), dim=1)


def monotone(raw: Tensor, half: int) -> Tensor:
    """Free outputs as ordered quantiles: the median, and positive steps away from it."""
    median = raw[:, half : half + 1]
    below = functional.softplus(raw[:, :half])
    above = functional.softplus(raw[:, half + 1 :])
    lower = median - below.flip(1).cumsum(1).flip(1)
    return torch.cat((lower, median, median + above.cumsum(1)), 1)
