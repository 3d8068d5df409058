"""What scheduling inside an engine has to reach where short answers and long ones mix. Pure.

Ratios are taken within one seed, on the same requests; the median over seeds decides. Short is
what is not longer than the mean answer, long the rest: with four short answers to a long one, and
nothing between, that is which of the two it is.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from alise_bench.compare.goals import judged, ratios
from alise_bench.compare.results import Judged, RowResult
from alise_bench.compare.tables import Pick, part, plain
from alise_bench.load.distribution import spread
from alise_bench.overhead.tables import number

_STOCK, _TRUTH = "vllm-fcfs", "oracle"
_SUBJECTS = ("default", "gateway")


@dataclass(frozen=True, slots=True)
class _Goal:
    text: str
    pick: Pick
    bound: float
    at_least: bool = False

    def kept(self, value: float) -> bool:
        return value >= self.bound if self.at_least else value <= self.bound


_SHORT = part("ttlt_s", "p95", "up_to_mean")
_LONG = part("ttlt_s", "mean", "above_mean")
_GOALS = (
    _Goal("short answers' p95 TTLT", _SHORT, 0.35),
    _Goal("long answers' mean TTLT", _LONG, 1.2),
    _Goal("tokens/s", plain("tokens_per_s"), 0.97, at_least=True),
)


def judge_engine(rows: Sequence[RowResult]) -> list[Judged]:
    """All goals, load by load, of the rows that were run."""
    names = {row.name for row in rows}
    return [
        _judge(rows, goal, subject, rho)
        for rho in dict.fromkeys(row.rho for row in rows if row.rho is not None)
        for subject in _SUBJECTS
        if subject in names
        for goal in _GOALS
    ]


def _judge(rows: Sequence[RowResult], goal: _Goal, subject: str, rho: float) -> Judged:
    here = [row for row in rows if row.rho == rho]
    measured = spread(ratios(here, subject, _STOCK, goal.pick))
    text = f"{goal.text} at rho {rho:.3g}, {subject} by {_STOCK}"
    bound = f"{'>=' if goal.at_least else '<='} {goal.bound:g}"
    passed = measured is not None and goal.kept(measured.median)
    truth = spread(ratios(here, _TRUTH, _STOCK, goal.pick))
    reason = "" if truth is None else f"with the true lengths {number(truth.median)}"
    return judged(text, bound, measured, passed, reason)
