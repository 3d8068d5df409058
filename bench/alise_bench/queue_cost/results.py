"""The result file of ``alise bench queue``: what was timed and counted, and where."""

from collections.abc import Iterator, Sequence

import msgspec

from alise_bench.load.distribution import Spread, spread
from alise_bench.overhead.goals import Verdict
from alise_bench.queue_cost.measure import Kind

LIMIT_US = 100.0
"""An event may cost this much at the 99th percentile with ``LIMIT_WAITING`` requests waiting: a
thousandth of a time to first token of 100 ms."""
LIMIT_WAITING = 10_000
_MOST_BACKENDS = 16
"""Pools beyond it are measured and not judged."""


class Conditions(msgspec.Struct, frozen=True):
    """What the figures hold for.

    Attributes:
        load_average: Before and after.
        repeats: Of every row, each with other draws.
        rounds: Events of every kind in a row.
    """

    started: str
    cpu_model: str
    cpus: int
    kernel: str
    python: str
    load_average: list[float]
    repeats: int
    rounds: int


class Row(msgspec.Struct, frozen=True):
    """One kind of event in one repeat; CPU time in microseconds.

    Attributes:
        worst_us: The longest event, the collector's pauses included.
    """

    ordering: str
    waiting: int
    tenants: int
    backends: int
    kind: Kind
    repeat: int
    events: int
    p50_us: float
    p99_us: float
    worst_us: float

    @property
    def place(self) -> tuple[str, int, int, int]:
        """What waits, and what for."""
        return self.ordering, self.waiting, self.tenants, self.backends


class Counted(msgspec.Struct, frozen=True):
    """Dispatches of one ordering, and those that passed a better class."""

    ordering: str
    dispatches: int
    inversions: int
    by_class: dict[str, int]


class Results(msgspec.Struct, frozen=True):
    """Everything of one measurement."""

    conditions: Conditions
    rows: list[Row]
    counted: list[Counted]


class Judged(msgspec.Struct, frozen=True):
    """A goal with what was measured; ``measured`` is ``None`` where it was not."""

    text: str
    bound: str
    measured: Spread | None
    verdict: Verdict


def decode(data: bytes) -> Results:
    """Read a result file.

    Raises:
        ValueError: It is not one.
    """
    try:
        return msgspec.json.decode(data, type=Results)
    except msgspec.DecodeError as error:
        raise ValueError(f"not a result file of 'alise bench queue': {error}") from error


def figure(rows: Sequence[Row], kind: Kind, field: str) -> Spread | None:
    """One field of the rows of a kind, over repeats."""
    return spread(getattr(row, field) for row in rows if row.kind is kind)


def places(rows: Sequence[Row]) -> Iterator[list[Row]]:
    """Rows that differ in kind and repeat only, place by place."""
    for place in dict.fromkeys(row.place for row in rows):
        yield [row for row in rows if row.place == place]


def judge(results: Results) -> list[Judged]:
    """Each kind of event by the place where it is dearest, then the classes' order."""
    judged_rows = [
        row
        for row in results.rows
        if row.waiting == LIMIT_WAITING and row.backends <= _MOST_BACKENDS
    ]
    found = [_judge_kind(judged_rows, kind) for kind in Kind]
    dispatches = sum(item.dispatches for item in results.counted)
    inversions = float(sum(item.inversions for item in results.counted))
    text = f"dispatches that passed a better class, of {dispatches:,}"
    verdict = Verdict.PASS if inversions == 0 else Verdict.FAIL
    if not dispatches:
        return [*found, Judged(text, "0", None, Verdict.OPEN)]
    return [*found, Judged(text, "0", Spread(inversions, inversions, inversions, 1), verdict)]


def _judge_kind(rows: Sequence[Row], kind: Kind) -> Judged:
    text = f"{kind}, {LIMIT_WAITING:,} waiting, p99 us"
    spreads = [figure(place, kind, "p99_us") for place in places(rows)]
    worst = max(filter(None, spreads), key=lambda item: item.median, default=None)
    if worst is None:
        return Judged(text, f"<= {LIMIT_US:g}", None, Verdict.OPEN)
    verdict = Verdict.PASS if worst.median <= LIMIT_US else Verdict.FAIL
    return Judged(text, f"<= {LIMIT_US:g}", worst, verdict)
