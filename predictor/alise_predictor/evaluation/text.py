"""Figures as plain text that a person reads in a terminal."""

from collections.abc import Sequence

from alise_predictor.evaluation.metrics import Figures
from alise_predictor.evaluation.replay import Replayed
from alise_predictor.evaluation.summary import Block, blocks, whole

_UNKNOWN = "-"

# label, field of Figures, digits after the point
_ROWS: tuple[tuple[str, str, int], ...] = (
    ("order     Kendall's tau-b", "tau_b", 3),
    ("          Spearman's rho", "spearman", 3),
    ("          pairs in order", "pairwise_accuracy", 3),
    ("          pairs in order, lengths 2x apart", "pairwise_accuracy_2x", 3),
    ("error     mean absolute error, tokens", "mae", 1),
    ("          share within 50 tokens", "within_50", 3),
    ("          share within 100 tokens", "within_100", 3),
    ("          pinball loss, log tokens", "pinball", 3),
    ("honesty   at or below p50 (should be 0.50)", "coverage_p50", 3),
    ("          at or below p90 (should be 0.90)", "coverage_p90", 3),
    ("          within p10 to p90 (should be 0.80)", "cov80", 3),
)
_BLOCK_COLUMNS: tuple[tuple[str, str, int], ...] = (
    ("tau-b", "tau_b", 3),
    ("MAE, tokens", "mae", 1),
    ("within p10-p90", "cov80", 3),
)


def table(rows: Sequence[Sequence[str]], *, left: int = 1) -> str:
    """Aligned columns, two blanks between them.

    Args:
        rows: Cells; every row has the same number.
        left: Columns aligned left; the others are numbers and aligned right.
    """
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [
            cell.ljust(width) if column < left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def evaluation(replayed: Replayed, title: str) -> str:
    """The whole replay; with learning beside the static model, and block by block.

    Args:
        replayed: What came of it.
        title: What was evaluated.
    """
    everything = whole(replayed)
    learning = replayed.learned is not None
    rows = [["", "static", "learning", "change"] if learning else ["", "static"]]
    rows += [[label, *_cells(everything, name, digits, learning)] for label, name, digits in _ROWS]
    latency = everything.latency
    parts = [
        title,
        "",
        table(rows),
        "",
        f"latency of one prediction: p50 {_number(latency.p50, 0)} us, "
        f"p99 {_number(latency.p99, 0)} us",
    ]
    if replayed.failed:
        parts.append(f"{replayed.failed:,} predictions failed; the fallback stands in their place")
    found = blocks(replayed) if learning else []
    if found:
        parts += ["", "by requests in file order (change from the static model)", "", _curve(found)]
    return "\n".join(parts)


def _cells(block: Block, name: str, digits: int, learning: bool) -> list[str]:
    static = [_figure(block.static, name, digits)]
    return [*static, *_learned(block, name, digits)] if learning else static


def _learned(block: Block, name: str, digits: int) -> list[str]:
    before, after = getattr(block.static, name), getattr(block.served, name)
    if before is None or after is None:
        return [_figure(block.served, name, digits), _UNKNOWN]
    return [_figure(block.served, name, digits), f"{after - before:+,.{digits}f}"]


def _curve(found: Sequence[Block]) -> str:
    head = ["requests"]
    for label, _, _ in _BLOCK_COLUMNS:
        head += [f"  {label}", "change"]
    rows = [head]
    for block in found:
        row = [f"{block.first:,}-{block.last:,}"]
        for _, name, digits in _BLOCK_COLUMNS:
            row += _learned(block, name, digits)
        rows.append(row)
    return table(rows)


def _figure(figures: Figures, name: str, digits: int) -> str:
    return _number(getattr(figures, name), digits)


def _number(value: float | None, digits: int) -> str:
    return _UNKNOWN if value is None else f"{value:,.{digits}f}"
