"""What all trials have in common: rows of figures, goals, and the result as JSON."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from alise_bench.compare.results import Judged
from alise_bench.load.distribution import Spread, percentile, spread
from alise_bench.overhead.goals import Verdict
from alise_bench.vllm.place import VllmPlace

Say = Callable[[str], None]


class Row(msgspec.Struct, frozen=True):
    """One case of one seed.

    Attributes:
        case: What was tried.
        seed: Of everything that was drawn.
        figures: By name; the unit is in it.
    """

    case: str
    seed: int
    figures: dict[str, float]


class Results(msgspec.Struct, frozen=True):
    """Everything of one trial."""

    trial: str
    conditions: dict[str, Any]
    rows: list[Row]
    goals: list[Judged]


@dataclass(frozen=True, slots=True)
class Trial:
    """One question.

    Attributes:
        title: Heading of its document.
        document: Name of the published files.
        question: What is asked, and how it is answered.
        notes: What a reader has to know.
        columns: Heading of each figure that the table shows.
        run: Answers it for some seeds.
        judge: The goals.
        conditions: Flags and settings.
    """

    title: str
    document: str
    question: str
    notes: tuple[str, ...]
    columns: Mapping[str, str]
    run: Callable[[VllmPlace, Path, Sequence[int], Say], list[Row]]
    judge: Callable[[Sequence[Row]], list[Judged]]
    conditions: Mapping[str, Any]


def over_seeds(rows: Sequence[Row], case: str, figure: str) -> Spread | None:
    """A figure of a case: median and range."""
    return spread(row.figures[figure] for row in rows if row.case == case and figure in row.figures)


def ratios(rows: Sequence[Row], figure: str, case: str, by: str) -> Spread | None:
    """A figure of one case by that of another, within each seed."""
    own = {row.seed: row.figures[figure] for row in rows if row.case == case}
    other = {row.seed: row.figures[figure] for row in rows if row.case == by}
    return spread(own[seed] / other[seed] for seed in own if other.get(seed))


def judged(text: str, measured: Spread | None, limit: float, *, at_least: bool) -> Judged:
    """A goal, judged by the median over seeds."""
    bound = f"{'>=' if at_least else '<='} {limit:g}"
    if measured is None:
        return Judged(text, bound, None, Verdict.OPEN)
    kept = measured.median >= limit if at_least else measured.median <= limit
    return Judged(text, bound, measured, Verdict.PASS if kept else Verdict.FAIL)


def at(values: Sequence[float], fraction: float) -> float:
    """A percentile of values in any order; 0 of none."""
    return percentile(sorted(values), fraction) if values else 0.0
