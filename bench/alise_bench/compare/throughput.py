"""Throughput at equal latency: the highest rate at which a row keeps a bound.

Requests arrive for a fixed time at any rate, so that a higher rate is more work and not a shorter
test. Rates are tried on a fixed geometric grid, which lets two bounds share their trials.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from math import ceil, log

from alise_bench.compare.engine import Engine
from alise_bench.compare.figures import figures_of
from alise_bench.compare.offer import Library, Source
from alise_bench.compare.results import Search, Tried
from alise_bench.compare.rows import Row

STEP = 1.02
"""Neighbouring rates differ by 2 %: as much as runs with other draws."""
_LOWEST, _HIGHEST = 0.1, 10.0
"""Rates by capacity within which the search stays."""
_FIRST_STRIDE = 8
"""Steps from the capacity to the second trial: 17 %."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What is searched for.

    Attributes:
        duration_s: For how long requests arrive.
        normalized_s_per_token: Mean normalized latency. Source: ALISE paper (arXiv 2410.23537) and
            vLLM paper (arXiv 2309.06180), which compare the rates that systems sustain at equal
            normalized latency.
        ttft_p99_s: 99th percentile of the time to first token.
    """

    duration_s: float = 120.0
    normalized_s_per_token: float = 0.2
    ttft_p99_s: float = 5.0


@dataclass(slots=True)
class Trials:
    """Runs of one row, each rate of the grid at most once.

    Attributes:
        run: Serves the trace at a rate.
        capacity: The grid's middle, requests a second.
        done: By place on the grid.
    """

    run: Callable[[float], Tried]
    capacity: float
    done: dict[int, Tried] = field(default_factory=dict)

    def at(self, step: int) -> Tried:
        """What happens at a place of the grid."""
        if step not in self.done:
            self.done[step] = self.run(self.capacity * STEP**step)
        return self.done[step]

    def highest(self, holds: Callable[[Tried], bool]) -> float:
        """The highest rate of the grid at which a bound holds, taken to fail above it."""
        lowest, highest = ceil(log(_LOWEST, STEP)), ceil(log(_HIGHEST, STEP))
        good, bad, stride = None, None, _FIRST_STRIDE
        step = 0
        while good is None or bad is None:
            if holds(self.at(step)):
                good = step
                step = min(step + stride, highest)
            else:
                bad = step
                step = max(step - stride, lowest)
            stride *= 2
            if step in (good, bad):
                return self.at(step).rate if good is not None else 0.0
        while bad - good > 1:
            middle = (good + bad) // 2
            good, bad = (middle, bad) if holds(self.at(middle)) else (good, middle)
        return self.at(good).rate


@dataclass(frozen=True, slots=True)
class Hunt:
    """One search.

    Attributes:
        source: Requests; their number follows from the rate.
        row: Who serves.
        seed: Of everything that is drawn.
        capacity: Requests a second.
        bounds: What has to be kept.
    """

    source: Source
    row: Row
    seed: int
    capacity: float
    bounds: Bounds = field(default_factory=Bounds)


def search(engine: Engine, library: Library, hunt: Hunt, say: Callable[[str], None]) -> Search:
    """Find the highest rates at which a row keeps either bound."""
    bounds = hunt.bounds

    def run(rate: float) -> Tried:
        source = replace(hunt.source, requests=max(1, round(rate * bounds.duration_s)))
        trace = library.offer(source, rate, hunt.seed, engine.context_tokens).trace
        served = engine.run(hunt.row, trace, hunt.seed)
        every = figures_of(hunt.row.name, served, lambda _: None).all
        latency, ttft = every.normalized_latency_s_per_token, every.ttft_s
        tried = Tried(
            rate,
            rate / hunt.capacity,
            len(trace),
            latency.mean if latency else float("inf"),
            ttft.p99 if ttft else float("inf"),
        )
        say(
            f"  {hunt.source.workload}, {hunt.row.name}, {rate:.2f} requests/s: "
            f"{tried.normalized_latency_s_per_token:.3f} s/token, TTFT p99 {tried.ttft_p99_s:.2f} s"
        )
        return tried

    trials = Trials(run, hunt.capacity)
    limit, ttft_limit = bounds.normalized_s_per_token, bounds.ttft_p99_s
    return Search(
        workload=str(hunt.source.workload),
        row=hunt.row.name,
        seed=hunt.seed,
        duration_s=bounds.duration_s,
        normalized_bound_s_per_token=limit,
        ttft_p99_bound_s=ttft_limit,
        rate_at_normalized=trials.highest(
            lambda tried: tried.normalized_latency_s_per_token <= limit
        ),
        rate_at_ttft=trials.highest(lambda tried: tried.ttft_p99_s <= ttft_limit),
        tried=[trials.done[step] for step in sorted(trials.done)],
    )
