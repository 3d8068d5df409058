"""From the marks of a run's requests to the figures of its row. Pure."""

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from alise_bench.compare.served import ServedRequest
from alise_bench.load.distribution import percentile
from alise_core.outcome import Outcome

GOOD_TTFT_SECONDS = 2.0
"""An answer that begins later is late for somebody who waits for it."""
GOOD_TPOT_SECONDS = 0.1
"""Ten tokens a second: about twice as fast as people read."""

Alone = Callable[[int], float | None]
"""Seconds that a request (by number) takes alone on an idle engine; ``None`` where not known."""


@dataclass(frozen=True, slots=True)
class Stats:
    """A distribution, in seconds or seconds per token."""

    mean: float
    p50: float
    p95: float
    p99: float


@dataclass(frozen=True, slots=True)
class Latencies:
    """Of some of a run's completed requests; ``None`` without any.

    Attributes:
        count: Requests.
        ttft_s: Arrival to first token.
        ttlt_s: Arrival to last token.
        tpot_s: First to last token, per token after the first; of answers with more than one.
        normalized_latency_s_per_token: ``ttlt_s`` per token.
        slowdown: ``ttlt_s`` by the time the same answer takes alone on an idle engine; ``None``
            where that is not known.
    """

    count: int
    ttft_s: Stats | None
    ttlt_s: Stats | None
    tpot_s: Stats | None
    normalized_latency_s_per_token: Stats | None
    slowdown: Stats | None


@dataclass(frozen=True, slots=True)
class RowFigures:
    """One row of the results.

    Attributes:
        name: Of the row.
        all: All completed requests.
        short_half: Those whose answers are not longer than the median.
        longest_decile: Those whose answers are among the longest tenth.
        up_to_mean: Those whose answers are not longer than the mean of all.
        above_mean: The others.
        tokens_per_s: Output tokens of the run, by its duration.
        max_wait_s: Longest time to a first token.
        preemptions: All engines together.
        outcomes: Requests by how they ended.
        fairness: Jain's index of tenants' slowdowns' inverses, 1 is equal; ``None`` for one tenant.
        duration_s: First arrival to last token.
        queue_s: Arrival to dispatch: the wait in the gateway.
        engine_ttft_s: Dispatch to first token: the wait in the engine, and the prefill.
        goodput_per_s: Requests a second that began within ``GOOD_TTFT_SECONDS`` and went on at
            ``GOOD_TPOT_SECONDS`` a token or faster.
        later_half_ttlt_s: Of the second half of the trace: after what is learned on the way.
    """

    name: str
    all: Latencies
    short_half: Latencies
    longest_decile: Latencies
    up_to_mean: Latencies
    above_mean: Latencies
    tokens_per_s: float
    max_wait_s: float
    preemptions: int
    outcomes: dict[str, int]
    fairness: float | None
    duration_s: float
    queue_s: Stats | None
    engine_ttft_s: Stats | None
    goodput_per_s: float
    later_half_ttlt_s: Stats | None


def figures_of(name: str, served: Sequence[ServedRequest], alone_s: Alone) -> RowFigures:
    """Reduce a run.

    Args:
        name: Of the row.
        served: Every request of the trace.
        alone_s: Seconds that a request (by number) takes alone on an idle engine.
    """
    done = [item for item in served if item.last_token is not None]
    lengths = sorted(item.output_tokens for item in done)
    median = percentile(lengths, 0.5) if lengths else 0.0
    long = percentile(lengths, 0.9) if lengths else 0.0
    mean = sum(lengths) / len(lengths) if lengths else 0.0
    end = max((item.last_token or 0.0 for item in done), default=0.0)
    start = min((item.arrival for item in served), default=0.0)
    duration = max(end - start, 0.0)
    waits = [item.first_token - item.arrival for item in done if item.first_token is not None]
    return RowFigures(
        name=name,
        all=_latencies(done, alone_s),
        short_half=_latencies([item for item in done if item.output_tokens <= median], alone_s),
        longest_decile=_latencies([item for item in done if item.output_tokens >= long], alone_s),
        up_to_mean=_latencies([item for item in done if item.output_tokens <= mean], alone_s),
        above_mean=_latencies([item for item in done if item.output_tokens > mean], alone_s),
        tokens_per_s=sum(lengths) / duration if duration else 0.0,
        max_wait_s=max(waits, default=0.0),
        preemptions=sum(item.preemptions for item in served),
        outcomes=dict(sorted(Counter(_ending(item) for item in served).items())),
        fairness=_fairness(done, alone_s),
        duration_s=duration,
        queue_s=stats_of(
            [item.dispatched - item.arrival for item in done if item.dispatched is not None]
        ),
        engine_ttft_s=stats_of(
            [
                item.first_token - item.dispatched
                for item in done
                if item.first_token is not None and item.dispatched is not None
            ]
        ),
        later_half_ttlt_s=stats_of(
            [
                item.last_token - item.arrival
                for item in done
                if item.last_token is not None and item.number >= len(served) / 2
            ]
        ),
        goodput_per_s=sum(map(_is_good, done)) / duration if duration else 0.0,
    )


def _is_good(item: ServedRequest) -> bool:
    first, last = item.first_token, item.last_token
    if first is None or last is None or first - item.arrival > GOOD_TTFT_SECONDS:
        return False
    return last - first <= GOOD_TPOT_SECONDS * (item.output_tokens - 1)


def _ending(item: ServedRequest) -> str:
    return str(item.outcome)


def _latencies(requests: Sequence[ServedRequest], alone_s: Alone) -> Latencies:
    ttft, ttlt, tpot, normalized, slowdown = [], [], [], [], []
    for item in requests:
        first, last, tokens = item.first_token, item.last_token, item.output_tokens
        if last is None or tokens < 1:
            continue
        total = last - item.arrival
        ttlt.append(total)
        normalized.append(total / tokens)
        alone = alone_s(item.number)
        if alone:
            slowdown.append(total / alone)
        if first is not None:
            ttft.append(first - item.arrival)
            if tokens > 1:
                tpot.append((last - first) / (tokens - 1))
    return Latencies(len(requests), *map(stats_of, (ttft, ttlt, tpot, normalized, slowdown)))


def stats_of(values: Sequence[float]) -> Stats | None:
    """Mean and percentiles; ``None`` of nothing."""
    if not values:
        return None
    ordered = sorted(values)
    return Stats(
        sum(ordered) / len(ordered),
        percentile(ordered, 0.5),
        percentile(ordered, 0.95),
        percentile(ordered, 0.99),
    )


def _fairness(done: Sequence[ServedRequest], alone_s: Alone) -> float | None:
    """Jain's index over tenants of how fast each was served (mean inverse slowdown)."""
    speeds: dict[str, list[float]] = defaultdict(list)
    for item in done:
        alone = alone_s(item.number)
        if alone and item.last_token is not None and item.outcome is Outcome.COMPLETED:
            speeds[item.tenant].append(alone / (item.last_token - item.arrival))
    if len(speeds) < 2:  # noqa: PLR2004  one tenant shares with nobody
        return None
    means = [sum(values) / len(values) for values in speeds.values()]
    return sum(means) ** 2 / (len(means) * sum(value * value for value in means))
