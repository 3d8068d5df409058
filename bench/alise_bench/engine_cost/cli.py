"""``alise bench engine-order``: time the order's part of a step, print or publish it."""

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from alise_bench.engine_cost.measure import Row, measure
from alise_bench.engine_cost.report import (
    DOCUMENT,
    LIMIT_WAITING,
    Conditions,
    Results,
    render,
    table,
)
from alise_bench.engine_cost.scene import Shape
from alise_bench.overhead.conditions import read_conditions
from alise_bench.overhead.console import show_tables
from alise_bench.overhead.results import encode
from alise_core.errors import ConfigError
from alise_vllm.ordering.policies import PolicyName
from alise_vllm.ordering.settings import OrderingSettings

SIZES = (10, 100, 1_000, 5_000)
_RUNNING = 256
_REPEATS, _STEPS = 3, 2_000


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
    if options.out is not None:
        _publish(options.out, results)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="alise bench engine-order",
        description="Measure what the engine plugin's order costs a step of the engine, with "
        "every slot taken and requests waiting.",
    )
    add = parser.add_argument
    add("--json", action="store_true", help="print one JSON object and nothing else")
    add("--out", type=Path, metavar="DIR", help=f"write {DOCUMENT}.json and {DOCUMENT}.md here")
    add("--repeats", type=int, default=_REPEATS, help=f"default {_REPEATS}")
    add("--steps", type=int, default=_STEPS, help=f"per repeat ({_STEPS})")
    add("--running", type=int, default=_RUNNING, help=f"slots ({_RUNNING})")
    add("--waiting", type=int, nargs="+", default=SIZES, help="how many wait (10 100 1000 5000)")
    return parser


def shapes(sizes: Sequence[int], running: int) -> list[Shape]:
    """Every size with the default policy; with memory short, and with the others, the limit's."""
    default = OrderingSettings().policy
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


def _publish(folder: Path, results: Results) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{DOCUMENT}.json").write_bytes(encode(results))
        (folder / f"{DOCUMENT}.md").write_text(render(results), encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"--out {folder}: {error.strerror}; name another folder") from error
