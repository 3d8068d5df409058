"""``alise bench tuner --random-traces``: as many lives of a pool as one likes, and their rules."""

import json
import sys
from pathlib import Path

from alise_bench.compare.conditions import read_machine
from alise_bench.tuner.many_traces import CONTROL_EVERY, NO_PATIENCE, Totals, live_all
from alise_bench.tuner.traces import TICK_SECONDS, policy
from alise_bench.tuner.traces_report import document, render
from alise_core.errors import ConfigError

NAME = "tuner-traces"
_TELL_EVERY = 500


def run_traces(
    count: int, first_seed: int, jobs: int, *, as_json: bool = False, out: Path | None = None
) -> int:
    """Live and judge them.

    Args:
        count: Traces.
        first_seed: Of the first; the others follow.
        jobs: Processes.
        as_json: Print the figures as JSON, and not as a document.
        out: Folder for both.

    Returns:
        0 where no rule was broken, 1 otherwise.

    Raises:
        ConfigError: ``out`` cannot be written to.
    """
    seeds = range(first_seed, first_seed + count)
    conditions = _conditions(seeds)
    totals = live_all(seeds, jobs, _tell)
    figures = json.dumps(document(totals, conditions), indent=1) + "\n"
    text = render(totals, conditions)
    sys.stdout.write(figures if as_json else text)
    if out is not None:
        _publish(out, figures, text)
    return int(totals.broken_count > 0)


def _conditions(seeds: range) -> dict[str, object]:
    spec = policy().model_dump_json(by_alias=True, exclude_defaults=True)
    return {
        **read_machine(),
        "seeds": f"{seeds.start} to {seeds.stop - 1}",
        "looks every": f"{TICK_SECONDS:g} s",
        "policy, but for pace and marks": spec,
        "without patience": f"{json.dumps(NO_PATIENCE)}, every {CONTROL_EVERY}th seed",
    }


def _tell(totals: Totals) -> None:
    if totals.traces % _TELL_EVERY == 0:
        sys.stderr.write(f"{totals.traces} traces, {totals.broken_count} times a rule was broken\n")


def _publish(folder: Path, figures: str, text: str) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{NAME}.json").write_text(figures, encoding="utf-8")
        (folder / f"{NAME}.md").write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"--out {folder}: {error.strerror}; name another folder") from error
