"""What predictions cost, as tables for the terminal and as a document. Pure."""

from alise_bench.load.distribution import Spread
from alise_bench.overhead.goals import Verdict
from alise_bench.overhead.report import table
from alise_bench.overhead.tables import Table, number, shown
from alise_bench.predictor.goals import figure, judge
from alise_bench.predictor.results import BundleFacts, Call, ClockKind, Conditions, Results

_BUSY = 0.05
"""A process that waits for its CPU more than this share of the time is not alone on it."""
_COLUMNS = (
    ("p50 us", ClockKind.WALL, "p50_us"),
    ("p99 us", ClockKind.WALL, "p99_us"),
    ("CPU p50 us", ClockKind.CPU, "p50_us"),
    ("CPU p99 us", ClockKind.CPU, "p99_us"),
    ("per CPU second", ClockKind.CPU, "per_second"),
)
_MEGABYTE = 1e6


def goals_table(results: Results) -> Table:
    """Each goal with its limit, what was measured, and the verdict."""
    rows = [
        [item.text, item.bound, shown(item.measured), item.verdict.value] for item in judge(results)
    ]
    return Table("goals", "Goals", ["goal", "limit", "measured", "verdict"], rows)


def calls_table(results: Results, *, ranges: bool = True) -> Table:
    """Times of every kind of call, by both clocks.

    Args:
        results: What was measured.
        ranges: Show the lowest and the highest round beside the median.
    """
    kinds = dict.fromkeys((row.call, row.subject) for row in results.rows)
    order = list(Call)
    rows = []
    for call, subject in sorted(kinds, key=lambda kind: order.index(kind[0])):
        values = [figure(results, call, subject, clock, field) for _, clock, field in _COLUMNS]
        cells = [shown(value if ranges else _median(value)) for value in values]
        rows.append([f"{call}, {subject}", *cells])
    return Table("calls", "Calls", ["call", *(name for name, _, _ in _COLUMNS)], rows)


def memory_table(results: Results) -> Table:
    """Memory that each part adds."""
    memory = results.memory
    rows = [
        ["NumPy, ONNX Runtime and tier 0", _megabytes(memory.tier0)],
        ["tier 1 on top", _megabytes(memory.tier1)],
    ]
    return Table("memory", "Memory", ["part", "RSS added, MB"], rows)


def tables(results: Results) -> list[Table]:
    """All of them, for the terminal."""
    return [calls_table(results, ranges=False), memory_table(results), goals_table(results)]


def caution(results: Results) -> str:
    """What to know before reading the figures; empty on a quiet machine."""
    share = results.conditions.wait_share
    if share <= _BUSY:
        return ""
    return (
        f"The machine was not quiet: the process waited for its CPU {share:.0%} of the time. "
        "CPU times hold; times by the wall clock are other work's as much as the predictor's."
    )


def render(results: Results) -> str:
    """Markdown of the whole document."""
    conditions = results.conditions
    parts = [
        "# What a prediction costs",
        f"Measured by `alise bench predictor` on {conditions.started[:10]}: {conditions.rounds} "
        "rounds, medians [lowest - highest round] of each round's percentiles. One thread on one "
        "CPU.",
        f"**{caution(results)}**" if caution(results) else "",
        "## Goals",
        _goals(results),
        "## Calls",
        _CALLS,
        _markdown(calls_table(results)),
        "## Memory",
        _markdown(memory_table(results)),
        "## Bundle and conditions",
        _facts(results.bundle, conditions),
        _METHOD,
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


_CALLS = """Time by the wall clock, and CPU time of the calling thread. Tier 0 includes the
features; tier 1 is refining alone, tokenizing included; `correct` and `observe` are the learner's,
for predictions of either tier, after 2,500 answers."""
_METHOD = """Method and how to reproduce: [benchmarks.md](../benchmarks.md). Every figure of every
round: the JSON file beside this document. What predicting adds to a request in the gateway:
[overhead.md](overhead.md)."""


def _goals(results: Results) -> str:
    judged = judge(results)
    passed = sum(item.verdict is Verdict.PASS for item in judged)
    summary = f"{passed} of {len(judged)} pass, judged by the median over rounds."
    return summary + "\n\n" + _markdown(goals_table(results))


def _facts(bundle: BundleFacts, conditions: Conditions) -> str:
    libraries = ", ".join(f"{name} {value}" for name, value in conditions.libraries.items())
    files = ", ".join(f"{name} {size / _MEGABYTE:.2f} MB" for name, size in bundle.files.items())
    pieces = "none" if bundle.tier1_pieces is None else f"at most {bundle.tier1_pieces} word pieces"
    before, after = conditions.load_average_before, conditions.load_average_after
    rows = [
        ["bundle", f"{bundle.name} {bundle.version}"],
        ["files", files],
        ["tier 1 reads", pieces],
        ["started", conditions.started],
        ["CPU", f"{conditions.cpu_model}, {conditions.cpus} visible, number {conditions.cpu} used"],
        ["kernel, Python", f"{conditions.kernel}, {conditions.python}"],
        ["libraries", libraries],
        ["load average before / after", f"{number(before)} / {number(after)}"],
        ["waiting for the CPU / wall", shown(_one(conditions.wait_share))],
        ["rounds, calls of tier 0 per row", f"{conditions.rounds}, {conditions.calls:,}"],
    ]
    return table(["", "value"], rows).replace("--:", "---")


def _markdown(shape: Table) -> str:
    return table(shape.columns, shape.rows)


def _median(value: Spread | None) -> Spread | None:
    return None if value is None else _one(value.median)


def _one(value: float) -> Spread:
    return Spread(value, value, value, 1)


def _megabytes(amount: int | None) -> str:
    return "-" if amount is None else number(amount / _MEGABYTE)
