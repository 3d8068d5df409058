"""Losses over predicted quantiles of log length."""

import torch
from torch import Tensor


def pinball(quantiles: Tensor, target: Tensor, levels: Tensor) -> Tensor:
    """Mean quantile loss.

    Args:
        quantiles: Predicted, ``(batch, levels)``.
        target: Observed ``log(1 + tokens)``, ``(batch, answers)``; NaN where there is none.
        levels: Probabilities, ``(levels,)``.
    """
    known = ~torch.isnan(target)
    error = torch.nan_to_num(target)[:, :, None] - quantiles[:, None, :]
    loss = torch.maximum(levels * error, (levels - 1) * error).mean(2)
    per_prompt = (loss * known).sum(1) / known.sum(1).clamp(min=1)
    return per_prompt.mean()


def list_mle(scores: Tensor, target: Tensor) -> Tensor:
    """Negative log-likelihood of the true order, longest first.

    Source: Xia et al. 2008; LTR (arXiv 2408.15792) trains its scorer with it.

    Args:
        scores: Predicted, ``(lists, items)``; a greater score is a longer answer.
        target: What is to be ordered by, same shape.
    """
    order = target.argsort(dim=1, descending=True)
    ranked = scores.gather(1, order)
    rest = ranked.flip(1).logcumsumexp(1).flip(1)
    return (rest - ranked).mean()


def margin_rank(scores: Tensor, target: Tensor, margin: float, apart: float) -> Tensor:
    """Hinge over all pairs of a list whose targets are at least ``apart``.

    Args:
        scores: ``(lists, items)``.
        target: Same shape.
        margin: Wanted distance of scores.
        apart: Pairs with closer targets do not count.
    """
    difference = scores[:, :, None] - scores[:, None, :]
    counts = (target[:, :, None] - target[:, None, :]) > apart
    violations = (margin - difference).clamp(min=0) * counts
    return violations.sum() / counts.sum().clamp(min=1)
