"""``alise predictor train``, ``export`` and ``evaluate --all``."""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from pydantic import JsonValue
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from alise_core.errors import ConfigError
from alise_predictor.artifact import load_bundle, shipped_bundle
from alise_predictor.train.compare.options import Options
from alise_predictor.train.export import export_bundle
from alise_predictor.train.fit import FitProgress
from alise_predictor.train.pipeline import Progress as Listener
from alise_predictor.train.pipeline import Trained, TrainOptions, train_predictor, with_epochs
from alise_predictor.train.quality import Metrics
from alise_predictor.train.run_state import RunDirectory

_SAMPLE = Path("predictor/sample")

TOLERANCE = {"tier0": 0.01, "tier1": 0.02}
"""Tau-b of a training may differ this much from the shipped one's: the fine-tuning's matrix
products round differently on other processors, and tier 0 learns from tier 1."""


def add_train_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of ``train``."""
    _add_data(parser)
    parser.add_argument("--out", type=Path, default=Path("build/predictor"), help="directory")
    parser.add_argument(
        "--all-licences",
        action="store_true",
        help="learn from everything in the directory, own logs and non-commercial sets too; "
        "the result is for internal use",
    )
    parser.add_argument(
        "--hold-out", nargs="*", default=(), metavar="NAME", help="data sets that only test"
    )
    parser.add_argument("--no-tier1", action="store_true", help="tier 0 alone: minutes, no encoder")
    parser.add_argument("--epochs", type=int, default=3, help="of the fine-tuning (default 3)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--version", default="1", help="of the bundle, shown by 'inspect'")
    parser.add_argument(
        "--check",
        action="store_true",
        help="fail unless the figures are the shipped bundle's within the stated tolerance",
    )
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")


def add_export_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of ``export``."""
    parser.add_argument("--run", type=Path, default=Path("build/predictor/run"))
    parser.add_argument("--out", type=Path, required=True, help="where the bundle goes")
    parser.add_argument("--no-tier1", action="store_true", help="leave tier 1 out")
    parser.add_argument("--json", action="store_true", help="print the manifest as JSON")


