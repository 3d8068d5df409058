"""Figures out of rows: per request, per 1,000 streams, added to the direct way, ratios.

Pure. Everything is taken per round first (a proxy against ``direct``, or against a peer, of the
same round) and then reduced to the median and range over rounds.
"""

from collections.abc import Callable, Iterable
from enum import StrEnum

from alise_bench.load.distribution import Spread, spread
from alise_bench.overhead.results import Results, Row

_DIRECT = "direct"
_KIB = 1_024.0


class Figure(StrEnum):
    """What can be asked of a scenario; the value is the heading in tables."""

    CPU_US = "CPU us per request"
    CPU_S_PER_1000 = "CPU s per 1,000"
    CPU_US_PER_EVENT = "CPU us per event"
    PER_SECOND = "requests/s"
    EVENTS_PER_SECOND = "events/s"
    TOTAL_P50 = "total p50 ms"
    TOTAL_P99 = "total p99 ms"
    TTFB_P50 = "TTFB p50 ms"
    TTFB_P99 = "TTFB p99 ms"
    ADDED_P50 = "added p50 ms"
    ADDED_P99 = "added p99 ms"
    ADDED_TTFB_P50 = "added TTFB p50 ms"
    ADDED_TTFB_P99 = "added TTFB p99 ms"
    BESIDE_TTFB_P50 = "TTFB p50 of new requests ms"
    BESIDE_TTFB_P99 = "TTFB p99 of new requests ms"
    RSS_KIB_PER_STREAM = "RSS KiB per stream"


def figure(results: Results, target: str, scenario: str, kind: Figure) -> Spread | None:
    """One figure over all rounds; ``None`` where it was not measured or has no meaning."""
    direct = {row.round: row for row in _rows(results, _DIRECT, scenario)}
    values = (_value(kind, row, direct.get(row.round)) for row in _rows(results, target, scenario))
    return spread(value for value in values if value is not None)


def ratio(results: Results, target: str, other: str, scenario: str, kind: Figure) -> Spread | None:
    """``target``'s figure as a share of ``other``'s in the same round."""
    others = {row.round: _value(kind, row, None) for row in _rows(results, other, scenario)}
    shares = []
    for row in _rows(results, target, scenario):
        mine, theirs = _value(kind, row, None), others.get(row.round)
        if mine is not None and theirs:
            shares.append(mine / theirs)
    return spread(shares)


def difference(
    results: Results, target: str, other: str, scenario: str, kind: Figure
) -> Spread | None:
    """How far ``target``'s figure lies above ``other``'s in the same round."""
    others = {row.round: _value(kind, row, None) for row in _rows(results, other, scenario)}
    differences = []
    for row in _rows(results, target, scenario):
        mine, theirs = _value(kind, row, None), others.get(row.round)
        if mine is not None and theirs is not None:
            differences.append(mine - theirs)
    return spread(differences)


def error_count(results: Results, target: str, scenario: str) -> int:
    """Requests of all rounds that did not get the right reply."""
    return sum(sum(row.errors.values()) for row in _rows(results, target, scenario))


def memory_mib(results: Results, target: str) -> tuple[Spread | None, Spread | None]:
    """Idle and peak memory, MiB."""
    mine = [memory for memory in results.memory if memory.target == target]
    mib = _KIB * _KIB
    return spread(item.idle / mib for item in mine), spread(item.peak / mib for item in mine)


def memory_added_mib(
    results: Results, target: str, other: str
) -> tuple[Spread | None, Spread | None]:
    """Idle and peak memory above ``other``'s in the same round, MiB."""
    mib = _KIB * _KIB
    others = {item.round: item for item in results.memory if item.target == other}
    pairs = [
        (item, others[item.round])
        for item in results.memory
        if item.target == target and item.round in others
    ]
    idle = spread((mine.idle - theirs.idle) / mib for mine, theirs in pairs)
    return idle, spread((mine.peak - theirs.peak) / mib for mine, theirs in pairs)


def wait_ratio(results: Results, target: str) -> Spread | None:
    """How much of the wall time a server waited for its CPU, over all its rows.

    More than a few hundredths says that something else ran on that CPU, or that the server has
    several threads which wait for each other.
    """
    return spread(
        row.wait_seconds / row.wall_seconds for row in results.rows if row.target == target
    )


def _rows(results: Results, target: str, scenario: str) -> Iterable[Row]:
    return (row for row in results.rows if row.target == target and row.scenario == scenario)


def _value(kind: Figure, row: Row, direct: Row | None) -> float | None:
    if not row.completed:
        return None
    if kind in _ADDED:
        if direct is None or row.target == _DIRECT:
            return None
        mine, base = _PLAIN[_ADDED[kind]](row), _PLAIN[_ADDED[kind]](direct)
        return None if mine is None or base is None else mine - base
    if kind in _NOT_DIRECT and row.target == _DIRECT:
        return None
    return _PLAIN[kind](row)


_ADDED = {
    Figure.ADDED_P50: Figure.TOTAL_P50,
    Figure.ADDED_P99: Figure.TOTAL_P99,
    Figure.ADDED_TTFB_P50: Figure.TTFB_P50,
    Figure.ADDED_TTFB_P99: Figure.TTFB_P99,
}
_NOT_DIRECT = {
    Figure.CPU_US,
    Figure.CPU_S_PER_1000,
    Figure.CPU_US_PER_EVENT,
    Figure.RSS_KIB_PER_STREAM,
}
_PLAIN: dict[Figure, Callable[[Row], float | None]] = {
    Figure.CPU_US: lambda row: row.cpu_seconds / row.completed * 1e6,
    Figure.CPU_S_PER_1000: lambda row: row.cpu_seconds / row.completed * 1e3,
    Figure.CPU_US_PER_EVENT: lambda row: row.cpu_seconds / row.events * 1e6 if row.events else None,
    Figure.PER_SECOND: lambda row: row.completed / row.wall_seconds,
    Figure.EVENTS_PER_SECOND: lambda row: row.events / row.wall_seconds if row.events else None,
    Figure.TOTAL_P50: lambda row: row.total_ms.p50 if row.total_ms else None,
    Figure.TOTAL_P99: lambda row: row.total_ms.p99 if row.total_ms else None,
    Figure.TTFB_P50: lambda row: row.ttfb_ms.p50 if row.ttfb_ms else None,
    Figure.TTFB_P99: lambda row: row.ttfb_ms.p99 if row.ttfb_ms else None,
    Figure.BESIDE_TTFB_P50: lambda row: row.beside_ttfb_ms.p50 if row.beside_ttfb_ms else None,
    Figure.BESIDE_TTFB_P99: lambda row: row.beside_ttfb_ms.p99 if row.beside_ttfb_ms else None,
    Figure.RSS_KIB_PER_STREAM: lambda row: (row.rss_peak - row.rss_before) / _KIB / row.requests,
}
