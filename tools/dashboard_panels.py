"""What Grafana dashboards are described with.

``dashboard_serving`` and ``dashboard_queue`` are them.

In expressions ``$GATEWAY`` stands for the chosen gateways, ``$MODEL`` for them and the chosen
models, ``$ENGINE`` for the engines of the chosen models. Names of metrics: docs/metrics.md, and for
engines ``alise_core/wire/engine_metrics.py``.
"""

from dataclasses import dataclass

Query = tuple[str, str]
"""Legend and expression."""


@dataclass(frozen=True)
class Panel:
    """One drawing.

    Attributes:
        title: What is seen.
        about: What it means, or what to do about it.
        unit: Grafana's name of it.
        queries: Lines.
        kind: ``timeseries`` or ``stat``.
        width: Of 24 columns.
        stacked: Lines add up to something.
        thresholds: Value and colour from there on, ascending.
    """

    title: str
    about: str
    unit: str
    queries: tuple[Query, ...]
    kind: str = "timeseries"
    width: int = 8
    stacked: bool = False
    thresholds: tuple[tuple[float, str], ...] = ()


@dataclass(frozen=True)
class Row:
    """Panels that belong together."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True)
class Dashboard:
    """One page."""

    name: str
    title: str
    about: str
    rows: tuple[Row, ...]


def quantiles(metric: str, selector: str) -> tuple[Query, ...]:
    """Median, 90th and 99th percentile of a histogram over all gateways."""
    return tuple(
        (
            f"p{share * 100:g}",
            f"histogram_quantile({share}, sum by (le) "
            f"(rate({metric}_bucket{{{selector}}}[$__rate_interval])))",
        )
        for share in (0.5, 0.9, 0.99)
    )


def rates(metric: str, selector: str, by: str) -> tuple[Query, ...]:
    """A counter's rate by one label."""
    return ((f"{{{{{by}}}}}", f"sum by ({by}) (rate({metric}{{{selector}}}[$__rate_interval]))"),)


def total(metric: str, selector: str, by: str) -> tuple[Query, ...]:
    """A gauge, added up by one label."""
    return ((f"{{{{{by}}}}}", f"sum by ({by}) ({metric}{{{selector}}})"),)


def worst(metric: str, selector: str, by: str) -> tuple[Query, ...]:
    """A gauge's highest value by one label."""
    return ((f"{{{{{by}}}}}", f"max by ({by}) ({metric}{{{selector}}})"),)
