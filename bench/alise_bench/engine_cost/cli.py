"""``alise bench engine-order``: time the order's part of a step, print tables or JSON."""

import argparse
import os
import sys
import time
from collections.abc import Sequence
from statistics import median

import msgspec
from rich.console import Console

from alise_bench.compare.tables import Table
from alise_bench.engine_cost.measure import Kind, Row, measure
from alise_bench.engine_cost.scene import Shape
from alise_bench.overhead.conditions import read_conditions
from alise_bench.overhead.console import show_tables
from alise_bench.overhead.results import encode
from alise_core.errors import ConfigError
from alise_vllm.ordering.policies import PolicyName

LIMIT_US = 200.0
"""What a step may cost on average with ``LIMIT_WAITING`` requests waiting: one hundredth of a step
of 20 ms."""
LIMIT_WAITING = 1_000
SIZES = (10, 100, 1_000, 5_000)
_RUNNING = 256
_REPEATS, _STEPS = 3, 2_000


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


def main(arguments: list[str]) -> int:
    """Run ``alise bench engine-order``.

    Returns: 0 when everything was measured; a goal that is missed is told, not failed.

    Raises:
        ConfigError: A flag is wrong.
    """
    options = _parser().parse_args(arguments)
    if min(options.repeats, options.steps, options.running, *options.waiting) < 1:
        raise ConfigError(
            "--repeats, --steps, --running and --waiting must be at least 1; see --help"
        )
    results = _measure(options)
    if options.json:
        sys.stdout.write(encode(results).decode())
    else:
        show_tables(Console(), [table(results)])
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="alise bench engine-order",
        description="Measure what the engine plugin's order costs a step of the engine, with "
        "every slot taken and requests waiting.",
    )
    add = parser.add_argument
    add("--json", action="store_true", help="print one JSON object and nothing else")
    add("--repeats", type=int, default=_REPEATS, help=f"default {_REPEATS}")
    add("--steps", type=int, default=_STEPS, help=f"per repeat ({_STEPS})")
    add("--running", type=int, default=_RUNNING, help=f"slots ({_RUNNING})")
    add("--waiting", type=int, nargs="+", default=SIZES, help="how many wait (10 100 1000 5000)")
    return parser


def shapes(sizes: Sequence[int], running: int) -> list[Shape]:
    """Every size with the default policy; with memory short, and with the others, the limit's."""
    default = PolicyName.SRPT
    others = [Shape(name, LIMIT_WAITING, running, False) for name in PolicyName if name != default]
    return [
        *(Shape(default, size, running, False) for size in sizes),
        Shape(default, LIMIT_WAITING, running, True),
        *others,
    ]


def _measure(options: argparse.Namespace) -> Results:
    machine = read_conditions(None, 0, repeats=options.repeats, seed=0, quick=False)
    rows: list[Row] = []
    for repeat in range(1, options.repeats + 1):
        for shape in shapes(options.waiting, options.running):
            rows += measure(shape, options.steps, repeat, time.thread_time_ns)
            sys.stderr.write(f"measured: {shape}, repeat {repeat}\n")
    conditions = Conditions(
        started=machine.started,
        cpu_model=machine.cpu_model,
        cpus=machine.cpus,
        python=machine.python,
        load_average=[machine.load_average_before, os.getloadavg()[0]],
        repeats=options.repeats,
        steps=options.steps,
    )
    return Results(conditions, rows)


def table(results: Results) -> Table:
    """Medians over repeats, one line a shape, with what sorting anew would have cost."""
    rows = []
    for place in dict.fromkeys(_place(row) for row in results.rows):
        here = [row for row in results.rows if _place(row) == place]
        mean, p99 = _median(here, Kind.STEP, "mean_us"), _median(here, Kind.STEP, "p99_us")
        sort = _median(here, Kind.SORT, "mean_us")
        policy, waiting, running, tight = place
        name = f"{policy}{', memory short' if tight else ''}"
        arrive = _median(here, Kind.ARRIVE, "p99_us")
        figures = [mean, p99, arrive, _median(here, Kind.ABORT, "p99_us"), sort]
        rows.append([name, f"{waiting:,}", f"{running:,}", *(f"{value:.1f}" for value in figures)])
    columns = [
        "policy",
        "waiting",
        "running",
        "step mean",
        "step p99",
        "arrive p99",
        "abort p99",
        "sorting anew",
    ]
    goal = f"goal: a step's mean <= {LIMIT_US:g} us with {LIMIT_WAITING:,} waiting"
    return Table(f"CPU time, microseconds; {goal}", columns, rows)


def _place(row: Row) -> tuple[str, int, int, bool]:
    return row.policy, row.waiting, row.running, row.tight


def _median(rows: Sequence[Row], kind: Kind, field: str) -> float:
    return float(median(getattr(row, field) for row in rows if row.kind is kind))
