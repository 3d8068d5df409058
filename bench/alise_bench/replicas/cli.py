"""``alise bench replicas``: several gateways in front of the same engines."""

import argparse
import asyncio
import os
import sys
from pathlib import Path

from rich.console import Console

from alise_bench.compare.simulation import SCRAPE_SECONDS
from alise_bench.overhead.conditions import read_conditions
from alise_bench.overhead.console import show_tables
from alise_bench.overhead.results import encode
from alise_bench.replicas.real import serve
from alise_bench.replicas.report import passed, render, tables
from alise_bench.replicas.results import (
    Conditions,
    Results,
    Row,
    decode,
    row_of_real,
    row_of_world,
)
from alise_bench.replicas.scenarios import CASES, ENGINES, simulate
from alise_core.errors import ConfigError
from alise_core.logs import configure_logging

_SECONDS, _REAL_SECONDS, _SEEDS = 90.0, 20.0, 3
_REAL_PLACE = "real gateways, engines of 16 requests each"


def main(arguments: list[str]) -> int:
    """Run ``alise bench replicas``.

    Returns: 0 when every goal is reached.

    Raises:
        ConfigError: A flag is wrong.
    """
    options = _parser().parse_args(arguments)
    if min(options.seconds, options.look_seconds, options.seeds) <= 0 or options.real_seconds < 0:
        raise ConfigError(
            "--seconds, --look-seconds and --seeds must be positive, --real-seconds not negative"
        )
    results = _read(options.render) if options.render is not None else _measure(options)
    if options.json:
        sys.stdout.write(encode(results).decode())
    else:
        show_tables(Console(), tables(results))
    out = options.render.parent if options.render is not None else options.out
    if out is not None:
        _write(out, results)
    return 0 if passed(results) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="alise bench replicas",
        description="Put one gateway and several in front of the same engines, under a load of "
        "which one of them gets most, and show what the engines are given and who waits.",
    )
    add = parser.add_argument
    add("--json", action="store_true", help="print one JSON object and nothing else")
    add("--out", type=Path, metavar="DIR", help="write replicas.json and replicas.md here")
    add("--render", type=Path, metavar="FILE.json", help="only write the document of a result file")
    add("--seconds", type=float, default=_SECONDS, help=f"in virtual time ({_SECONDS:g})")
    add(
        "--real-seconds",
        type=float,
        default=_REAL_SECONDS,
        help=f"of each run in real time, 0 for none ({_REAL_SECONDS:g})",
    )
    add(
        "--look-seconds",
        type=float,
        default=SCRAPE_SECONDS,
        help="between two looks of a gateway at an engine's figures, in virtual time "
        f"({SCRAPE_SECONDS:g})",
    )
    add("--seeds", type=int, default=_SEEDS, help=f"runs of each case in virtual time ({_SEEDS})")
    return parser


def _measure(options: argparse.Namespace) -> Results:
    machine = read_conditions(None, 0, repeats=1, seed=0, quick=False)
    rows = _virtual_rows(options.seconds, options.seeds, options.look_seconds)
    if options.real_seconds:
        configure_logging("error", sys.stderr)
        rows += _real_rows(options.real_seconds)
    conditions = Conditions(
        started=machine.started,
        cpu_model=machine.cpu_model,
        cpus=machine.cpus,
        python=machine.python,
        load_average=[machine.load_average_before, os.getloadavg()[0]],
        seconds=options.seconds,
        real_seconds=options.real_seconds,
        seeds=options.seeds,
        look_seconds=options.look_seconds,
    )
    return Results(conditions, rows)


def _virtual_rows(seconds: float, seeds: int, look_seconds: float) -> list[Row]:
    rows = []
    for engines in ENGINES:
        for case in CASES:
            for seed in range(1, seeds + 1):
                world = simulate(case, engines, seconds, seed, look_seconds)
                rows.append(row_of_world(engines.name, case.name, seed, world))
            _say(f"simulated: {engines.name}: {case.name}")
    return rows


def _real_rows(seconds: float) -> list[Row]:
    rows = []
    for case in CASES:
        run = asyncio.run(serve(case, seconds, seed=1))
        rows.append(row_of_real(_REAL_PLACE, case.name, 1, run))
        _say(f"run: {case.name}; the loop was late by {run.late_seconds:.3f} s at most")
    return rows


def _read(file: Path) -> Results:
    try:
        return decode(file.read_bytes())
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot read {file}: {error}") from error


def _write(folder: Path, results: Results) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    found = (("replicas.json", encode(results)), ("replicas.md", render(results).encode()))
    for name, data in found:
        (folder / name).write_bytes(data)
        _say(f"written: {folder / name}")


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")
