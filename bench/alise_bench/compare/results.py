"""The result of a comparison as JSON: conditions, and a row for each way to serve the trace."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from alise_bench.compare.figures import Latencies, RowFigures, Stats
from alise_bench.load.distribution import Spread
from alise_bench.overhead.goals import Verdict

MAIN, FRONT, FLOOD, OVERLOAD = "mixed", "front", "flood", "ten minutes of overload"
"""Cells of a suite that goals, tables or pictures look at."""
ALONE, FLOODED = "default, alone", "default, flooded"
"""Rows of ``FLOOD``: one tenant's requests without and with the other's."""
LEARNED = "learned"
"""Row of searches: the default, whose predictor has learned from prompts that are not sent."""


class RowResult(msgspec.Struct, frozen=True, kw_only=True):
    """One row of one run.

    Attributes:
        name: Of the row.
        cell: Of a suite's runs: which one; empty elsewhere.
        rho: Offered rate by capacity; ``None`` where the trace has no rate.
        seed: Of what was drawn.
        requests: Sent.
        gap_captured: How much of what separates shuffled predictions from true lengths in mean
            time to last token the row has; ``None`` where the run lacks one of both.
        later_half_gap_captured: The same over the second half of the trace.
        up_to_mean: As in ``RowFigures``; ``None`` in results from before there was any.
        above_mean: The same.

    The others are those of ``RowFigures``.
    """

    name: str
    ttft_s: Stats | None
    ttlt_s: Stats | None
    tpot_s: Stats | None
    normalized_latency_s_per_token: Stats | None
    short_half: Latencies
    longest_decile: Latencies
    tokens_per_s: float
    max_wait_s: float
    preemptions: int
    outcomes: dict[str, int]
    slowdown: Stats | None
    queue_s: Stats | None
    engine_ttft_s: Stats | None
    goodput_per_s: float
    fairness: float | None
    duration_s: float
    later_half_ttlt_s: Stats | None
    requests: int
    rho: float | None = None
    seed: int = 1
    cell: str = ""
    gap_captured: float | None = None
    later_half_gap_captured: float | None = None
    up_to_mean: Latencies | None = None
    above_mean: Latencies | None = None


class Tried(msgspec.Struct, frozen=True):
    """One rate of a search.

    Attributes:
        rate: Requests a second.
        rho: The rate by capacity.
        requests: Sent.
        normalized_latency_s_per_token: Mean.
        ttft_p99_s: 99th percentile of the time to first token.
    """

    rate: float
    rho: float
    requests: int
    normalized_latency_s_per_token: float
    ttft_p99_s: float


class Search(msgspec.Struct, frozen=True, kw_only=True):
    """The highest rates at which one row of one workload keeps a bound.

    Attributes:
        workload: Name.
        row: Name.
        seed: Of everything that was drawn.
        duration_s: For how long requests arrive, at any rate.
        normalized_bound_s_per_token: Of the mean.
        ttft_p99_bound_s: Of the 99th percentile.
        rate_at_normalized: Highest rate within the first bound, requests a second.
        rate_at_ttft: The same within the second.
        tried: Every rate that was, ascending.
    """

    workload: str
    row: str
    seed: int
    duration_s: float
    normalized_bound_s_per_token: float
    ttft_p99_bound_s: float
    rate_at_normalized: float
    rate_at_ttft: float
    tried: list[Tried]


class Judged(msgspec.Struct, frozen=True):
    """A goal with what was measured.

    Attributes:
        text: What is judged.
        bound: For example ``<= 0.2``.
        measured: Over seeds; ``None`` where it was not.
        verdict: By the median.
        reason: Why it is missed, from the figures; empty otherwise.
    """

    text: str
    bound: str
    measured: Spread | None
    verdict: Verdict
    reason: str = ""


class Results(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a comparison prints.

    Attributes:
        conditions: What the figures hold for.
        rows: In the order of their runs.
        searches: Of a suite: throughput at equal latency.
        goals: What has to be reached: of a suite the gateway, of one engine its plugin.
    """

    conditions: dict[str, Any]
    rows: list[RowResult]
    searches: list[Search] = []
    goals: list[Judged] = []


def row_result(figures: RowFigures, *, rho: float | None, seed: int, cell: str = "") -> RowResult:
    """Figures as a row of results."""
    every = figures.all
    return RowResult(
        name=figures.name,
        ttft_s=every.ttft_s,
        ttlt_s=every.ttlt_s,
        tpot_s=every.tpot_s,
        normalized_latency_s_per_token=every.normalized_latency_s_per_token,
        short_half=figures.short_half,
        longest_decile=figures.longest_decile,
        up_to_mean=figures.up_to_mean,
        above_mean=figures.above_mean,
        tokens_per_s=figures.tokens_per_s,
        max_wait_s=figures.max_wait_s,
        preemptions=figures.preemptions,
        outcomes=figures.outcomes,
        slowdown=every.slowdown,
        queue_s=figures.queue_s,
        engine_ttft_s=figures.engine_ttft_s,
        goodput_per_s=figures.goodput_per_s,
        fairness=figures.fairness,
        duration_s=figures.duration_s,
        later_half_ttlt_s=figures.later_half_ttlt_s,
        requests=sum(figures.outcomes.values()),
        rho=rho,
        seed=seed,
        cell=cell,
    )


def with_gap(rows: Sequence[RowResult]) -> list[RowResult]:
    """The rows of one run, each with the share of the gap that it has captured."""
    every = _shares({row.name: row.ttlt_s for row in rows})
    later = _shares({row.name: row.later_half_ttlt_s for row in rows})
    return [
        msgspec.structs.replace(
            row,
            gap_captured=every.get(row.name),
            later_half_gap_captured=later.get(row.name),
        )
        for row in rows
    ]


def _shares(found: Mapping[str, Stats | None]) -> dict[str, float]:
    means = {name: stats.mean for name, stats in found.items() if stats is not None}
    worst, best = means.get("shuffled"), means.get("oracle")
    if worst is None or best is None or worst <= best:
        return {}
    return {name: (worst - mean) / (worst - best) for name, mean in means.items()}


def decode(data: bytes) -> Results:
    """Read what ``encode`` wrote.

    Raises:
        ValueError: It is something else.
    """
    try:
        return msgspec.json.decode(data, type=Results)
    except msgspec.DecodeError as error:
        raise ValueError(f"not a result of 'alise bench compare': {error}") from error
