"""``alise bench queue``: time the queue's events, count priority inversions, write the document."""

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from alise_bench.overhead.conditions import read_conditions
from alise_bench.overhead.console import show_tables
from alise_bench.overhead.results import encode
from alise_bench.queue_cost.measure import count_inversions, measure
from alise_bench.queue_cost.report import render, tables
from alise_bench.queue_cost.results import (
    LIMIT_WAITING,
    Conditions,
    Counted,
    Results,
    Row,
    decode,
)
from alise_bench.queue_cost.scene import Shape
from alise_core.errors import ConfigError
from alise_core.policy import OrderingName, SchedulingPolicy

_REPEATS, _ROUNDS = 3, 400
_DISPATCHES = 1_000_000
_LONG = 100_000
_MANY_BACKENDS = 1_000


def main(arguments: list[str]) -> int:
    """Run ``alise bench queue``.

    Returns: 0 when everything was measured; goals that are missed are told, not failed.

    Raises:
        ConfigError: A flag is wrong.
    """
    options = _parser().parse_args(arguments)
    if min(options.repeats, options.rounds, options.dispatches, options.waiting) < 1:
        raise ConfigError(
            "--repeats, --rounds, --dispatches and --waiting must be at least 1; see --help"
        )
    results = _read(options.render) if options.render is not None else _measure(options)
    if options.json:
        sys.stdout.write(encode(results).decode())
    else:
        _print(results)
    out = options.render.parent if options.render is not None else options.out
    if out is not None:
        _write(out, results)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="alise bench queue",
        description="Measure what each of the queue's events costs with thousands of requests "
        "waiting, and count dispatches that pass a better class.",
    )
    add = parser.add_argument
    add("--json", action="store_true", help="print one JSON object and nothing else")
    add("--out", type=Path, metavar="DIR", help="write queue.json and queue.md here")
    add("--render", type=Path, metavar="FILE.json", help="only write the document of a result file")
    add("--repeats", type=int, default=_REPEATS, help=f"default {_REPEATS}")
    add("--rounds", type=int, default=_ROUNDS, help=f"events of a kind, per repeat ({_ROUNDS})")
    add(
        "--waiting",
        type=int,
        default=LIMIT_WAITING,
        help=f"requests in the queue; ten times as many once ({LIMIT_WAITING})",
    )
    add("--dispatches", type=int, default=_DISPATCHES, help=f"to look at ({_DISPATCHES})")
    return parser


def shapes(waiting: int) -> list[Shape]:
    """What is measured, with so many waiting: every ordering, then every size with the default."""
    default = SchedulingPolicy().ordering.name
    orderings = [Shape(name, waiting, 10, 16) for name in OrderingName]
    sizes = [(1, 4), (10, 4), (1_000, 4), (1, 16), (1_000, 16), (10, _MANY_BACKENDS)]
    return [*orderings, *(Shape(default, waiting, *size) for size in sizes)]


def long_shapes(waiting: int) -> list[Shape]:
    """What is measured once, because it takes long to fill."""
    default = SchedulingPolicy().ordering.name
    return [Shape(default, waiting, tenants, 16) for tenants in (10, 1_000)]


def _measure(options: argparse.Namespace) -> Results:
    machine = read_conditions(None, 0, repeats=options.repeats, seed=0, quick=False)
    rows: list[Row] = []
    for repeat in range(1, options.repeats + 1):
        rows += _rows(shapes(options.waiting), repeat, options.rounds)
    rows += _rows(long_shapes(options.waiting * (_LONG // LIMIT_WAITING)), 1, options.rounds)
    counted = []
    each = -(-options.dispatches // len(OrderingName))
    for ordering in OrderingName:
        found = count_inversions(ordering, each, seed=1)
        _say(f"{ordering}: {found.inversions} of {found.dispatches:,} dispatches out of turn")
        counted.append(Counted(str(ordering), found.dispatches, found.inversions, found.by_class))
    conditions = Conditions(
        started=machine.started,
        cpu_model=machine.cpu_model,
        cpus=machine.cpus,
        kernel=machine.kernel,
        python=machine.python,
        load_average=[machine.load_average_before, os.getloadavg()[0]],
        repeats=options.repeats,
        rounds=options.rounds,
    )
    return Results(conditions, rows, counted)


def _rows(wanted: Sequence[Shape], repeat: int, rounds: int) -> list[Row]:
    found = []
    for shape in wanted:
        place = (str(shape.ordering), shape.waiting, shape.tenants, shape.backends)
        found += [
            Row(*place, it.kind, repeat, it.events, it.p50_us, it.p99_us, it.worst_us)
            for it in measure(shape, rounds, repeat, time.thread_time_ns)
        ]
        _say(f"measured: {place}, repeat {repeat}")
    return found


def _read(file: Path) -> Results:
    try:
        return decode(file.read_bytes())
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot read {file}: {error}") from error


def _write(folder: Path, results: Results) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in (("queue.json", encode(results)), ("queue.md", render(results).encode())):
        (folder / name).write_bytes(data)
        _say(f"written: {folder / name}")


def _print(results: Results) -> None:
    show_tables(Console(), tables(results))


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")
