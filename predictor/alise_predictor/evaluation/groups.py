"""Figures within groups of one source and one model, and what they average to.

Over rows of several sources and models a predictor that only knows which source a row is from
already looks good: sources differ in length far more than the requests within one. What a
scheduler needs is order among the requests of one workload, so the headline figure is the mean
over sources of the mean over models, and the pooled figure stands beside it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from alise_predictor.evaluation.metrics import Figures, figures, mean_of

SMALLEST_GROUP = 40
"""Rows from which a group's tau says something: its standard error there is about 0.11."""


@dataclass(frozen=True, slots=True)
class Group:
    """Figures of the rows of one source and one model."""

    source: str
    model: str
    figures: Figures


@dataclass(frozen=True, slots=True)
class Grouped:
    """Figures of a whole evaluation.

    Attributes:
        groups: Groups that are large enough, ordered by source and model.
        by_source: Per source the plain mean over its groups.
        macro: Plain mean over ``by_source``; ``n`` counts the rows in groups.
        pooled: Figures of all rows at once.
        left_out_groups: Groups that were too small.
        left_out_rows: Rows in those.
    """

    groups: tuple[Group, ...]
    by_source: dict[str, Figures]
    macro: Figures
    pooled: Figures
    left_out_groups: int
    left_out_rows: int


@dataclass(frozen=True, slots=True)
class Rows:
    """True lengths and predictions, row by row.

    Attributes:
        tokens: True output tokens, shape ``(n,)``.
        sources: Name of the data set or workload of each row.
        models: Name of the model of each row.
        log_quantiles: As for ``metrics.figures``.
        score: As for ``metrics.figures``.
    """

    tokens: npt.ArrayLike
    sources: Sequence[str]
    models: Sequence[str]
    log_quantiles: npt.ArrayLike | None = None
    score: npt.ArrayLike | None = None


def grouped(rows: Rows, *, smallest: int = SMALLEST_GROUP) -> Grouped:
    """Evaluate each group, each source and everything.

    Args:
        rows: What is evaluated.
        smallest: Groups with fewer rows are left out and counted.

    Raises:
        ValueError: The columns of ``rows`` do not have the same length.
    """
    tokens = np.asarray(rows.tokens, np.float64)
    if not len(tokens) == len(rows.sources) == len(rows.models):
        raise ValueError(
            f"{len(tokens)} lengths, {len(rows.sources)} sources and {len(rows.models)} models"
        )
    quantiles = None if rows.log_quantiles is None else np.asarray(rows.log_quantiles, np.float64)
    score = None if rows.score is None else np.asarray(rows.score, np.float64)

    def of(members: npt.NDArray[np.intp] | slice) -> Figures:
        return figures(
            tokens[members],
            None if quantiles is None else quantiles[members],
            None if score is None else score[members],
        )

    groups, small = [], []
    for (source, model), members in _members(rows.sources, rows.models):
        if len(members) < smallest:
            small.append(len(members))
        else:
            groups.append(Group(source, model, of(members)))
    by_source = {
        source: mean_of([group.figures for group in groups if group.source == source])
        for source in dict.fromkeys(group.source for group in groups)
    }
    macro = mean_of(list(by_source.values()))
    return Grouped(tuple(groups), by_source, macro, of(slice(None)), len(small), sum(small))


def _members(
    sources: Sequence[str], models: Sequence[str]
) -> list[tuple[tuple[str, str], npt.NDArray[np.intp]]]:
    """Rows of each (source, model), in order of the names."""
    found: dict[tuple[str, str], list[int]] = {}
    for index, key in enumerate(zip(sources, models, strict=True)):
        found.setdefault(key, []).append(index)
    return [(key, np.asarray(found[key], np.intp)) for key in sorted(found)]
