"""What replicas do together, as tables for the terminal and as a document. Pure."""

from collections.abc import Callable, Sequence
from statistics import median

from alise_bench.overhead.report import table
from alise_bench.overhead.tables import Table, number
from alise_bench.replicas.results import (
    MOST_IDLE_SECONDS,
    MOST_LATE_SECONDS,
    MOST_OVER,
    Results,
    Row,
    groups,
    over,
)

_METHOD = """\
Several gateways in front of the same two engines, which are offered about what they can do. In
virtual time queue, placement, admission and claims are the gateway's own code and each replica
reads the engines' figures at moments of its own; lengths are known, so that no
prediction is to blame for what engines are given too much of. In real time whole gateways run
on loopback sockets in front of simulated engines, all in one event loop of a shared machine. A
replica that is killed takes what it had with it; its load goes to the others at once, which
learn of it 2 s later.

*In flight* is the most that all gateways together had at one engine at any moment, as part of
what is allowed; *booked* the same of the KV memory that they expect to need, as part of the
capacity: above one also with a single gateway, because what is in flight goes on faster or
slower than was expected. *Idle* is the longest time for which an engine had nothing to do while
a request waited at some gateway, *spare* the longest for which it had more than 15 % of both
its requests and its memory to spare meanwhile."""


_UNSOUND = f"""**Other work kept the machine from running the gateways of real time: where *loop
late* exceeds {MOST_LATE_SECONDS:g} s, their figures are that work's and not judged.**"""


def tables(results: Results) -> list[Table]:
    """One for each place, and the goals."""
    places = dict.fromkeys(row.place for row in results.rows)
    found = [_place(results, place) for place in places]
    return [*found, goals_table(results)]


def goals_table(results: Results) -> Table:
    """What was to be shown, by the worst of all runs with several gateways."""
    several = [row for row in results.rows if row.case != "one gateway" and row.is_sound]
    most = max((over(results, row) for row in several), default=0.0)
    idle = max((row.idle_seconds for row in several), default=0.0)
    verdicts = [most <= MOST_OVER, idle <= MOST_IDLE_SECONDS]
    rows = [
        ["most that an engine was given too much", f"<= {MOST_OVER:.0%}", f"{most:.1%}"],
        ["longest idle while a request waited, s", f"<= {MOST_IDLE_SECONDS:g}", number(idle)],
    ]
    for row, passed in zip(rows, verdicts, strict=True):
        row.append("pass" if passed else "fail")
    return Table("goals", "Goals", ["goal", "limit", "measured", "verdict"], rows)


def passed(results: Results) -> bool:
    """Every goal is reached."""
    return all(row[-1] == "pass" for row in goals_table(results).rows)


def render(results: Results) -> str:
    """Markdown of the whole document."""
    conditions = results.conditions
    before, after = conditions.load_average
    facts = [
        ["started", conditions.started],
        ["CPU", f"{conditions.cpu_model}, {conditions.cpus} visible"],
        ["Python", conditions.python],
        ["load average before / after", f"{number(before)} / {number(after)}"],
        ["runs in virtual time", f"{conditions.seeds} of {conditions.seconds:g} s each"],
        ["looks at the engines' figures in virtual time", f"every {conditions.look_seconds:g} s"],
        ["runs in real time", f"{conditions.real_seconds:g} s each"],
    ]
    parts = [
        "# Several gateways, the same engines",
        f"Measured by `alise bench replicas` on {conditions.started[:10]}; medians over runs, and "
        "the worst of them for in flight, booked, idle and spare. The rule that is measured: "
        "[design note 0012](../design/0012-gateway-replicas.md).",
    ]
    if not all(row.is_sound for row in results.rows):
        parts.append(_UNSOUND)
    for shape in [goals_table(results), *tables(results)[:-1]]:
        parts += [f"## {shape.title}", table(shape.columns, shape.rows)]
    parts += ["## Method", _METHOD]
    parts += ["## Conditions", table(["", "value"], facts).replace("--:", "---")]
    return "\n\n".join(parts) + "\n"


def _preemptions(rows: Sequence[Row]) -> str:
    known = [row.preemptions for row in rows if row.preemptions is not None]
    return f"{median(known):g}" if known else "-"


_COLUMNS: tuple[tuple[str, Callable[[Sequence[Row]], str]], ...] = (
    ("requests", lambda rows: f"{median(row.requests for row in rows):,.0f}"),
    ("lost", lambda rows: f"{max(row.lost for row in rows)}"),
    ("in flight", lambda rows: f"{max(row.in_flight for row in rows):.1%}"),
    ("booked", lambda rows: f"{max(row.booked for row in rows):.1%}"),
    ("idle, s", lambda rows: number(max(row.idle_seconds for row in rows))),
    ("spare, s", lambda rows: number(max(row.spare_seconds for row in rows))),
    ("TTFT mean, s", lambda rows: number(median(row.ttft_mean_seconds for row in rows))),
    ("TTFT p99, s", lambda rows: number(median(row.ttft_p99_seconds for row in rows))),
    ("preemptions", _preemptions),
    ("loop late, s", lambda rows: number(max(row.late_seconds for row in rows))),
)


def _place(results: Results, place: str) -> Table:
    lines = [
        [rows[0].case, *(show(rows) for _, show in _COLUMNS)]
        for rows in groups([row for row in results.rows if row.place == place])
    ]
    columns = ["gateways", *(name for name, _ in _COLUMNS)]
    return Table(place, place[:1].upper() + place[1:], columns, lines)
