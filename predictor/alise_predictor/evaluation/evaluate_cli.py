"""``alise predictor evaluate --file``: a predictor's figures on anybody's finished requests."""

import argparse
import json
import sys
from pathlib import Path

from alise_core.clock import Clock, MonotonicClock
from alise_core.errors import ConfigError
from alise_predictor.evaluation.flags import (
    add_bundle,
    add_json,
    add_tier,
    open_predictor,
    print_json,
    whole_number,
)
from alise_predictor.evaluation.replay import Replayed, replay
from alise_predictor.evaluation.samples import Samples, called, read
from alise_predictor.evaluation.summary import details, document
from alise_predictor.evaluation.text import evaluation
from alise_predictor.online import OnlineLearner
from alise_predictor.serving import LengthPredictor


def run(words: list[str], clock: Clock | None = None) -> int:
    """Evaluate a file and print what came of it.

    Args:
        words: After ``alise predictor evaluate``.
        clock: Times predictions; the process's unless given.

    Raises:
        SampleError: The file is wrong.
        ArtifactError: The bundle is.
        ConfigError: The flags do not go together, or the details cannot be written.
    """
    parser = _parser()
    options = parser.parse_args(words)
    if options.delay and not options.adapt:
        parser.error("--delay means something with --adapt only")
    _check_destination(options.details)
    predictor = open_predictor(options)
    samples = read(options.file, sys.stdin.buffer, skip_bad=options.skip_bad)
    replayed = replay(
        samples.rows,
        predictor,
        clock or MonotonicClock(),
        refine=predictor.has_tier1,
        learner=_learner(predictor) if options.adapt else None,
        delay=options.delay,
    )
    _warn(samples, options.file)
    if options.details is not None:
        _write_details(options.details, _facts(options, predictor, samples) | details(replayed))
    if options.json:
        print_json(document(replayed))
    else:
        title = _title(options, predictor, replayed)
        sys.stdout.write(evaluation(replayed, title) + "\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="alise predictor evaluate",
        description=(
            "Evaluate a predictor on finished requests: JSON Lines with 'prompt' or 'messages', "
            "'model' and 'output_tokens', optionally 'tenant', 'max_tokens', 'timestamp', "
            "'system', 'tools' and 'response_format'. Order is judged within models of at least "
            "40 requests, where there are any, and averaged over models by requests; everything "
            "else over all requests."
        ),
        epilog="'alise predictor evaluate --all' compares all candidates on all data sets instead.",
    )
    parser.add_argument(
        "--file", type=Path, required=True, metavar="FILE", help=".jsonl, .jsonl.zst or - for stdin"
    )
    parser.add_argument(
        "--adapt", action="store_true", help="learn in file order, as the gateway does"
    )
    parser.add_argument(
        "--delay",
        type=whole_number,
        default=0,
        metavar="N",
        help="with --adapt: an answer is learned after N more requests (default 0)",
    )
    parser.add_argument("--skip-bad", action="store_true", help="count bad lines and go on")
    parser.add_argument(
        "--details",
        type=Path,
        metavar="OUT.json",
        help="also write figures per model, pooled figures and calibration",
    )
    add_tier(parser)
    add_bundle(parser)
    add_json(parser)
    return parser


def _learner(predictor: LengthPredictor) -> OnlineLearner:
    return OnlineLearner(predictor.manifest.prior.log_quantiles)


def _title(options: argparse.Namespace, predictor: LengthPredictor, replayed: Replayed) -> str:
    manifest, models = predictor.manifest, len(set(replayed.models))
    tiers = "tiers 0 and 1" if predictor.has_tier1 else "tier 0"
    mode = "learning in file order" if options.adapt else "static"
    if options.delay:
        mode += f", {options.delay} requests late"
    return (
        f"{called(options.file)}: {len(replayed.tokens):,} requests, {models} "
        f"{'model' if models == 1 else 'models'}\n"
        f"{manifest.name} {manifest.version}: {tiers}, {mode}"
    )


def _facts(
    options: argparse.Namespace, predictor: LengthPredictor, samples: Samples
) -> dict[str, object]:
    manifest = predictor.manifest
    return {
        "file": str(options.file),
        "bundle": {"name": manifest.name, "version": manifest.version},
        "tier": 1 if predictor.has_tier1 else 0,
        "adapt": options.adapt,
        "delay": options.delay,
        "skipped_lines": len(samples.errors),
    }


def _warn(samples: Samples, file: Path) -> None:
    """What a reader of the figures has to know, where it does not disturb them."""
    if samples.errors:
        sys.stderr.write(
            f"bad lines skipped: {len(samples.errors):,}; first: {samples.errors[0]}\n"
        )
    if not samples.rows:
        sys.stderr.write(f"{called(file)} has no requests: no figure is defined\n")


def _check_destination(file: Path | None) -> None:
    """Before minutes of work, not after."""
    if file is not None and (file.is_dir() or not file.parent.is_dir()):
        raise ConfigError(f"--details {file}: must be a file in a directory that exists")


def _write_details(file: Path, content: dict[str, object]) -> None:
    try:
        file.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"cannot write {file}: {error.strerror or error}") from error
