"""What the order's part of a step costs, as a table and as a document. Pure."""

from collections.abc import Sequence

import msgspec

from alise_bench.compare.tables import Table, shown
from alise_bench.engine_cost.measure import Kind, Row
from alise_bench.load.distribution import Spread, spread
from alise_bench.overhead.report import table as markdown

DOCUMENT = "engine-order"
LIMIT_US = 200.0
"""What a step may cost with ``LIMIT_WAITING`` requests waiting: a hundredth of a step of 20 ms."""
LIMIT_WAITING = 1_000


class Conditions(msgspec.Struct, frozen=True):
    """What the figures hold for; load averages before and after."""

    started: str
    cpu_model: str
    cpus: int
    python: str
    load_average: list[float]
    repeats: int
    steps: int


class Results(msgspec.Struct, frozen=True):
    """Everything of one measurement."""

    conditions: Conditions
    rows: list[Row]


def table(results: Results) -> Table:
    """Medians over repeats, one line a shape, with what sorting anew would have cost."""
    columns = ["policy", "waiting", "running", *_FIGURES]
    rows = []
    for place, here in _by_place(results.rows):
        values = [_over_repeats(here, kind, field) for kind, field in _FIGURES.values()]
        cells = ["-" if value is None else f"{value.median:.1f}" for value in values]
        rows.append([*_place_text(place), *cells])
    goal = f"goal: a step <= {LIMIT_US:g} us with {LIMIT_WAITING:,} waiting"
    return Table(f"CPU time, microseconds; {goal}", columns, rows)


def render(results: Results) -> str:
    """Markdown of the whole document."""
    conditions = results.conditions
    rows = [
        [*_place_text(place), *(shown(_over_repeats(here, *pick)) for pick in _FIGURES.values())]
        for place, here in _by_place(results.rows)
    ]
    facts = [
        ["started", conditions.started],
        ["CPU", f"{conditions.cpu_model}, {conditions.cpus} visible"],
        ["Python", conditions.python],
        [
            "load average before / after",
            " / ".join(f"{each:.2f}" for each in conditions.load_average),
        ],
        ["repeats, steps in each", f"{conditions.repeats}, {conditions.steps:,}"],
    ]
    parts = [
        "# What the plugin's order costs a step",
        f"Measured by `alise bench engine-order` on {conditions.started[:10]}: the plugin's own "
        "part of scheduling a step of the engine, in microseconds of CPU time, with every slot "
        "taken. Medians over repeats [lowest - highest].",
        *_goals(results),
        markdown(["policy", "waiting", "running", *_FIGURES], rows),
        "A step looks at a part of the running requests, in turn, and keeps the worst on top of a "
        "heap; those that wait are a heap too. *Sorting anew* scores and sorts everybody who "
        "waits, as no step here does. *Memory short*: every step says in addition who goes first "
        "when memory runs out. vLLM's own loop is not part of it.",
        "## Conditions",
        markdown(["", "value"], facts).replace("--:", "---"),
        "Every figure of every repeat: the JSON file beside this document.",
    ]
    return "\n\n".join(parts) + "\n"


_FIGURES: dict[str, tuple[Kind, str]] = {
    "step mean": (Kind.STEP, "mean_us"),
    "step p99": (Kind.STEP, "p99_us"),
    "arrive p99": (Kind.ARRIVE, "p99_us"),
    "abort p99": (Kind.ABORT, "p99_us"),
    "sorting anew": (Kind.SORT, "mean_us"),
}
"""By heading: of which kind, which figure."""

_Place = tuple[str, int, int, bool]


def _goals(results: Results) -> list[str]:
    lines = []
    for place, here in _by_place(results.rows):
        if place[1] != LIMIT_WAITING:
            continue
        found = [_over_repeats(here, Kind.STEP, field) for field in ("mean_us", "p99_us")]
        kept = ["pass" if each and each.median <= LIMIT_US else "fail" for each in found]
        lines.append([_place_text(place)[0], *kept])
    goal = f"Goal: at most {LIMIT_US:g} us with {LIMIT_WAITING:,} requests waiting."
    return [goal, markdown(["policy", "mean", "p99"], lines)] if lines else []


def _by_place(rows: Sequence[Row]) -> list[tuple[_Place, list[Row]]]:
    return [
        (place, [row for row in rows if _place(row) == place])
        for place in dict.fromkeys(_place(row) for row in rows)
    ]


def _place(row: Row) -> _Place:
    return row.policy, row.waiting, row.running, row.tight


def _place_text(place: _Place) -> list[str]:
    policy, waiting, running, tight = place
    return [f"{policy}{', memory short' if tight else ''}", f"{waiting:,}", f"{running:,}"]


def _over_repeats(rows: Sequence[Row], kind: Kind, field: str) -> Spread | None:
    return spread(float(getattr(row, field)) for row in rows if row.kind is kind)
