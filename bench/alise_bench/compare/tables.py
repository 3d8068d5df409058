"""The rows of a comparison as tables for the terminal and for the document. Pure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from alise_bench.compare.figures import Stats
from alise_bench.compare.results import RowResult
from alise_bench.load.distribution import Spread, spread
from alise_bench.overhead.tables import number


@dataclass(frozen=True, slots=True)
class Table:
    """A heading, column names and rows of text; the first column is a name."""

    title: str
    columns: list[str]
    rows: list[list[str]]


Pick = Callable[[RowResult], float | None]


def part(name: str, field: str, over: str = "") -> Pick:
    """A figure of a row.

    Args:
        name: The distribution, for example ``ttft_s``.
        field: Of it, for example ``p95``.
        over: A part of the requests, for example ``short_half``; all of them without.
    """

    def pick(row: RowResult) -> float | None:
        group = getattr(row, over) if over else row
        stats: Stats | None = None if group is None else getattr(group, name)
        return None if stats is None else float(getattr(stats, field))

    return pick


def plain(field: str) -> Pick:
    """A figure of a row that is a number itself."""

    def pick(row: RowResult) -> float | None:
        value = getattr(row, field)
        return None if value is None else float(value)

    return pick


_COLUMNS: tuple[tuple[str, Pick], ...] = (
    ("TTFT mean", part("ttft_s", "mean")),
    ("TTFT p95", part("ttft_s", "p95")),
    ("short half TTFT p95", part("ttft_s", "p95", "short_half")),
    ("TTLT mean", part("ttlt_s", "mean")),
    ("TTLT p99", part("ttlt_s", "p99")),
    ("longest decile TTLT p99", part("ttlt_s", "p99", "longest_decile")),
    ("up to the mean length: TTLT p95", part("ttlt_s", "p95", "up_to_mean")),
    ("above it: TTLT mean", part("ttlt_s", "mean", "above_mean")),
    ("s/token mean", part("normalized_latency_s_per_token", "mean")),
    ("tokens/s", plain("tokens_per_s")),
    ("longest wait", plain("max_wait_s")),
    ("preemptions", plain("preemptions")),
    ("gap captured", plain("gap_captured")),
)
_BRIEF: tuple[tuple[str, Pick], ...] = (
    ("TTFT p95", part("ttft_s", "p95")),
    ("short half", part("ttft_s", "p95", "short_half")),
    ("TTLT mean", part("ttlt_s", "mean")),
    ("longest decile p99", part("ttlt_s", "p99", "longest_decile")),
    ("tokens/s", plain("tokens_per_s")),
    ("longest wait", plain("max_wait_s")),
)


def tables(rows: Sequence[RowResult]) -> list[Table]:
    """A table for each cell and load, in the order of their runs: medians and ranges over seeds."""
    return _tables(rows, _COLUMNS, shown)


def brief_tables(rows: Sequence[RowResult]) -> list[Table]:
    """The same for a terminal: fewer columns, medians only."""
    return _tables(rows, _BRIEF, lambda value: "-" if value is None else number(value.median))


def _tables(
    rows: Sequence[RowResult],
    columns: Sequence[tuple[str, Pick]],
    show: Callable[[Spread | None], str],
) -> list[Table]:
    found = []
    for cell, rho in dict.fromkeys((row.cell, row.rho) for row in rows):
        here = [row for row in rows if (row.cell, row.rho) == (cell, rho)]
        lines = [
            [name, *(show(over_seeds(mine, pick)) for _, pick in columns)]
            for name in dict.fromkeys(row.name for row in here)
            if (mine := [row for row in here if row.name == name])
        ]
        titles = ["", *(title for title, _ in columns)]
        found.append(_without_empty(Table(_title(cell, rho, here), titles, lines)))
    return found


def _title(cell: str, rho: float | None, rows: Sequence[RowResult]) -> str:
    load = "at its own times" if rho is None else f"rho {rho:.3g}"
    seeds = len({row.seed for row in rows})
    parts = [
        cell,
        load,
        f"{rows[0].requests} requests",
        "1 seed" if seeds == 1 else f"{seeds} seeds",
    ]
    return ", ".join(part for part in parts if part)


def _without_empty(table: Table) -> Table:
    used = [
        place
        for place in range(len(table.columns))
        if place == 0 or any(row[place] != "-" for row in table.rows)
    ]
    rows = [[row[place] for place in used] for row in table.rows]
    return Table(table.title, [table.columns[place] for place in used], rows)


def over_seeds(rows: Sequence[RowResult], pick: Pick) -> Spread | None:
    """A figure of the same row over the seeds; ``None`` where no seed has it."""
    values = [pick(row) for row in rows]
    return spread(value for value in values if value is not None)


def shown(value: Spread | None) -> str:
    """The median, and the range where there is one."""
    if value is None:
        return "-"
    if value.count == 1 or value.low == value.high:
        return number(value.median)
    return f"{number(value.median)} [{number(value.low)} - {number(value.high)}]"
