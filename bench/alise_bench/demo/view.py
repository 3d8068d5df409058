"""The demo's outcome as tables for the terminal."""

from rich.table import Table

from alise_bench.demo.lengths import LengthOutcome
from alise_bench.demo.outcome import DemoOutcome
from alise_bench.load.distribution import Summary


def outcome_table(fcfs: DemoOutcome, ours: DemoOutcome, ordering: str) -> Table:
    """The same trace twice, side by side.

    Args:
        fcfs: Of the gateway that serves who came first.
        ours: Of the gateway as it ships.
        ordering: Which that is.
    """
    table = Table(title="the same requests at the same times", title_justify="left")
    table.add_column("latency in ms")
    for heading in ("fcfs", f"default ({ordering})", "ratio"):
        table.add_column(heading, justify="right")
    for name, one, other in (
        ("TTFT  time to first token", fcfs.ttft_ms, ours.ttft_ms),
        ("TTFT  of the shorter half", fcfs.short_ttft_ms, ours.short_ttft_ms),
        ("TTLT  time to last token", fcfs.ttlt_ms, ours.ttlt_ms),
        ("TTLT  of the longest tenth", fcfs.long_ttlt_ms, ours.long_ttlt_ms),
        ("TPOT  time per output token", fcfs.tpot_ms, ours.tpot_ms),
    ):
        for figure in ("mean", "p50", "p95"):
            table.add_row(f"{name}, {figure}", *_pair(one, other, figure))
    table.add_section()
    for label, values in _totals(fcfs, ours):
        table.add_row(label, *values, "")
    return table


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


def _totals(fcfs: DemoOutcome, ours: DemoOutcome) -> list[tuple[str, tuple[str, str]]]:
    both = (fcfs, ours)
    endings = dict.fromkeys([*fcfs.outcomes, *ours.outcomes])
    rows = [("requests", [f"{one.requests:,}" for one in both])]
    rows += [
        (f"outcome: {name}", [f"{one.outcomes.get(name, 0):,}" for one in both]) for name in endings
    ]
    rows += [
        ("answers of another length than recorded", [f"{one.wrong_lengths:,}" for one in both]),
        ("output tokens/s", [f"{one.tokens_per_second:,.0f}" for one in both]),
        ("seconds", [f"{one.wall_seconds:.1f}" for one in both]),
        (
            "most requests waiting in the gateway",
            ["-" if one.most_waiting is None else f"{one.most_waiting:,}" for one in both],
        ),
    ]
    return [(label, (values[0], values[1])) for label, values in rows]


def _pair(one: Summary | None, other: Summary | None, figure: str) -> tuple[str, str, str]:
    if one is None or other is None:
        return ("-", "-", "-")
    first, second = float(getattr(one, figure)), float(getattr(other, figure))
    ratio = f"{second / first:.2f}" if first > 0 else "-"
    return (_milliseconds(first), _milliseconds(second), ratio)


def _milliseconds(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"  # noqa: PLR2004
