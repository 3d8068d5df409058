"""Figures of order: does the longer answer get the longer prediction?

Everything here counts pairs of rows without visiting them: values are sorted by one bit after the
other, and while a group is split by a bit, the pairs that this bit puts out of order are counted.
That takes log(n) passes in numpy, needs no recursion, and ties on either side cost nothing extra.

A figure that is not defined (fewer than two rows, nothing to tell apart) is ``None``.
"""

from dataclasses import dataclass
from math import sqrt

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
_Counts = npt.NDArray[np.int64]
_Flags = npt.NDArray[np.bool_]


def kendall_tau_b(truth: npt.ArrayLike, predicted: npt.ArrayLike) -> float | None:
    """Kendall's rank correlation with the correction for ties on both sides.

    Args:
        truth: Finite numbers, shape ``(n,)``.
        predicted: Finite numbers, shape ``(n,)``.

    Returns:
        Between -1 and 1; ``None`` when either side is constant.
    """
    pairs = _compare(truth, predicted)
    ordered = pairs.concordant + pairs.discordant
    spread = float(ordered + pairs.tied_in_prediction) * float(ordered + pairs.tied_in_truth)
    if spread == 0.0:
        return None
    return (pairs.concordant - pairs.discordant) / sqrt(spread)


def spearman(truth: npt.ArrayLike, predicted: npt.ArrayLike) -> float | None:
    """Pearson's correlation of the ranks, where equal values share the mean of their ranks.

    Args:
        truth: Finite numbers, shape ``(n,)``.
        predicted: Finite numbers, shape ``(n,)``.

    Returns:
        Between -1 and 1; ``None`` when either side is constant.
    """
    lengths, scores = _columns(truth, predicted)
    first, second = average_ranks(lengths), average_ranks(scores)
    first -= first.mean() if len(first) else 0.0
    second -= second.mean() if len(second) else 0.0
    scale = sqrt(float(first @ first) * float(second @ second))
    if scale == 0.0:
        return None
    return max(-1.0, min(1.0, float(first @ second) / scale))


def pairwise_accuracy(truth: npt.ArrayLike, predicted: npt.ArrayLike) -> float | None:
    """Share of the pairs of different true lengths that the prediction puts in order.

    A tie in the prediction is a coin toss and counts one half.

    Args:
        truth: Finite numbers, shape ``(n,)``.
        predicted: Finite numbers, shape ``(n,)``.

    Returns:
        Between 0 and 1; ``None`` when all true lengths are equal.
    """
    pairs = _compare(truth, predicted)
    total = pairs.concordant + pairs.discordant + pairs.tied_in_prediction
    if total == 0:
        return None
    return (pairs.concordant + 0.5 * pairs.tied_in_prediction) / total


def pairwise_accuracy_2x(truth: npt.ArrayLike, predicted: npt.ArrayLike) -> float | None:
    """Like ``pairwise_accuracy``, over pairs where one answer is at least twice the other.

    Those are the pairs that a scheduler gains by ordering.

    Args:
        truth: Tokens, not negative, shape ``(n,)``; 0 and anything longer count as such a pair.
        predicted: Finite numbers, shape ``(n,)``.

    Returns:
        Between 0 and 1; ``None`` when there is no such pair.
    """
    tokens, scores = _columns(truth, predicted)
    # A row stands in the sequence twice: as a candidate for the short side where lengths of twice
    # its own begin, and as a long side at its own length.
    twice = np.maximum(2.0 * tokens, np.nextafter(tokens, np.inf))
    is_long = np.repeat([False, True], len(tokens))
    order = np.lexsort((is_long, np.concatenate([twice, tokens])))
    is_long = is_long[order]
    found = _count(_dense(np.tile(scores, 2))[order], ~is_long, is_long)
    if found.total == 0:
        return None
    return 1.0 - (found.above + 0.5 * found.equal) / found.total


