"""``alise bench tuner``: the KV tuner over a simulated day, in random lives, or replayed."""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, replace
from itertools import starmap
from pathlib import Path

from alise_bench.compare.conditions import read_machine
from alise_bench.tuner.control import Moment
from alise_bench.tuner.day import Asked, built_in, from_file, read_day
from alise_bench.tuner.figures import Figures, figures_of
from alise_bench.tuner.plot import draw
from alise_bench.tuner.replay import document, lines_of, read_policy, replay
from alise_bench.tuner.report import COLUMNS, goals, render, table
from alise_bench.tuner.rows import BASELINE, ROWS, SPEC, TUNER, Row
from alise_bench.tuner.run import full_rate, run_row
from alise_bench.tuner.traces_command import run_traces
from alise_bench.tuner.world import Setup
from alise_core.errors import ConfigError

BUILT_IN = "builtin"
NAME = "tuner"
_TIMELINE_SECONDS = 300.0


def main(arguments: list[str]) -> int:
    """Run it; 0 when everything ran, whether or not goals were met; 1 where a rule was broken."""
    options = _parse(arguments)
    if options.replay is not None:
        return _replay(options)
    if options.policy is not None:
        raise ConfigError("--policy goes with --replay: nothing else here lets its policy be set")
    if options.random_traces is None:
        return _simulate(options)
    return run_traces(
        options.random_traces, options.seed, options.jobs, as_json=options.json, out=options.out
    )


def _simulate(options: argparse.Namespace) -> int:
    setup = replace(Setup(), pods=options.pods, fp8_slowdown=options.fp8_slowdown)
    rows = [row for row in ROWS if not options.row or row.name in options.row]
    if not rows:
        raise ConfigError(f"--row: none of {', '.join(options.row)}; see --help")
    conditions = _conditions(options, setup)
    found: list[Figures] = []
    days: dict[str, Sequence[Moment]] = {}
    for load, asked in _days(options, setup, conditions):
        wanted = [(row, load, asked, setup) for row in rows]
        for row, (figures, moments) in zip(rows, _run_all(wanted, options.jobs), strict=True):
            found.append(figures)
            days[row.name] = moments
            if not options.json:
                _show([figures], heading=row is rows[0])
    if options.json:
        sys.stdout.write(json.dumps(_document(found, conditions, days), indent=1) + "\n")
    if options.out is not None:
        _publish(options.out, found, conditions, days)
    return 0


def _replay(options: argparse.Namespace) -> int:
    policy = None if options.policy is None else read_policy(options.policy)
    found = list(replay(options.replay, policy))
    lines = [json.dumps(document(found), indent=1)] if options.json else lines_of(found)
    sys.stdout.writelines(f"{line}\n" for line in lines)
    return 0


Wanted = tuple[Row, float | None, Sequence[Asked], Setup]


def _run_all(wanted: Sequence[Wanted], jobs: int) -> Iterator[tuple[Figures, Sequence[Moment]]]:
    """One after the other, or in processes of their own; in order."""
    if jobs == 1:
        yield from starmap(_run, wanted)
        return
    with ProcessPoolExecutor(jobs) as pool:
        yield from pool.map(_run, *zip(*wanted, strict=True))


def _run(
    row: Row, load: float | None, asked: Sequence[Asked], setup: Setup
) -> tuple[Figures, Sequence[Moment]]:
    run = run_row(row, asked, setup)
    return figures_of(row.name, load, run, SPEC.pace.stabilization_seconds), run.moments


def _days(
    options: argparse.Namespace, setup: Setup, conditions: dict[str, object]
) -> list[tuple[float | None, list[Asked]]]:
    most = setup.profile.max_model_len - 1
    if options.trace != BUILT_IN:
        return [(None, from_file(Path(options.trace), most, options.seed))]
    day = read_day()
    full = full_rate(day, setup, options.seed)
    conditions["load 1"] = f"{full:.3f} requests/s in the busiest window: exact KV just full"
    conditions.update({f"source of {name}": said for name, said in day.facts.items()})
    return [
        (load, built_in(day, load * full, options.hours, most, options.seed))
        for load in options.load
    ]


