"""Counters and histograms that cost a few hundred nanoseconds to feed.

They are written on the event loop only and hold no lock: an increment is an attribute addition,
an observation a bisection of the bucket bounds plus two additions. Prometheus' client library
takes a lock, looks labels up and scans buckets one by one for each (docs/design/0003 has the
figures), so it is used for the registry and the exposition and not for the storage.
"""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from typing import Final

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

_TOTAL: Final = "_total"


class CounterCell:
    """One counter series; ``value`` only grows, and its owner adds to it directly."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value: float = 0


class Counters(Collector):
    """All series of one counter.

    Args:
        name: With the ``_total`` suffix.
        documentation: HELP text.
        labels: Label names, in the order of ``cell``'s values.
    """

    def __init__(self, name: str, documentation: str, labels: Sequence[str] = ()) -> None:
        self.name = name
        self.labels = tuple(labels)
        self._documentation = documentation
        self._cells: dict[tuple[str, ...], CounterCell] = {}
        if not labels:
            self.cell()

    def cell(self, *values: str) -> CounterCell:
        """The series with these label values, made with value 0 where it is new."""
        cell = self._cells.get(values)
        if cell is None:
            if len(values) != len(self.labels):
                raise ValueError(f"{self.name} has labels {self.labels}, not {len(values)} values")
            cell = self._cells[values] = CounterCell()
        return cell

    def forget(self, first: str) -> None:
        """Drop every series whose first label is ``first``."""
        for values in [values for values in self._cells if values[0] == first]:
            del self._cells[values]

    def describe(self) -> Iterable[CounterMetricFamily]:
        """The family without samples, from which the registry learns the name."""
        return [self._family()]

    def collect(self) -> Iterable[CounterMetricFamily]:
        """Everything counted so far."""
        family = self._family()
        for values, cell in self._cells.items():
            family.add_metric(values, cell.value)
        return [family]

    def _family(self) -> CounterMetricFamily:
        name = self.name.removesuffix(_TOTAL)
        return CounterMetricFamily(name, self._documentation, labels=self.labels)


class HistogramCell:
    """One histogram series: a count per bucket, the last one for values beyond every bound."""

    __slots__ = ("_bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Count one value; a bound belongs to its bucket (``le``)."""
        self.counts[bisect_left(self._bounds, value)] += 1
        self.total += value


class Histograms(Collector):
    """All series of one histogram.

    Args:
        name: With its unit as suffix.
        documentation: HELP text.
        labels: Label names, in the order of ``cell``'s values.
        bounds: Upper bounds of the buckets, ascending, without infinity.
    """

    def __init__(
        self, name: str, documentation: str, labels: Sequence[str], bounds: Sequence[float]
    ) -> None:
        if list(bounds) != sorted(set(bounds)):
            raise ValueError(f"{name}: bucket bounds must ascend")
        self.name = name
        self.labels = tuple(labels)
        self._documentation = documentation
        self._bounds = tuple(bounds)
        self._shown_bounds = [*map(floatToGoString, self._bounds), "+Inf"]
        self._cells: dict[tuple[str, ...], HistogramCell] = {}

    def cell(self, *values: str) -> HistogramCell:
        """The series with these label values, made empty where it is new."""
        cell = self._cells.get(values)
        if cell is None:
            if len(values) != len(self.labels):
                raise ValueError(f"{self.name} has labels {self.labels}, not {len(values)} values")
            cell = self._cells[values] = HistogramCell(self._bounds)
        return cell

    def describe(self) -> Iterable[HistogramMetricFamily]:
        """The family without samples, from which the registry learns the name."""
        return [self._family()]

    def collect(self) -> Iterable[HistogramMetricFamily]:
        """Everything observed so far."""
        family = self._family()
        for values, cell in self._cells.items():
            seen = 0
            buckets = []
            for bound, count in zip(self._shown_bounds, cell.counts, strict=True):
                seen += count
                buckets.append((bound, float(seen)))
            family.add_metric(values, buckets, cell.total)
        return [family]

    def _family(self) -> HistogramMetricFamily:
        return HistogramMetricFamily(self.name, self._documentation, labels=self.labels)
