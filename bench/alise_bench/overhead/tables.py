"""The same figures for the terminal and for the document: rows of text, scenario by scenario."""

from dataclasses import dataclass

from alise_bench.load.distribution import Spread
from alise_bench.overhead.figures import (
    Figure,
    difference,
    error_count,
    figure,
    memory_added_mib,
    memory_mib,
    ratio,
)
from alise_bench.overhead.results import Results
from alise_bench.overhead.scenarios import SCENARIOS

_SINGLE = (Figure.ADDED_P50, Figure.ADDED_P99, Figure.TOTAL_P50, Figure.CPU_US)
_MANY = (Figure.CPU_US, Figure.PER_SECOND, Figure.TOTAL_P50, Figure.TOTAL_P99)
_STREAM = (Figure.CPU_S_PER_1000, Figure.CPU_US_PER_EVENT)
COLUMNS: dict[str, tuple[Figure, ...]] = {
    "c1_1k": _SINGLE,
    "c1_64k": _SINGLE,
    "c64_1k": _MANY,
    "c64_64k": _MANY,
    "s64": (*_STREAM, Figure.EVENTS_PER_SECOND),
    "s256": (*_STREAM, Figure.ADDED_TTFB_P50, Figure.ADDED_TTFB_P99, Figure.TTFB_P99),
    "s1000": (
        Figure.RSS_KIB_PER_STREAM,
        Figure.CPU_S_PER_1000,
        Figure.TTFB_P99,
        Figure.BESIDE_TTFB_P50,
        Figure.BESIDE_TTFB_P99,
    ),
}

_WITHOUT, _PREDICTOR = "alise", "alise-predictor"
_PREDICTOR_ROWS = (
    ("c64_1k", Figure.CPU_US, "CPU us per 1 KiB request"),
    ("c64_64k", Figure.CPU_US, "CPU us per 64 KiB request"),
    ("s256", Figure.CPU_S_PER_1000, "CPU s per 1,000 streams, 256 at 5 ms"),
    ("c1_1k", Figure.TOTAL_P50, "median ms, 1 client, 1 KiB"),
    ("c1_64k", Figure.TOTAL_P50, "median ms, 1 client, 64 KiB"),
)


@dataclass(frozen=True, slots=True)
class Table:
    """One scenario: a heading, column names and rows; the first column is the target."""

    name: str
    title: str
    columns: list[str]
    rows: list[list[str]]


def scenario_tables(results: Results) -> list[Table]:
    """A table for every scenario that was measured, in the order of measurement."""
    measured = {row.scenario for row in results.rows}
    return [
        _table(results, scenario.name, scenario.title)
        for scenario in SCENARIOS
        if scenario.name in measured
    ]


def predictor_table(results: Results) -> Table | None:
    """What predicting adds to the same gateway in the same round; ``None`` if not measured."""
    rows = []
    for scenario, kind, text in _PREDICTOR_ROWS:
        asked = (results, _PREDICTOR, _WITHOUT, scenario, kind)
        added = difference(*asked)
        if added is None:
            continue
        values = (figure(results, name, scenario, kind) for name in (_WITHOUT, _PREDICTOR))
        rows.append([text, *(shown(value) for value in (*values, ratio(*asked), added))])
    without, having = memory_mib(results, _WITHOUT), memory_mib(results, _PREDICTOR)
    more = memory_added_mib(results, _PREDICTOR, _WITHOUT)
    for position, text in enumerate(("idle RSS, MiB", "peak RSS, MiB")):
        if more[position] is not None:
            pair = (shown(without[position]), shown(having[position]))
            rows.append([text, *pair, "-", shown(more[position])])
    if not rows:
        return None
    return Table("predictor", "The length predictor", ["", "off", "on", "on / off", "added"], rows)


def shown(value: Spread | None) -> str:
    """``median [low-high]`` with three significant digits; a dash for nothing."""
    if value is None:
        return "-"
    median = number(value.median)
    if value.count == 1 or value.low == value.high:
        return median
    return f"{median} [{number(value.low)} - {number(value.high)}]"


def number(value: float) -> str:
    """Three significant digits, without an exponent."""
    if value == 0:
        return "0"
    size = abs(value)
    if size >= 100:  # noqa: PLR2004  three digits before the point
        return f"{value:,.0f}"
    if size >= 10:  # noqa: PLR2004
        return f"{value:.1f}"
    return f"{value:.2f}" if size >= 1 else f"{value:.3f}"


def _table(results: Results, name: str, title: str) -> Table:
    columns = COLUMNS[name]
    rows = []
    for target in results.targets:
        if not any(row.target == target.name and row.scenario == name for row in results.rows):
            continue
        cells = [shown(figure(results, target.name, name, column)) for column in columns]
        errors = error_count(results, target.name, name)
        rows.append([target.name, *cells, str(errors)])
    return Table(name, title, ["target", *(column.value for column in columns), "errors"], rows)
