"""``alise bench overhead``: measure, print a summary, write the result file."""

import argparse
import shlex
import shutil
import subprocess
import sys
import venv
from pathlib import Path
from typing import TypeVar

import uvloop
from rich.console import Console

from alise_bench.overhead.console import show_tables
from alise_bench.overhead.results import Results, encode
from alise_bench.overhead.runner import Plan, run_plan
from alise_bench.overhead.scenarios import BY_NAME as SCENARIOS
from alise_bench.overhead.scenarios import QUICK, shortened
from alise_bench.overhead.tables import predictor_table, scenario_tables
from alise_bench.overhead.targets import BY_NAME as TARGETS
from alise_bench.overhead.targets import PEER_PACKAGES, Launch, Place, Target
from alise_bench.processes import interrupted_by_signals
from alise_bench.settings import BenchSettings
from alise_core.errors import ConfigError

T = TypeVar("T")

_DEFAULT_REPEATS = 5
_QUICK_REPEATS = 2
_QUICK_TARGETS = ("direct", "alise", "alise-predictor", "smg", "vllm-router", "haproxy")


def main(arguments: list[str]) -> int:
    """Run ``alise bench overhead``.

    Returns: 0 when every target that is installed was measured without an error.

    Raises:
        ConfigError: An unknown target or scenario.
    """
    options = _parser().parse_args(arguments)
    if options.install_peers:
        return _install_peers(options.peers)
    plan = _plan(options)
    with interrupted_by_signals():
        results = uvloop.run(run_plan(plan, _progress))
    if options.json is not None:
        options.json.write_bytes(encode(results))
        _progress(f"written: {options.json}")
    _print_summary(results)
    clean = not results.failures and not any(row.errors for row in results.rows)
    return 0 if clean else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="alise bench overhead",
        description="Measure what a proxy costs: the gateway, its peers and the direct way, "
        "one server at a time on a CPU of its own, in shuffled rounds.",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure here")
    parser.add_argument("--repeats", type=int, help=f"rounds ({_DEFAULT_REPEATS})")
    parser.add_argument("--targets", help=f"comma-separated, of: {', '.join(TARGETS)}")
    parser.add_argument("--scenarios", help=f"comma-separated, of: {', '.join(SCENARIOS)}")
    parser.add_argument("--quick", action="store_true", help="a first look in a minute or two")
    parser.add_argument("--seed", type=int, default=1, help="order of targets in the rounds")
    parser.add_argument(
        "--command",
        action="append",
        default=[],
        metavar="NAME=COMMAND",
        help="measure another server too; {port}, {backend0} and {backend1} are filled in",
    )
    parser.add_argument(
        "--bundle", type=Path, metavar="DIR", help="predictor to measure (default: the shipped one)"
    )
    parser.add_argument(
        "--peers", type=Path, default=BenchSettings().peers_folder, help="their environment"
    )
    parser.add_argument(
        "--install-peers", action="store_true", help="install smg, vllm-router and LiteLLM there"
    )
    return parser


def _plan(options: argparse.Namespace) -> Plan:
    default_targets = _QUICK_TARGETS if options.quick else tuple(TARGETS)
    default_scenarios = QUICK if options.quick else tuple(SCENARIOS)
    targets = [_named(name, TARGETS, "target") for name in _names(options.targets, default_targets)]
    targets += [_custom(definition) for definition in options.command]
    scenarios = [
        _named(name, SCENARIOS, "scenario") for name in _names(options.scenarios, default_scenarios)
    ]
    if options.quick:
        scenarios = [shortened(scenario) for scenario in scenarios]
    repeats = options.repeats or (_QUICK_REPEATS if options.quick else _DEFAULT_REPEATS)
    return Plan(
        targets, scenarios, repeats, options.seed, options.quick, options.peers, options.bundle
    )


def _names(given: str | None, default: tuple[str, ...]) -> tuple[str, ...]:
    if given is None:
        return default
    return tuple(name.strip() for name in given.split(",") if name.strip())


def _named(name: str, known: dict[str, T], what: str) -> T:
    if name not in known:
        raise ConfigError(f"unknown {what} {name!r}; one of: {', '.join(known)}")
    return known[name]


def _custom(definition: str) -> Target:
    name, _, template = definition.partition("=")
    if not name or not template or name in TARGETS:
        raise ConfigError(f"--command {definition!r} must look like NAME=COMMAND with a new name")

    def launch(place: Place) -> Launch:
        words = shlex.split(template)
        values = {"port": place.port, "backend0": place.backends[0], "backend1": place.backends[1]}
        return Launch([word.format_map(values) for word in words])

    return Target(name, launch, note="given on the command line")


def _install_peers(folder: Path) -> int:
    _progress(f"installing {', '.join(PEER_PACKAGES)} into {folder}")
    venv.create(folder, with_pip=True)
    failed = []
    # One by one: a peer that does not install here must not keep the others out.
    for package in PEER_PACKAGES:
        command = [str(folder / "bin" / "python"), "-m", "pip", "install", "-q", package]
        if subprocess.run(command, check=False).returncode:  # noqa: S603  the command is ours
            failed.append(package)
    if failed:
        _progress(f"not installed: {', '.join(failed)}; their rows will be marked as missing")
    if shutil.which("haproxy") is None:
        _progress("haproxy is not on PATH; on Debian or Ubuntu: apt-get install haproxy")
    return 1 if failed else 0


def _print_summary(results: Results) -> None:
    console = Console()
    compared = predictor_table(results)
    show_tables(console, [*scenario_tables(results), *([compared] if compared else [])])
    for target in results.targets:
        if target.missing:
            console.print(f"{target.name}: not measured, {target.missing}", markup=False)
    for failure in results.failures:
        console.print(failure, markup=False)


def _progress(line: str) -> None:
    sys.stderr.write(line + "\n")
