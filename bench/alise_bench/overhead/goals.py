"""What the gateway has to reach, and whether a result file shows it.

Pure. A goal that the rows cannot answer (a peer is missing, a scenario was left out) is *open*,
never passed. Each verdict rests on the median over rounds.
"""

from dataclasses import dataclass
from enum import StrEnum

from alise_bench.load.distribution import Spread
from alise_bench.overhead.figures import Figure, error_count, figure, memory_mib, ratio
from alise_bench.overhead.results import Results

SUBJECT = "alise"
_CROWD = "s1000"


class Verdict(StrEnum):
    """How a goal stands."""

    PASS = "pass"
    FAIL = "fail"
    OPEN = "open"


@dataclass(frozen=True, slots=True)
class Goal:
    """A figure of the gateway and the highest value it may have.

    Attributes:
        text: For the table.
        scenario: Where it is measured.
        kind: The figure.
        limit: The highest value that passes.
        versus: A peer: the figure is then the share of the peer's in the same round.
        is_aim: Wished for, not required.
    """

    text: str
    scenario: str
    kind: Figure
    limit: float
    versus: str = ""
    is_aim: bool = False


@dataclass(frozen=True, slots=True)
class Judged:
    """A goal with what was measured."""

    text: str
    limit: float
    measured: Spread | None
    verdict: Verdict


GOALS: tuple[Goal, ...] = (
    Goal("CPU per 1 KiB request, share of smg's", "c64_1k", Figure.CPU_US, 0.85, "smg"),
    Goal("CPU per 1 KiB request, share of LiteLLM's", "c64_1k", Figure.CPU_US, 1 / 60, "litellm"),
    Goal("CPU per 64 KiB request, share of smg's", "c64_64k", Figure.CPU_US, 0.6, "smg"),
    Goal("CPU per stream (256 at 5 ms), share of smg's", "s256", Figure.CPU_US, 0.9, "smg"),
    Goal(
        "CPU per stream, share of vllm-router's (aim)",
        "s256",
        Figure.CPU_US,
        1.0,
        "vllm-router",
        is_aim=True,
    ),
    Goal("added TTFB p99, 256 streams, ms", "s256", Figure.ADDED_TTFB_P99, 8.0),
    Goal("added median, 1 client, 1 KiB, ms", "c1_1k", Figure.ADDED_P50, 0.30),
    Goal("added median, 1 client, 64 KiB, ms", "c1_64k", Figure.ADDED_P50, 0.45),
    Goal("added p99, 1 client, 1 KiB, quiet machine, ms", "c1_1k", Figure.ADDED_P99, 1.0),
    Goal("RSS per stream, 1,000 streams, KiB", "s1000", Figure.RSS_KIB_PER_STREAM, 40.0),
)
_PEAK_MIB = 80e6 / (1 << 20)


def judge(results: Results) -> list[Judged]:
    """All goals, in a fixed order."""
    judged = [_judge(results, goal) for goal in GOALS]
    judged.append(_judge_errors(results))
    # Without the 1,000 streams the process has not been through what the limit is about.
    crowded = any(row.target == SUBJECT and row.scenario == _CROWD for row in results.rows)
    peak = memory_mib(results, SUBJECT)[1] if crowded else None
    judged.append(_against("peak RSS (80 MB), MiB", _PEAK_MIB, peak))
    return judged


def _judge(results: Results, goal: Goal) -> Judged:
    if goal.versus:
        measured = ratio(results, SUBJECT, goal.versus, goal.scenario, goal.kind)
    else:
        measured = figure(results, SUBJECT, goal.scenario, goal.kind)
    return _against(goal.text, goal.limit, measured)


def _judge_errors(results: Results) -> Judged:
    scenarios = {row.scenario for row in results.rows if row.target == SUBJECT}
    errors = sum(error_count(results, SUBJECT, scenario) for scenario in scenarios)
    counted = float(errors)
    measured = Spread(counted, counted, counted, len(scenarios)) if _CROWD in scenarios else None
    return _against("errors, all scenarios with the 1,000 streams", 0.0, measured)


def _against(text: str, limit: float, measured: Spread | None) -> Judged:
    if measured is None:
        return Judged(text, limit, None, Verdict.OPEN)
    passed = measured.median <= limit
    return Judged(text, limit, measured, Verdict.PASS if passed else Verdict.FAIL)
