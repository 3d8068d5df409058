"""``alise bench engine-trial``: run one trial on real vLLM, print tables or JSON, publish."""

import argparse
import importlib
import os
import sys
import tempfile
from pathlib import Path

from rich.console import Console

from alise_bench.compare.conditions import read_machine
from alise_bench.engine_trials.report import figures_table, goals_table, render
from alise_bench.engine_trials.trial import Results, Trial
from alise_bench.overhead.console import show_tables
from alise_bench.overhead.results import encode
from alise_bench.processes import interrupted_by_signals
from alise_bench.vllm.place import model_text, parse_vllm
from alise_core.errors import ConfigError

TRIALS = {
    "full-slots": "slots",
    "tier": "tier",
    "eviction": "eviction",
    "changes": "changes",
}
"""Module of each."""
_SEEDS = 5


def main(arguments: list[str]) -> int:
    """Run ``alise bench engine-trial``.

    Returns: 0 when everything was measured; a goal that is missed is told, not failed.

    Raises:
        ConfigError: A flag is wrong; names flag, value and remedy.
    """
    options = _parser().parse_args(arguments)
    if options.seeds < 1:
        raise ConfigError(f"--seeds {options.seeds}: at least 1 is needed")
    trial = load_trial(options.trial)
    results = _measure(options, trial)
    if options.out is not None:
        parts = [trial.document, parse_vllm(options.vllm).size_name()]
        name = "-".join(part for part in parts if part)
        for file in publish(trial, results, options.out, name):
            _say(f"written: {file}")
    if options.json:
        sys.stdout.write(encode(results).decode())
    else:
        tables = [figures_table(trial, results.rows), goals_table(results)]
        show_tables(Console(), [each for each in tables if each.rows])
    return 0


def load_trial(name: str) -> Trial:
    """A trial by its name.

    Raises:
        ConfigError: There is none of that name.
    """
    if name not in TRIALS:
        raise ConfigError(f"there is no trial {name!r}; there are {', '.join(TRIALS)}")
    module = importlib.import_module(f"alise_bench.engine_trials.{TRIALS[name]}")
    found: Trial = module.TRIAL
    return found


def publish(trial: Trial, results: Results, folder: Path, name: str) -> list[Path]:
    """Write JSON and document, NAME.json and NAME.md; returns what was written.

    Raises:
        ConfigError: The folder cannot be written to.
    """
    data, document = folder / f"{name}.json", folder / f"{name}.md"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        data.write_bytes(encode(results))
        document.write_text(render(trial, results), encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"--out {folder}: {error.strerror}; name another folder") from error
    return [data, document]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="alise bench engine-trial",
        description="Ask one question of the engine plugin on real vLLM servers with a tiny model.",
    )
    add = parser.add_argument
    add("trial", help=f"one of: {', '.join(TRIALS)}")
    add("--vllm", metavar="WHERE", required=True, help="what tools/vllm_env.py prints")
    add("--seeds", type=int, default=_SEEDS, help=f"runs with other draws ({_SEEDS})")
    add("--json", action="store_true", help="print one JSON object and nothing else")
    add("--out", type=Path, metavar="DIR", help="write JSON and Markdown")
    return parser


def _measure(options: argparse.Namespace, trial: Trial) -> Results:
    place = parse_vllm(options.vllm)
    if not Path(place.vllm).is_file():
        raise ConfigError(f"--vllm: there is no {place.vllm}; give what tools/vllm_env.py prints")
    machine = read_machine()
    before = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="alise-trial-") as folder, interrupted_by_signals():
        rows = trial.run(place, Path(folder), range(1, options.seeds + 1), _say)
    conditions = {
        **machine,
        "model": model_text(place),
        "load_average": [round(before, 2), round(os.getloadavg()[0], 2)],
        **trial.conditions,
    }
    return Results(options.trial, conditions, rows, trial.judge(rows))


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")
