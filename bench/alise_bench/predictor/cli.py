"""``alise bench predictor``: time a bundle, print tables, write the result file and its document.

Nothing of the predictor that takes memory is imported before it is known how much there is.
"""

import argparse
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

from rich.console import Console

from alise_bench.overhead.conditions import read_conditions
from alise_bench.overhead.console import show_tables
from alise_bench.overhead.procfs import read_tree
from alise_bench.overhead.results import encode
from alise_bench.predictor.report import caution, render, tables
from alise_bench.predictor.results import BundleFacts, ClockKind, Conditions, Results, decode
from alise_core.clock import MonotonicClock
from alise_core.errors import ConfigError
from alise_core.units import Seconds
from alise_predictor.evaluation.memory import resident_bytes

_ROUNDS, _CALLS = 5, 2_000


class ThreadCpuClock:
    """The CPU time of the calling thread as a clock."""

    __slots__ = ()

    def now(self) -> Seconds:
        """Seconds that this thread has been on a CPU."""
        return Seconds(time.thread_time())

    def unix(self) -> Seconds:
        """Not known to it.

        Raises:
            NotImplementedError: Always.
        """
        raise NotImplementedError("CPU time has no date")


def main(arguments: list[str]) -> int:
    """Run ``alise bench predictor``.

    Raises:
        ArtifactError: The bundle cannot be used.
        ConfigError: A flag is wrong.
    """
    options = _parser().parse_args(arguments)
    if options.render is not None:
        _render(options.render)
        return 0
    if min(options.rounds, options.calls) < 1:
        raise ConfigError("--rounds and --calls must be at least 1")
    # What every process of ALISE holds anyway comes first; from here on it is the predictor's.
    import_module("pydantic")
    results = _measure(options, resident_bytes())
    if options.json is not None:
        options.json.write_bytes(encode(results))
        _render(options.json)
    _print(results)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="alise bench predictor",
        description="Measure what a prediction costs on one CPU: time per call of both tiers and "
        "of learning in place, and memory.",
    )
    parser.add_argument(
        "--bundle", type=Path, metavar="DIR", help="a trained predictor (default: the shipped one)"
    )
    parser.add_argument(
        "--json", type=Path, metavar="FILE.json", help="write every figure here and FILE.md beside"
    )
    parser.add_argument(
        "--render", type=Path, metavar="FILE.json", help="only write the document of a result file"
    )
    parser.add_argument("--rounds", type=int, default=_ROUNDS, help=f"default {_ROUNDS}")
    parser.add_argument(
        "--calls",
        type=int,
        default=_CALLS,
        help=f"of tier 0, per row and round ({_CALLS}); the rest follows from it",
    )
    return parser


def _measure(options: argparse.Namespace, resident_before: int | None) -> Results:
    from alise_bench.predictor.measure import measure_bundle  # noqa: PLC0415  see the module
    from alise_predictor.artifact import load_bundle, shipped_bundle  # noqa: PLC0415

    bundle = load_bundle(options.bundle or shipped_bundle())
    with _on_one_cpu() as cpu:
        machine = read_conditions(cpu, cpu, repeats=options.rounds, seed=0, quick=False)
        before, begin = read_tree(os.getpid()), time.monotonic()
        rows, memory = measure_bundle(
            bundle,
            rounds=options.rounds,
            calls=options.calls,
            clocks={ClockKind.WALL: MonotonicClock(), ClockKind.CPU: ThreadCpuClock()},
            resident_before=resident_before,
            say=_say,
        )
        waited = read_tree(os.getpid()).wait_seconds - before.wait_seconds
        wall = time.monotonic() - begin
    conditions = Conditions(
        started=machine.started,
        cpu_model=machine.cpu_model,
        cpus=machine.cpus,
        kernel=machine.kernel,
        python=machine.python,
        libraries={name: machine.libraries[name] for name in ("numpy", "onnxruntime")},
        cpu=cpu,
        load_average_before=machine.load_average_before,
        load_average_after=os.getloadavg()[0],
        wait_share=waited / wall,
        rounds=options.rounds,
        calls=options.calls,
    )
    manifest = bundle.manifest
    tier1 = manifest.tier1
    facts = BundleFacts(
        name=manifest.name,
        version=manifest.version,
        files={name: file.bytes for name, file in sorted(manifest.files.items())},
        tier1_pieces=None if tier1 is None else tier1.head_pieces + tier1.tail_pieces,
    )
    return Results(conditions, facts, rows, memory)


@contextmanager
def _on_one_cpu() -> Iterator[int]:
    """Keep this thread, and threads that it starts, on one CPU: the last one that it may use."""
    before = os.sched_getaffinity(0)
    chosen = max(before)
    os.sched_setaffinity(0, {chosen})
    try:
        yield chosen
    finally:
        os.sched_setaffinity(0, before)


def _render(file: Path) -> None:
    try:
        results = decode(file.read_bytes())
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot read {file}: {error}") from error
    document = file.with_suffix(".md")
    document.write_text(render(results), encoding="utf-8")
    _say(f"written: {document}")


def _print(results: Results) -> None:
    console = Console()
    show_tables(console, tables(results))
    if warning := caution(results):
        console.print(warning, markup=False)


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")
