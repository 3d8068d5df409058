"""``alise bench compare``: the rows on a workload or on anybody's trace, and the suite of them all.

With ``--json`` standard output is one JSON object; what goes on is told on standard error.
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import msgspec

from alise_bench.compare.conditions import NOTES, read_machine, warnings
from alise_bench.compare.engine import (
    ENGINES,
    Engine,
    EngineWish,
    open_engine,
    refuse_untold,
    usual_of,
)
from alise_bench.compare.engine_goals import judge_engine
from alise_bench.compare.offer import Library, Source, recorded_offer
from alise_bench.compare.results import Results
from alise_bench.compare.rows import ROWS, Row, choose_rows
from alise_bench.compare.run import Outcomes, Point, compare_recorded, compare_workload
from alise_bench.overhead.results import encode
from alise_bench.sim.step_model import PROFILES
from alise_bench.vllm.place import parse_vllm
from alise_bench.workloads.prompts import WorkloadName
from alise_bench.workloads.recorded import ArrivalKind
from alise_core.errors import ConfigError

T = TypeVar("T")

_PROFILE = "a100-13b"
"""The published comparisons' model and machine."""


def main(arguments: list[str]) -> int:
    """Run ``alise bench compare``.

    Returns: 0 when every row was run on every load.

    Raises:
        ConfigError: A flag or a file is wrong; names flag, value and remedy.
    """
    options = _parser().parse_args(arguments)
    usual = usual_of(options.engine)
    if options.seeds is None:
        options.seeds = usual.seeds
    if options.suite:
        from alise_bench.compare.suite_cli import run_suite  # noqa: PLC0415  seldom wanted

        return run_suite(options, _say)
    rows = choose_rows(_names(options.rows, usual.rows), usual.among)
    refuse_untold(options.engine, rows)
    results = _compare(options, rows)
    if options.json:
        sys.stdout.write(encode(results).decode())
    if options.out is not None:
        from alise_bench.compare.publish import publish  # noqa: PLC0415  draws

        for file in publish(results, options.out, _document(options)):
            _say(f"written: {file}")
    if not options.json:
        from alise_bench.compare.console import show  # noqa: PLC0415  seldom with --json

        show(results)
    return 0


def engine_main(arguments: list[str]) -> int:
    """Run ``alise bench engine``: a comparison of what schedules inside one engine."""
    return main(["--engine", "plugin", *arguments])


def _document(options: argparse.Namespace) -> str:
    """Name of the published files, with what is not as usual."""
    usual = usual_of(options.engine).document
    named = options.workload not in {None, WorkloadName.MIXED}
    parts = [
        usual,
        options.workload if named else "",
        "learned" if options.study_share else "",
        parse_vllm(options.vllm).size_name() if options.vllm else "",
    ]
    return "-".join(part for part in parts if part)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="alise bench compare",
        description="Serve the same requests by plain load balancing and by the gateway with "
        "different orderings and different knowledge of lengths, and compare.",
    )
    add = parser.add_argument
    add("--trace", type=Path, metavar="FILE.jsonl", help="requests of your own, one object a line")
    add("--rate-scale", type=float, metavar="X", help="times the trace's own rate (to rho 1.0)")
    add("--rows", metavar="A,B", help=f"of: {', '.join(ROWS)} (by engine)")
    add("--engine", default="sim", help=f"one of: {', '.join(ENGINES)} (sim)")
    add("--vllm", metavar="WHERE", help="of --engine vllm: what tools/vllm_env.py prints")
    add("--profile", default=_PROFILE, help=f"of: {', '.join(PROFILES)} ({_PROFILE})")
    add("--pods", type=int, help="engines (by engine)")
    add("--workload", help=f"of: {', '.join(WorkloadName)} ({WorkloadName.MIXED})")
    add("--arrivals", help=f"of: {', '.join(ArrivalKind)} ({ArrivalKind.GAMMA})")
    add("--cv", type=float, help=f"burstiness of gamma arrivals ({Source().cv:g})")
    add("--rho", metavar="X,Y", help="offered rate by capacity (1.0)")
    add("--requests", type=int, help="of a workload (by engine)")
    add("--seeds", type=int, help="runs with other draws (by engine)")
    add("--data", type=Path, metavar="DIR", help="data sets (default: the sample that comes along)")
    add("--ranks", type=Path, metavar="FILE", help="rank file of cl100k_base, to count answers")
    add(
        "--study-share",
        type=float,
        metavar="X",
        help="part of the prompts that is not sent: predictors have learned from them before (0)",
    )
    add("--no-tier1", action="store_true", help="predict without the encoder")
    add("--json", action="store_true", help="print one JSON object and nothing else")
    add("--out", type=Path, metavar="DIR", help="write JSON, Markdown and pictures")
    add("--suite", action="store_true", help="everything that is published; needs --data and --out")
    add("--quick", action="store_true", help="the suite with few requests: a look, not a result")
    add("--search-seconds", type=float, metavar="S", help="arrivals of the suite's searches")
    add("--jobs", type=int, default=1, help="processes of the suite (1)")
    return parser


