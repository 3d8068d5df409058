"""What decisions cost, as tables for the terminal and as a document. Pure."""

from collections.abc import Sequence

from alise_bench.load.distribution import Spread
from alise_bench.overhead.goals import Verdict
from alise_bench.overhead.report import table
from alise_bench.overhead.tables import Table, number, shown
from alise_bench.queue_cost.measure import Kind
from alise_bench.queue_cost.results import Results, Row, figure, judge, places
from alise_bench.queue_cost.scene import KV_TOKENS, MAX_IN_FLIGHT

_METHOD = f"""The gateway's own decision code, in virtual time; CPU time of the thread around each
event, the garbage collector set as in the gateway. Backends are full: each holds {KV_TOKENS:,} KV
tokens, which run out before the {MAX_IN_FLIGHT} requests do that it may have in flight. Prompts
have 20 to 1,000 tokens, predictions a median of 20 to 800; of a hundred requests 10 are priority,
5 scale, 60 default, 15 flex, 10 batch. Requests come, are predicted anew, are cancelled and finish
so that as many wait all the time. A tick, a few times a second, looks at one backend and at those
that are idle; every other event at the backend that it concerns. The end of an answer dispatches
whatever fits then: nobody, one request or several."""
_COUNTED = """Every dispatch is compared with a count of its own of who waits. Trickles are off and
every request fits everywhere, so that nothing excuses a dispatch before a better class."""


def goals_table(results: Results) -> Table:
    """Each goal with its bound, what was measured where it is dearest, and the verdict."""
    rows = [
        [item.text, item.bound, shown(item.measured), item.verdict.value] for item in judge(results)
    ]
    return Table("goals", "Goals", ["goal", "limit", "measured", "verdict"], rows)


def cost_tables(results: Results) -> list[Table]:
    """For each length of the queue: p50 / p99 of each kind of event, and the longest of all."""
    found = []
    for waiting in sorted({row.waiting for row in results.rows}):
        rows = [row for row in results.rows if row.waiting == waiting]
        columns = ["ordering, tenants, backends", *(f"{kind} p50 / p99" for kind in Kind), "worst"]
        title = f"CPU microseconds per event, {waiting:,} waiting"
        found.append(Table(f"w{waiting}", title, columns, [_line(it) for it in places(rows)]))
    return found


def counted_table(results: Results) -> Table:
    """Dispatches out of turn, by ordering."""
    classes = list(dict.fromkeys(name for item in results.counted for name in item.by_class))
    rows = [
        [
            item.ordering,
            f"{item.dispatches:,}",
            str(item.inversions),
            *(f"{item.by_class.get(name, 0):,}" for name in classes),
        ]
        for item in results.counted
    ]
    return Table("counted", "Order of classes", ["", "dispatches", "out of turn", *classes], rows)


def tables(results: Results) -> list[Table]:
    """All of them, for the terminal."""
    return [*cost_tables(results), counted_table(results), goals_table(results)]


def render(results: Results) -> str:
    """Markdown of the whole document."""
    conditions = results.conditions
    passed = sum(item.verdict is Verdict.PASS for item in judge(results))
    before, after = conditions.load_average
    facts = [
        ["started", conditions.started],
        ["CPU", f"{conditions.cpu_model}, {conditions.cpus} visible"],
        ["kernel, Python", f"{conditions.kernel}, {conditions.python}"],
        ["load average before / after", f"{number(before)} / {number(after)}"],
        ["repeats, rounds", f"{conditions.repeats}, {conditions.rounds}"],
    ]
    parts = [
        "# What a decision costs",
        f"Measured by `alise bench queue` on {conditions.started[:10]}; medians over repeats.",
        "## Goals",
        f"{passed} of {len(judge(results))} pass, judged by the median over repeats, where an "
        "event is dearest, with up to 16 backends.",
        _markdown(goals_table(results)),
        "## Events",
        _METHOD,
    ]
    for shape in cost_tables(results):
        parts += [f"### {shape.title}", _markdown(shape)]
    parts += ["## Order of classes", _COUNTED, _markdown(counted_table(results))]
    parts += ["## Conditions", table(["", "value"], facts).replace("--:", "---")]
    return "\n\n".join(parts) + "\n"


def _line(rows: Sequence[Row]) -> list[str]:
    first = rows[0]
    cells = [f"{first.ordering}, {first.tenants:,}, {first.backends:,}"]
    for kind in Kind:
        middle, high = figure(rows, kind, "p50_us"), figure(rows, kind, "p99_us")
        cells.append(f"{_median(middle)} / {_median(high)}")
    return [*cells, number(max(row.worst_us for row in rows))]


def _median(value: Spread | None) -> str:
    return "-" if value is None else number(value.median)


def _markdown(shape: Table) -> str:
    return table(shape.columns, shape.rows)