def add_evaluate_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of ``evaluate --all``."""
    _add_data(parser)
    parser.add_argument("--bundle", type=Path, help="compared as tier 1 (default: the shipped one)")
    parser.add_argument("--checkpoints", type=Path, help="directory with shipped.pt, research.pt")
    parser.add_argument("--out", type=Path, help="directory for the report, its JSON and plots")
    parser.add_argument("--card", type=Path, help="file for the data card")
    parser.add_argument("--candidates", nargs="*", default=(), help="names; all by default")
    parser.add_argument("--quick", action="store_true", help="a first look in some minutes")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="print the results as JSON")


def train(arguments: argparse.Namespace) -> int:
    """Train a bundle.

    Raises:
        AliseError: A flag is wrong, the data cannot be used, or there is no shipped bundle to
            compare with.
    """
    _check_directory(arguments.data)
    if arguments.epochs < 1:
        raise ConfigError(f"--epochs must be at least 1, not {arguments.epochs}")
    if arguments.seed < 0:
        raise ConfigError(f"--seed must be at least 0, not {arguments.seed}")
    # Before the training: whoever compares wants to know at once that there is nothing to.
    shipped = load_bundle(shipped_bundle()).manifest.metrics if arguments.check else {}
    options = TrainOptions(
        data=arguments.data,
        out=arguments.out,
        ranks=arguments.ranks,
        cache=arguments.cache,
        permissive_only=not arguments.all_licences,
        hold_out=tuple(arguments.hold_out),
        tier1=not arguments.no_tier1,
        seed=arguments.seed,
        command=_command("train", arguments),
        version=arguments.version,
    )
    options = with_epochs(options, arguments.epochs)
    console = Console(stderr=True)
    columns = (TextColumn("tier 1"), BarColumn(), TextColumn("{task.completed}/{task.total} steps"))
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as bar:
        task = bar.add_task("tier 1", total=None, visible=False)

        def on_step(at: FitProgress) -> None:
            bar.update(task, completed=at.step, total=at.steps, visible=at.step < at.steps)
            if at.step % 100 == 0:
                console.print(f"step {at.step} of {at.steps}, loss {at.loss:.3f}")

        trained = train_predictor(options, Listener(console.print, on_step))
    _show(trained, as_json=arguments.json)
    return _check(trained.metrics, shipped) if arguments.check else 0


def export(arguments: argparse.Namespace) -> int:
    """Make a bundle of a finished training.

    Raises:
        AliseError: There is none.
    """
    run = RunDirectory(arguments.run)
    description = run.load_description()
    if arguments.no_tier1:
        kept = {
            name: figures
            for name, figures in description.metrics.items()
            if not name.startswith("tier1")
        }
        update = {"tier1": None, "base_model": None, "metrics": kept}
        description = description.model_copy(update=update)
    bundle = export_bundle(run, description, arguments.out, created=datetime.now(UTC).date())
    if arguments.json:
        sys.stdout.write(bundle.manifest.model_dump_json(indent=2) + "\n")
    else:
        sys.stdout.write(f"wrote {arguments.out}\n")
    return 0


def evaluate_all(arguments: argparse.Namespace) -> int:
    """Compare all candidates.

    Raises:
        AliseError: The data cannot be used.
    """
    from alise_predictor.train.compare import run  # noqa: PLC0415  imports every candidate

    _check_directory(arguments.data)
    shipped = shipped_bundle()
    bundle = arguments.bundle or (shipped if shipped.is_dir() else None)
    cache = arguments.cache or Path("build/predictor/cache")
    return run(
        Options(
            data=arguments.data,
            cache=cache,
            ranks=arguments.ranks,
            bundle=bundle,
            checkpoints=arguments.checkpoints,
            output=arguments.out,
            card=arguments.card,
            candidates=tuple(arguments.candidates),
            command=_command("evaluate --all", arguments),
            quick=arguments.quick,
            as_json=arguments.json,
            seed=arguments.seed,
        )
    )


def _add_data(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data",
        type=Path,
        default=_SAMPLE,
        help=f"directory of the data sets (default: {_SAMPLE}, the sample of a checkout)",
    )
    parser.add_argument(
        "--ranks", type=Path, help="rank file of cl100k_base, or a directory that holds it"
    )
    parser.add_argument("--cache", type=Path, help="keeps token counts between runs")


def _check_directory(data: Path) -> None:
    if not data.is_dir():
        raise ConfigError(f"--data: {data} is no directory; docs/predictor.md says what it holds")


def _command(name: str, arguments: argparse.Namespace) -> str:
    """What was typed, without the paths of this machine."""
    words = ["alise predictor", name, "--data DIR"]
    words += [
        f"--{key.replace('_', '-')}"
        for key in ("all_licences", "no_tier1", "quick")
        if getattr(arguments, key, False)
    ]
    held = getattr(arguments, "hold_out", ())
    words += [f"--hold-out {' '.join(held)}"] if held else []
    epochs = getattr(arguments, "epochs", 3)
    return " ".join(words + ([f"--epochs {epochs}"] if epochs != 3 else []))  # noqa: PLR2004


def _show(trained: Trained, *, as_json: bool) -> None:
    if as_json:
        document = {"bundle": str(trained.bundle.directory), "metrics": trained.metrics}
        sys.stdout.write(json.dumps(document, indent=2) + "\n")
        return
    sys.stdout.write("\n".join(_summary(trained.metrics)) + "\n")
    directory = trained.bundle.directory
    sys.stdout.write(f"bundle: {directory}\nalise predictor inspect --bundle {directory}\n")


def _summary(metrics: Metrics) -> list[str]:
    """A table: a line for each tier, part and data set, a column for each figure."""
    if not metrics:
        return ["no data set has enough test prompts to be measured on"]
    names = list(dict.fromkeys(name for figures in metrics.values() for name in figures))
    table = [["", *names]]
    for part, figures in metrics.items():
        cells = [f"{figures[name]:.3f}" if name in figures else "-" for name in names]
        table.append([part, *cells])
    widths = [max(len(cell) for cell in column) for column in zip(*table, strict=True)]
    return ["  ".join(_aligned(row, widths)) for row in table]


def _aligned(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    numbers = zip(row[1:], widths[1:], strict=True)
    return [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in numbers)]


def _check(metrics: Metrics, shipped: Mapping[str, Mapping[str, JsonValue]]) -> int:
    """Compare with the shipped bundle; the exit code."""
    wrong = differences(metrics, shipped)
    for line in wrong:
        sys.stderr.write(f"alise: {line}\n")
    return 1 if wrong else 0


def differences(metrics: Metrics, shipped: Mapping[str, Mapping[str, JsonValue]]) -> Sequence[str]:
    """Macro tau-b values of a training that another one does not have within ``TOLERANCE``.

    Args:
        metrics: Of the one.
        shipped: Of the other, as its manifest has them.

    Returns: What to tell the user: a line for each difference, and for each figure of ``shipped``
        that was not measured.
    """
    macros = {name: figures for name, figures in shipped.items() if name.count(".") == 1}
    if not macros:
        return ["the shipped bundle has no figures to compare with"]
    found = []
    for name, figures in macros.items():
        tier, expected = name.partition(".")[0], figures.get("tau_b")
        if tier not in TOLERANCE or not isinstance(expected, int | float):
            continue
        tau = metrics.get(name, {}).get("tau_b")
        if tau is None:
            found.append(f"{name}: not measured, shipped tau-b {expected:.3f}")
        elif abs(tau - expected) > TOLERANCE[tier]:
            found.append(f"{name}: tau-b {tau:.3f}, shipped {expected:.3f}")
    return found
