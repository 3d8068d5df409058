"""The demo's outcome as tables for the terminal."""

from rich.table import Table

from alise_bench.demo.lengths import LengthOutcome
from alise_bench.demo.outcome import DemoOutcome
from alise_bench.load.distribution import Summary


def outcome_tables(outcome: DemoOutcome) -> list[Table]:
    """Latencies, then totals."""
    latencies = Table(title="latency, ms", title_justify="left")
    latencies.add_column("")
    for heading in ("p50", "p90", "p99", "mean", "max"):
        latencies.add_column(heading, justify="right")
    for name, summary in (
        ("TTFT  time to first token", outcome.ttft_ms),
        ("TTLT  time to last token", outcome.ttlt_ms),
        ("TPOT  time per output token", outcome.tpot_ms),
    ):
        latencies.add_row(name, *_cells(summary))
    totals = Table(title="totals", title_justify="left", show_header=False)
    totals.add_column("")
    totals.add_column("", justify="right")
    for label, value in _totals(outcome):
        totals.add_row(label, value)
    return [latencies, totals]


def length_table(lengths: LengthOutcome) -> Table:
    """How well the gateway knew the lengths of the answers."""
    table = Table(title="predicted output tokens", title_justify="left", show_header=False)
    table.add_column("")
    table.add_column("", justify="right")
    table.add_row("answers predicted", f"{lengths.answers:,}")
    for name, count in lengths.sources.items():
        table.add_row(f"  by {name}", f"{count:,}")
    for row in (
        ("error of p50: median", f"{lengths.median_error:,.0f}"),
        ("error of p50: mean", f"{lengths.mean_error:,.0f}"),
        ("  of the best constant instead", f"{lengths.constant_error:,.0f}"),
        ("pairs in the right order (chance: 50 %)", _share(lengths.in_order)),
        ("between p10 and p90 (honest: 80 %)", _share(lengths.inside)),
    ):
        table.add_row(*row)
    return table


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.0%}".replace("%", " %")


def _totals(outcome: DemoOutcome) -> list[tuple[str, str]]:
    rows = [("requests", f"{outcome.requests:,}")]
    rows += [(f"outcome: {name}", f"{count:,}") for name, count in outcome.outcomes.items()]
    rows += [
        ("answers of another length than recorded", f"{outcome.wrong_lengths:,}"),
        ("output tokens", f"{outcome.output_tokens:,}"),
        ("output tokens/s", f"{outcome.tokens_per_second:,.0f}"),
        ("seconds", f"{outcome.wall_seconds:.1f}"),
    ]
    if outcome.most_waiting is not None:
        rows.append(("most requests waiting in the gateway", f"{outcome.most_waiting:,}"))
    return rows


def _cells(summary: Summary | None) -> list[str]:
    if summary is None:
        return ["-"] * 5
    values = (summary.p50, summary.p90, summary.p99, summary.mean, summary.maximum)
    return [f"{value:,.0f}" if value >= 100 else f"{value:.1f}" for value in values]  # noqa: PLR2004