def _compare(options: argparse.Namespace, rows: list[Row]) -> Results:
    wish = EngineWish(
        options.profile,
        _pods(options),
        tier1=not options.no_tier1,
        vllm=options.vllm,
        rows=tuple(row.name for row in rows),
    )
    points = [
        Point(rho, seed)
        for seed in range(1, _at_least_one("--seeds", options.seeds) + 1)
        for rho in _loads(options.rho)
    ]
    if options.trace is not None:
        _refuse_beside_trace(options)
        factor = _rate_scale(options)
    elif options.rate_scale is not None:
        raise ConfigError(
            f"--rate-scale {options.rate_scale:g} scales a --trace; for a workload, say --rho"
        )
    else:
        source = _source(options)
    engine = open_engine(options.engine, wish)
    machine = read_machine()
    if options.trace is not None:
        offer = recorded_offer(options.trace, engine.context_tokens)
        found = compare_recorded(engine, rows, offer, points, factor, _say)
    else:
        found = compare_workload(engine, rows, Library(), source, points, _say)
    results = _results(machine, engine, found)
    if options.workload == WorkloadName.SHORT_LONG and options.engine == "plugin":
        return msgspec.structs.replace(results, goals=judge_engine(results.rows))
    return results


def _results(machine: dict[str, object], engine: Engine, found: Outcomes) -> Results:
    conditions = {**machine, **engine.facts(), **found.conditions}
    told = {"warnings": warnings(conditions), "notes": list(NOTES)}
    return Results({**conditions, **told}, found.rows)


def _source(options: argparse.Namespace) -> Source:
    default = Source()
    cv = default.cv if options.cv is None else options.cv
    if not cv > 0:
        raise ConfigError(f"--cv: {cv:g} is not more than 0; 1 is Poisson, more is burstier")
    study_share = options.study_share or 0.0
    if not 0 <= study_share < 1:
        raise ConfigError(f"--study-share: {study_share:g} is not from 0 to less than 1")
    usual = usual_of(options.engine)
    requests = usual.requests if options.requests is None else options.requests
    return Source(
        workload=_chosen("--workload", options.workload or WorkloadName.MIXED, WorkloadName),
        arrivals=_chosen("--arrivals", options.arrivals or ArrivalKind.GAMMA, ArrivalKind),
        cv=cv,
        requests=_at_least_one("--requests", requests),
        data=options.data,
        ranks=options.ranks,
        study_share=study_share,
    )


def _refuse_beside_trace(options: argparse.Namespace) -> None:
    for name in ("workload", "arrivals", "cv", "requests", "data", "ranks", "study_share"):
        value = getattr(options, name)
        if value is not None:
            flag = f"--{name.replace('_', '-')}"
            raise ConfigError(f"{flag} {value} makes requests, and --trace brings them; drop one")


def _rate_scale(options: argparse.Namespace) -> float | None:
    factor: float | None = options.rate_scale
    if factor is None:
        return None
    if options.rho is not None:
        raise ConfigError(f"--rate-scale {factor:g} and --rho {options.rho}: give one of them")
    if not 0 < factor < float("inf"):
        raise ConfigError(f"--rate-scale: {factor:g} is not more than 0; 1 is the trace as it is")
    return factor


def _pods(options: argparse.Namespace) -> int:
    usual = usual_of(options.engine)
    default = usual.pods if options.trace is None else usual.trace_pods
    return _at_least_one("--pods", default if options.pods is None else options.pods)


def _loads(given: str | None) -> list[float]:
    loads = []
    for word in _names(given, ("1.0",)):
        try:
            value = float(word)
        except ValueError:
            value = 0.0
        if not 0 < value < float("inf"):
            raise ConfigError(f"--rho: {word!r} is no number more than 0; for example 0.5,1.0,1.3")
        loads.append(value)
    return loads


def _at_least_one(flag: str, value: int) -> int:
    if value < 1:
        raise ConfigError(f"{flag}: {value} is not at least 1")
    return value


def _chosen(flag: str, value: str, kind: Callable[[str], T]) -> T:
    try:
        return kind(value)
    except ValueError as error:
        raise ConfigError(
            f"{flag}: there is no {value!r}; see --help for those there are"
        ) from error


def _names(given: str | None, default: tuple[str, ...]) -> list[str]:
    if given is None:
        return list(default)
    return [name.strip() for name in given.split(",") if name.strip()]


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")