def average_ranks(values: npt.ArrayLike) -> Floats:
    """Ranks from 1; equal values share the mean of the ranks they would have.

    Args:
        values: Finite numbers, shape ``(n,)``.
    """
    column = np.asarray(values, np.float64)
    _, inverse, counts = np.unique(column, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return (ends - (counts - 1) / 2.0).astype(np.float64)[inverse]


@dataclass(frozen=True, slots=True)
class _Pairs:
    """How many pairs of rows there are of each kind; pairs tied on both sides are left out."""

    concordant: int
    discordant: int
    tied_in_truth: int
    tied_in_prediction: int


def _compare(truth: npt.ArrayLike, predicted: npt.ArrayLike) -> _Pairs:
    lengths, scores = _columns(truth, predicted)
    order = np.lexsort((scores, lengths))
    true_ranks, ranks = _dense(lengths)[order], _dense(scores)[order]
    everything = np.ones(len(ranks), np.bool_)
    found = _count(ranks, everything, everything)
    tied_in_truth = _tied(true_ranks)
    # Rows of equal truth are sorted by prediction, so that only differing truths can be above.
    both = _tied(true_ranks * (len(ranks) + 1) + ranks)
    tied_in_prediction = found.equal - both
    concordant = found.total - tied_in_truth - tied_in_prediction - found.above
    return _Pairs(concordant, found.above, tied_in_truth - both, tied_in_prediction)


@dataclass(frozen=True, slots=True)
class _Found:
    """Pairs of an earlier ``left`` row with a later ``right`` one."""

    above: int
    """Pairs in which the earlier value is the higher one."""
    equal: int
    total: int


def _count(values: _Counts, left: _Flags, right: _Flags) -> _Found:
    """Compare every ``left`` row with every later ``right`` one, without visiting the pairs.

    Args:
        values: Dense ranks from 0, shape ``(n,)``.
        left: Which rows stand for the earlier side, shape ``(n,)``.
        right: Which rows stand for the later side, shape ``(n,)``.
    """
    if len(values) == 0:
        return _Found(0, 0, 0)
    total = _follow(np.zeros(len(values), np.int64), left, right)
    above = 0
    for bit in range(int(values.max()).bit_length() - 1, -1, -1):
        # Rows are in stable order of the higher bits; this bit decides inside each group.
        group, is_high = values >> (bit + 1), (values >> bit & 1).astype(np.bool_)
        above += _follow(group, left & is_high, right & ~is_high)
        order = _split(group, is_high)
        values, left, right = values[order], left[order], right[order]
    return _Found(above, _follow(values, left, right), total)


def _follow(group: _Counts, left: _Flags, right: _Flags) -> int:
    """Pairs of an earlier ``left`` and a later ``right`` row of the same (sorted) group."""
    before: _Counts = np.cumsum(left, dtype=np.int64) - left
    return int((before - before[_starts(group)])[right].sum())


def _starts(group: _Counts) -> _Counts:
    """For every row the index at which its (sorted) group begins."""
    begins = np.zeros(len(group), np.int64)
    begins[1:] = np.where(group[1:] != group[:-1], np.arange(1, len(group)), 0)
    return np.maximum.accumulate(begins)


def _split(group: _Counts, is_high: _Flags) -> _Counts:
    """Order in which each group has its low rows before its high ones, otherwise unchanged."""
    return np.argsort(group * 2 + is_high, kind="stable").astype(np.int64)


def _tied(values: _Counts) -> int:
    """Pairs of equal values."""
    _, counts = np.unique(values, return_counts=True)
    return int((counts * (counts - 1) // 2).sum())


def _dense(values: Floats) -> _Counts:
    """Ranks from 0; equal values share one."""
    return np.unique(values, return_inverse=True)[1].astype(np.int64)


def _columns(truth: npt.ArrayLike, predicted: npt.ArrayLike) -> tuple[Floats, Floats]:
    """Both sides as columns.

    Raises:
        ValueError: They have not the same length, or are no columns.
    """
    first, second = np.asarray(truth, np.float64), np.asarray(predicted, np.float64)
    if first.ndim != 1 or first.shape != second.shape:
        raise ValueError(
            f"two columns of one length are compared, not {first.shape} and {second.shape}"
        )
    return first, second
