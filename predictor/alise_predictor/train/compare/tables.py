"""Tables of a comparison: names and numbers as cells, in the order in which they are shown."""

from collections.abc import Sequence

from alise_predictor.evaluation.metrics import Figures
from alise_predictor.train.compare.adaptation import AdaptationResult
from alise_predictor.train.compare.ceilings import Ceiling
from alise_predictor.train.compare.results import (
    CandidateResult,
    HeldOut,
    LatencyResult,
    RegimeResult,
)

Rows = list[list[str]]

_UNKNOWN = "-"
_KILO, _MEGA = 1e3, 1e6

# heading, field of Figures, digits after the point
_COLUMNS: tuple[tuple[str, str, int], ...] = (
    ("tau-b", "tau_b", 3),
    ("rho", "spearman", 3),
    ("pairs", "pairwise_accuracy", 3),
    ("pairs 2x", "pairwise_accuracy_2x", 3),
    ("MAE", "mae", 1),
    ("within 50", "within_50", 3),
    ("within 100", "within_100", 3),
    ("pinball", "pinball", 4),
    ("<= p50", "coverage_p50", 3),
    ("<= p90", "coverage_p90", 3),
    ("p10-p90", "cov80", 3),
)


def markdown(rows: Rows, *, left: int = 1) -> str:
    """An aligned Markdown table.

    Args:
        rows: Cells, the heading first; every row has the same number.
        left: Columns aligned left; the others are numbers.
    """
    widths = [max(3, *(len(row[column]) for row in rows)) for column in range(len(rows[0]))]
    rule = ["-" * width if column < left else "-" * (width - 1) + ":"
            for column, width in enumerate(widths)]  # fmt: skip
    lines = []
    for row in (rows[0], rule, *rows[1:]):
        cells = [
            cell.ljust(width) if column < left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main_table(regime: RegimeResult, part: str) -> Rows:
    """All figures of one part, macro-averaged, with the pooled tau and the difference."""
    heads = [head for head, _, _ in _COLUMNS]
    rows = [["candidate", *heads, "pooled tau", f"tau - {regime.reference or _UNKNOWN}"]]
    for candidate in regime.candidates:
        found = candidate.parts.get(part)
        if found is None:
            continue
        cells = [figure(found.macro, name, digits) for _, name, digits in _COLUMNS]
        rows.append([candidate.name, *cells, figure(found.pooled, "tau_b", 3),
                     _difference(candidate, part)])  # fmt: skip
    return rows


def source_table(candidates: Sequence[CandidateResult], part: str) -> Rows:
    """Tau of each data set, mean over models, and their mean."""
    shown = [candidate for candidate in candidates if part in candidate.parts]
    sources = list(dict.fromkeys(name for one in shown for name in one.parts[part].by_source))
    rows = [["candidate", *sources, "macro"]]
    for one in shown:
        found = one.parts[part]
        cells = [figure(found.by_source.get(source), "tau_b", 3) for source in sources]
        rows.append([one.name, *cells, figure(found.macro, "tau_b", 3)])
    return rows


def cost_table(candidates: Sequence[CandidateResult]) -> Rows:
    """Size, time of one prediction, and time to fit."""
    rows = [["candidate", "files", "one prediction, us", "fit, s", "further"]]
    for one in candidates:
        notes = "; ".join(f"{name}: {value:.3f}" for name, value in one.notes.items())
        time = _UNKNOWN if one.one_us is None else number(one.one_us)
        rows.append([one.name, size(one.size_bytes), time, number(one.fit_seconds), notes])
    return rows


def test_table(regime: RegimeResult, parts: Sequence[str]) -> Rows:
    """What trains and what is scored."""
    rows = [["data set", "training prompts", "part", "scored prompts", "models", "rows"]]
    scored = {source: (part, counts) for part in parts
              for source, counts in regime.tests.get(part, {}).items()}  # fmt: skip
    for source in dict.fromkeys((*regime.train_prompts, *scored)):
        part, counts = scored.get(source, (_UNKNOWN, None))
        cells = [f"{count:,}" for count in counts] if counts else [_UNKNOWN] * 3
        rows.append([source, f"{regime.train_prompts.get(source, 0):,}", part, *cells])
    return rows


def ceiling_table(ceilings: Sequence[Ceiling]) -> Rows:
    """Tau between answers."""
    rows = [["compared", "data set", "comparisons", "tau-b", "p10", "p90"]]
    for one in ceilings:
        spread = [f"{value:.3f}" if one.comparisons > 1 else _UNKNOWN
                  for value in (one.low, one.high)]  # fmt: skip
        rows.append([one.kind, one.source, f"{one.comparisons:,}", f"{one.tau:.3f}", *spread])
    return rows


def latency_table(latency: Sequence[LatencyResult]) -> Rows:
    """Times of graphs."""
    rows = [["graph", "timed", "batch", "prompt tokens", "it reads", "CPU us", "wall us"]]
    rows += [
        [one.graph, one.what, str(one.batch), f"{one.prompt_tokens:,}", f"{one.pieces:,}",
         number(one.cpu_us), number(one.wall_us)]
        for one in latency
    ]  # fmt: skip
    return rows


def held_out_table(found: Sequence[HeldOut]) -> Rows:
    """Tier 0 with and without."""
    rows = [["left out", "which", "tau-b without", "tau-b with", "pairs 2x without",
             "pairs 2x with", "rows"]]  # fmt: skip
    for one in found:
        cells = [figure(each, name, 3) for name in ("tau_b", "pairwise_accuracy_2x")
                 for each in (one.without, one.with_it)]  # fmt: skip
        rows.append([one.kind, one.name, *cells, f"{one.without.n:,}"])
    return rows


def adaptation_table(found: Sequence[AdaptationResult]) -> Rows:
    """Before and after learning in place, by the number of answers learned."""
    rows = [
        ["tier", "answers before", "streams", "tau-b", "learned", "gain", "MAE", "learned",
         "running median's", "p10-p90", "learned", "<= p90 learned"]
    ]  # fmt: skip
    for one in found:
        for span in one.spans:
            old, new = span.static, span.learned
            gain = (new.tau_b or 0.0) - (old.tau_b or 0.0)
            rows.append(
                [one.tier, f"{span.first:,}-{span.last:,}", str(span.streams),
                 figure(old, "tau_b", 3), figure(new, "tau_b", 3), f"{gain:+.3f}",
                 figure(old, "mae", 1), figure(new, "mae", 1), f"{span.mae_of_median:.1f}",
                 figure(old, "cov80", 3), figure(new, "cov80", 3),
                 figure(new, "coverage_p90", 3)]
            )  # fmt: skip
    return rows


def adaptation_sources(one: AdaptationResult) -> Rows:
    """Tau-b of each data set, static to learned, in every span."""
    names = list(dict.fromkeys(name for span in one.spans for name in span.by_source))
    rows = [["data set", *(f"{span.first:,}-{span.last:,}" for span in one.spans)]]
    for name in names:
        cells = []
        for span in one.spans:
            pair = span.by_source.get(name)
            cells.append(
                _UNKNOWN
                if pair is None
                else f"{figure(pair[0], 'tau_b', 3)} to {figure(pair[1], 'tau_b', 3)}"
            )
        rows.append([name, *cells])
    return rows


def figure(figures: Figures | None, name: str, digits: int) -> str:
    """One figure, or a dash."""
    value = None if figures is None else getattr(figures, name)
    return _UNKNOWN if value is None else f"{value:,.{digits}f}"


def number(value: float) -> str:
    """Three significant digits, or all before the point."""
    if value >= 100:  # noqa: PLR2004  three digits
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"  # noqa: PLR2004  three digits


def size(count: int) -> str:
    """Bytes for people."""
    if count >= _MEGA:
        return f"{count / _MEGA:.1f} MB"
    return f"{count / _KILO:.0f} kB" if count >= _KILO else f"{count} B"


def _difference(candidate: CandidateResult, part: str) -> str:
    found = candidate.parts[part].difference
    if found is None:
        return _UNKNOWN
    return f"{found.mean:+.3f} [{found.low:+.3f}, {found.high:+.3f}]"