def _conditions(options: argparse.Namespace, setup: Setup) -> dict[str, object]:
    return {
        **read_machine(),
        "trace": options.trace,
        "hours": options.hours,
        "seed": options.seed,
        "pods": setup.pods,
        "profile": setup.profile.name,
        "KV tokens per pod": setup.profile.kv_tokens,
        "profile source": setup.profile.source,
        "fp8 slowdown": setup.fp8_slowdown,
        "scrape and decision every": f"{setup.look_seconds:g} s",
        "policy": SPEC.model_dump_json(by_alias=True, exclude_defaults=True),
    }


def _show(rows: Sequence[Figures], *, heading: bool) -> None:
    width = max(len(row.name) for row in ROWS)
    if heading:
        load = rows[0].load
        name = "" if load is None else f"load {load:g}"
        sys.stdout.write(f"\n{name:<{width}}  {'  '.join(COLUMNS)}\n")
    for name, *cells in table(rows):
        aligned = (f"{cell:>{len(title)}}" for cell, title in zip(cells, COLUMNS, strict=True))
        sys.stdout.write(f"{name:<{width}}  {'  '.join(aligned)}\n")
        sys.stdout.flush()


def _document(
    rows: Sequence[Figures], conditions: dict[str, object], days: dict[str, Sequence[Moment]]
) -> dict[str, object]:
    return {
        "conditions": conditions,
        "goals": [
            {"load": load, "goal": name, "at_most": most, "reached": got, "met": met}
            for load, name, most, got, met in goals(rows)
        ],
        "rows": [asdict(row) for row in rows],
        "timeline_of_the_last_load": {
            name: [asdict(moment) for moment in _thinned(moments)]
            for name, moments in days.items()
            if name in {BASELINE, TUNER}
        },
    }


def _thinned(moments: Sequence[Moment]) -> list[Moment]:
    kept: list[Moment] = []
    for moment in moments:
        if not kept or moment.at - kept[-1].at >= _TIMELINE_SECONDS:
            kept.append(moment)
    return kept


def _publish(
    folder: Path,
    rows: Sequence[Figures],
    conditions: dict[str, object],
    days: dict[str, Sequence[Moment]],
) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps(_document(rows, conditions, days)) + "\n"
        (folder / f"{NAME}.json").write_text(text, encoding="utf-8")
        picture = f"{NAME}.svg"
        draw(days, folder / picture, SPEC.pressure.high, SPEC.pressure.low)
        document = render(rows, conditions, picture)
        (folder / f"{NAME}.md").write_text(document, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"--out {folder}: {error.strerror}; name another folder") from error


def _parse(arguments: list[str]) -> argparse.Namespace:
    names = ", ".join(row.name for row in ROWS)
    parser = argparse.ArgumentParser(
        prog="alise bench tuner", description=__doc__, epilog=f"rows: {names}"
    )
    parser.add_argument("--trace", default=BUILT_IN, help="'builtin', or a file of JSON lines")
    parser.add_argument("--hours", type=_positive, default=24.0, help="of the built-in day")
    parser.add_argument(
        "--load",
        type=_positive,
        nargs="+",
        default=[1.2, 1.35, 1.5],
        help="KV need of the built-in day's busiest window by the pool's exact KV",
    )
    parser.add_argument("--pods", type=int, choices=range(1, 65), default=4, metavar="1..64")
    parser.add_argument("--row", action="append", default=[], help="only this one; repeatable")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--fp8-slowdown", type=_positive, default=1.0, help="of every step with fp8 KV"
    )
    parser.add_argument(
        "--jobs", type=int, choices=range(1, 65), default=1, metavar="1..64", help="processes"
    )
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument(
        "--replay", type=Path, metavar="FILE", help="decide again what an operator has recorded"
    )
    instead.add_argument(
        "--random-traces",
        type=int,
        choices=range(1, 1_000_001),
        metavar="1..1000000",
        help="instead of a day: random lives of a pool, from --seed on, and whether a rule breaks",
    )
    parser.add_argument(
        "--policy", type=Path, metavar="FILE", help="with --replay: another KVCachePolicy"
    )
    parser.add_argument("--json", action="store_true", help="print all figures as JSON")
    parser.add_argument("--out", type=Path, help="folder for the document, its JSON and picture")
    return parser.parse_args(arguments)


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return value
