"""Whether a key's predictions may be used, and what is known of them."""

from dataclasses import dataclass
from enum import StrEnum

ANSWERS_NEEDED = 500
LEAST_CONCORDANCE = 0.55
LEAST_COVERAGE, MOST_COVERAGE = 0.80, 0.97
MARGIN = 0.02
"""What was distrusted must be this much better than the threshold to be trusted again."""


class FallbackReason(StrEnum):
    """Why a key's predictions come from its histogram; a metric label."""

    CONCORDANCE = "concordance"
    COVERAGE = "coverage"


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnedStatistics:
    """What is known of one (tenant, model).

    Attributes:
        answers: Finished answers learned from.
        slope: Of the affine calibration.
        offset: Of the affine calibration, log units.
        concordance: Share of recent pairs predicted in the right order.
        coverage_p80: Share of recent answers between the 10 % and 90 % quantiles.
        coverage_p90: Share of recent answers at or below the 90 % quantile.
        drift: Population stability index, see ``drift.PopulationStability``.
        fallback: Why predictions are not trusted; ``None`` when they are.
    """

    answers: int
    slope: float
    offset: float
    concordance: float | None
    coverage_p80: float | None
    coverage_p90: float | None
    drift: float | None
    fallback: FallbackReason | None


def judge(
    present: FallbackReason | None, answers: int, concordance: float | None, p90: float | None
) -> FallbackReason | None:
    """The verdict after one more answer.

    Args:
        present: The verdict so far.
        answers: Answers behind the two figures.
        concordance: Rolling order accuracy.
        p90: Rolling coverage of the 90 % quantile.
    """
    if answers < ANSWERS_NEEDED or concordance is None or p90 is None:
        return present
    margin = 0.0 if present is None else MARGIN
    if concordance < LEAST_CONCORDANCE + margin:
        return FallbackReason.CONCORDANCE
    if not LEAST_COVERAGE + margin <= p90 <= MOST_COVERAGE - margin:
        return FallbackReason.COVERAGE
    return None
