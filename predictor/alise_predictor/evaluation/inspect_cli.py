"""``alise predictor inspect``: what a bundle is, and what it costs on this machine."""

import argparse
import sys

from alise_core.clock import Clock, MonotonicClock
from alise_predictor.artifact import Bundle, Manifest
from alise_predictor.evaluation.flags import (
    add_bundle,
    add_json,
    open_bundle,
    positive,
    print_json,
)
from alise_predictor.evaluation.latency_report import as_json, measure, render
from alise_predictor.evaluation.text import table

_HASH_SHOWN = 12
_WIDEST = 110
"""Characters of a table that most terminals still show in one line."""


def run(words: list[str], resident_before: int | None, clock: Clock | None = None) -> int:
    """Verify a bundle and print what it says about itself.

    Args:
        words: After ``alise predictor inspect``.
        resident_before: This process's memory before anything of the predictor was imported.
        clock: Times predictions; the process's unless given.

    Raises:
        ArtifactError: The bundle is missing, changed, or for another version of alise.
    """
    options = _parser().parse_args(words)
    bundle = open_bundle(options)
    cost = None
    if options.latency:
        cost = measure(bundle, options.calls, clock or MonotonicClock(), resident_before)
    if options.json:
        found: dict[str, object] = {
            "directory": str(bundle.directory),
            "manifest": bundle.manifest.model_dump(mode="json"),
        }
        print_json(found if cost is None else {**found, "latency": as_json(cost)})
        return 0
    sys.stdout.write(describe(bundle) + "\n")
    if cost is not None:
        sys.stdout.write("\n" + render(cost) + "\n")
    return 0


def describe(bundle: Bundle) -> str:
    """A verified bundle's manifest for people."""
    manifest = bundle.manifest
    return "\n\n".join(
        [
            table(_about(bundle), left=2),
            "files, all verified\n" + table(_files(manifest), left=1),
            "trained on\n" + table(_datasets(manifest), left=2),
            *_metrics(manifest),
        ]
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="alise predictor inspect",
        description="Verify a bundle's files and show what its manifest says.",
    )
    parser.add_argument(
        "--latency", action="store_true", help="also time predictions on this machine"
    )
    parser.add_argument(
        "--calls",
        type=positive,
        default=2_000,
        metavar="N",
        help="with --latency: predictions per row of tier 0, a twentieth for tier 1 (default 2000)",
    )
    add_bundle(parser)
    add_json(parser)
    return parser


def _about(bundle: Bundle) -> list[list[str]]:
    manifest = bundle.manifest
    tier1, base = manifest.tier1, manifest.base_model
    rows = [
        ["bundle", f"{manifest.name} {manifest.version}, {manifest.created.isoformat()}"],
        ["directory", str(bundle.directory)],
        ["licence", manifest.licence],
        ["predicts", f"{manifest.lowest_tokens:,} to {manifest.highest_tokens:,} tokens"],
        ["counted in", manifest.token_unit],
        ["knows", f"{len(manifest.model_offsets):,} models by name"],
    ]
    if tier1 is None:
        rows.append(["tier 1", "none"])
    else:
        rows.append(
            [
                "tier 1",
                f"first {tier1.head_pieces} and last {tier1.tail_pieces} word pieces, "
                f"weight {tier1.weight:g}, embedding of {tier1.embedding_size}",
            ]
        )
    if base is not None:
        rows.append(["encoder", f"{base.name} ({base.licence}), {base.source}"])
    training = manifest.training
    rows.append(["made by", f"{training.command} (seed {training.seed})"])
    rows.append(["features", manifest.feature_schema[:_HASH_SHOWN]])
    return rows


def _files(manifest: Manifest) -> list[list[str]]:
    rows = [["  name", "bytes", "sha256"]]
    for name, facts in sorted(manifest.files.items()):
        rows.append([f"  {name}", f"{facts.bytes:,}", facts.sha256[:_HASH_SHOWN]])
    total = sum(facts.bytes for facts in manifest.files.values())
    return [*rows, ["  together", f"{total:,}", ""]]


def _datasets(manifest: Manifest) -> list[list[str]]:
    rows = [["  data set", "licence", "permissive", "prompts", "answers", "sha256"]]
    rows += [
        [
            f"  {item.name}",
            item.licence,
            "yes" if item.permissive else "NO",
            f"{item.prompts:,}",
            f"{item.answers:,}",
            item.sha256[:_HASH_SHOWN],
        ]
        for item in manifest.training.datasets
    ]
    return rows


def _metrics(manifest: Manifest) -> list[str]:
    """One line per data set; the figures are whatever the trainer recorded."""
    if not manifest.metrics:
        return []
    names = list(dict.fromkeys(name for row in manifest.metrics.values() for name in row))
    rows = [["  data set", *names]]
    for dataset, figures in manifest.metrics.items():
        rows.append([f"  {dataset}", *(_shown(figures.get(name)) for name in names)])
    text = table(rows)
    if max(map(len, text.splitlines())) > _WIDEST:
        text = "\n".join(
            f"  {dataset}: " + ", ".join(f"{name} {_shown(value)}" for name, value in row.items())
            for dataset, row in manifest.metrics.items()
        )
    return ["measured when it was trained\n" + text]


def _shown(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
