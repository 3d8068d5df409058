"""What is offered to every row of a comparison: a trace, and where it comes from."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from zlib import crc32

from alise_bench.compare.engine import fit_context
from alise_bench.workloads.arrivals import Arrival
from alise_bench.workloads.corpora import WorkloadPrompt
from alise_bench.workloads.prompts import (
    TenantShare,
    Workload,
    WorkloadName,
    compose,
    load_workload,
)
from alise_bench.workloads.recorded import ArrivalKind, Wish, make_arrivals
from alise_bench.workloads.traces import TraceRow, read_trace

_PARTS = 1_000
"""Into which prompts are divided by their text."""


@dataclass(frozen=True, slots=True)
class Offer:
    """A trace, ready to be sent.

    Attributes:
        trace: By arrival, the first at 0; cut to what the engine's context holds.
        facts: For the conditions of a result.
    """

    trace: list[TraceRow]
    facts: dict[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where requests of named workloads and arrivals come from.

    Attributes:
        workload: Prompts and lengths of answers.
        arrivals: When they are sent.
        cv: Of ``gamma`` arrivals.
        requests: How many.
        data: Folder of data sets; ``None`` for the sample.
        ranks: Rank file, see ``load_workload``.
        tenants: Who sends.
        study_share: Part of the prompts that are not sent, but left to be learned from.
    """

    workload: WorkloadName = WorkloadName.MIXED
    arrivals: ArrivalKind = ArrivalKind.GAMMA
    cv: float = 5.0
    requests: int = 6_000
    data: Path | None = None
    ranks: Path | None = None
    tenants: tuple[TenantShare, ...] = ()
    study_share: float = 0.0


class Library:
    """Workloads that have been read, so that each is read once.

    Raises:
        ConfigError: From both methods: the data directory is missing or not as documented.
    """

    def __init__(self) -> None:
        self._read: dict[tuple[WorkloadName, Path | None, int], Workload] = {}

    def study(self, source: Source, seed: int, context_tokens: int) -> list[TraceRow]:
        """The requests of a source that are never sent."""
        workload = self._workload(source, seed)
        rows = tuple(row for row in workload.rows if _is_studied(row, source.study_share))
        if not rows:
            return []
        marks = [Arrival(0.0)] * len(rows)
        composed = compose(replace(workload, rows=rows), marks, len(rows), seed)
        return fit_context(composed, context_tokens)[0]

    def waiting(self, source: Source, seed: int, context_tokens: int) -> list[TraceRow]:
        """The requests of a source, all at once: for finding the capacity."""
        workload = self._sent(source, seed)
        marks = [Arrival(0.0)] * source.requests
        return fit_context(compose(workload, marks, source.requests, seed), context_tokens)[0]

    def offer(self, source: Source, rate: float, seed: int, context_tokens: int) -> Offer:
        """The requests of a source at a rate.

        Args:
            source: What is sent.
            rate: Requests a second.
            seed: Of everything that is drawn.
            context_tokens: Of the engine.
        """
        workload = self._sent(source, seed)
        wish = Wish(count=source.requests, rate=rate, seed=seed, cv=source.cv)
        arrivals = make_arrivals(source.arrivals, wish, source.data)
        composed = compose(workload, arrivals.marks, source.requests, seed, source.tenants)
        trace, cut = fit_context(composed, context_tokens)
        facts = {
            "workload": dict(workload.facts),
            "arrivals": dict(arrivals.facts),
            "cut_to_context": cut,
        }
        return Offer(trace, facts)

    def _sent(self, source: Source, seed: int) -> Workload:
        workload = self._workload(source, seed)
        if not source.study_share:
            return workload
        sent = [row for row in workload.rows if not _is_studied(row, source.study_share)]
        return replace(workload, rows=tuple(sent))

    def _workload(self, source: Source, seed: int) -> Workload:
        key = source.workload, source.data, seed
        found = self._read.get(key)
        if found is None:
            found = load_workload(source.workload, source.data, seed, ranks=source.ranks)
            self._read[key] = found
        return found


def _is_studied(row: WorkloadPrompt, share: float) -> bool:
    """The same prompts whatever the seed; equal ones are on one side."""
    return crc32(row.text.encode()) % _PARTS < share * _PARTS


def recorded_offer(path: Path, context_tokens: int) -> Offer:
    """The requests of a file at their own rate.

    Raises:
        ConfigError: The file is not as documented, see ``read_trace``.
    """
    trace, cut = fit_context(read_trace(path), context_tokens)
    facts: dict[str, object] = {
        "trace": path.name,
        "requests": len(trace),
        "recorded_rate_per_second": own_rate(trace),
        "cut_to_context": cut,
    }
    return Offer(trace, facts)


def own_rate(trace: Sequence[TraceRow]) -> float | None:
    """Mean arrivals a second; ``None`` where all requests come at one moment."""
    span = trace[-1].arrival_s
    return (len(trace) - 1) / span if span > 0 else None


def scaled(trace: Sequence[TraceRow], factor: float) -> list[TraceRow]:
    """The same requests at ``factor`` times the rate; more than 0."""
    return [replace(item, arrival_s=item.arrival_s / factor) for item in trace]
