"""Confidence intervals of differences in tau, by resampling prompts.

A data set's prompts are drawn with replacement, the same draw for all of its models and for both
candidates. Instead of sorting every resample, the signs of all pairs are taken once: tau-b of a
resample is a quadratic form in how often each row was drawn.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from alise_predictor.train.compare.rows import GroupRows

Floats = npt.NDArray[np.float64]
_Signs = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Difference:
    """How much more tau a candidate has than the reference.

    Attributes:
        mean: On the rows as they are.
        low: 2.5th percentile over resamples.
        high: 97.5th percentile over resamples.
    """

    mean: float
    low: float
    high: float


def tau_differences(
    groups: list[GroupRows],
    scores: Mapping[str, list[Floats]],
    reference: str,
    *,
    models: int,
    resamples: int,
    seed: int,
) -> dict[str, Difference]:
    """Of each candidate against one of them, macro-averaged over data sets.

    Args:
        groups: Rows.
        scores: Candidate to the score of each group's rows.
        reference: The candidate the others are compared with.
        models: Groups of a data set that are used, at most.
        resamples: Number of draws.
        seed: Of the draws.
    """
    chosen = list(_first_groups(groups, models))
    random = np.random.default_rng(seed)
    sources = list(dict.fromkeys(groups[index].source for index in chosen))
    taus: dict[str, list[Floats]] = {name: [] for name in scores}
    for source in sources:
        members = [index for index in chosen if groups[index].source == source]
        counts = _draw([groups[index].prompts for index in members], resamples, random)
        found: dict[str, list[Floats]] = {name: [] for name in scores}
        for index, weights in zip(members, counts, strict=True):
            truth = _signs(groups[index].tokens.astype(np.float64))
            for name, columns in scores.items():
                found[name].append(_taus(truth, _signs(columns[index]), weights))
        for name, parts in found.items():
            taus[name].append(np.mean(parts, axis=0))
    macro = {name: np.mean(parts, axis=0) for name, parts in taus.items() if parts}
    return {
        name: _summary(column - macro[reference])
        for name, column in macro.items()
        if name != reference
    }


def weighted_tau(truth: Floats, predicted: Floats, weights: Floats) -> Floats:
    """Tau-b of resamples.

    Args:
        truth: ``(n,)``.
        predicted: ``(n,)``.
        weights: How often each row is in each resample, ``(resamples, n)``.

    Returns: ``(resamples,)``; 0 where one side of a resample is constant.
    """
    return _taus(_signs(truth), _signs(predicted), weights.astype(np.float32))


def _first_groups(groups: list[GroupRows], most: int) -> Iterator[int]:
    seen: dict[str, int] = {}
    for index, group in enumerate(groups):
        seen[group.source] = seen.get(group.source, 0) + 1
        if seen[group.source] <= most:
            yield index


def _draw(
    prompts: list[npt.NDArray[np.int64]], resamples: int, random: np.random.Generator
) -> list[_Signs]:
    """How often each row is drawn; the first row of the result is the rows as they are."""
    known = np.unique(np.concatenate(prompts))
    counts = random.multinomial(len(known), np.full(len(known), 1 / len(known)), resamples)
    counts = np.concatenate((np.ones((1, len(known)), counts.dtype), counts))
    return [counts[:, np.searchsorted(known, one)].astype(np.float32) for one in prompts]


def _signs(values: Floats) -> _Signs:
    return np.sign(values[:, None] - values[None, :]).astype(np.float32)


def _taus(truth: _Signs, predicted: _Signs, weights: _Signs) -> Floats:
    def total(signs: _Signs) -> Floats:
        return np.einsum("rn,rn->r", weights @ signs, weights).astype(np.float64)

    # Pairs of one row with itself, drawn twice, have sign 0 on both sides: tied, as they should.
    spread = np.sqrt(total(np.abs(truth)) * total(np.abs(predicted)))
    taus: Floats = np.zeros(len(weights))
    np.divide(total(truth * predicted), spread, out=taus, where=spread > 0)
    return taus


def _summary(differences: Floats) -> Difference:
    low, high = np.percentile(differences[1:], (2.5, 97.5))
    return Difference(float(differences[0]), float(low), float(high))
