"""Flags that several commands share, and what they stand for."""

import argparse
import json
import sys
from pathlib import Path

from alise_core.errors import ConfigError
from alise_predictor.artifact import Bundle, load_bundle, shipped_bundle
from alise_predictor.serving import LengthPredictor

TIERS = ("0", "1", "auto")


def add_bundle(parser: argparse.ArgumentParser) -> None:
    """``--bundle DIR``."""
    parser.add_argument(
        "--bundle", type=Path, metavar="DIR", help="a trained predictor (default: the shipped one)"
    )


def add_tier(parser: argparse.ArgumentParser) -> None:
    """``--tier 0|1|auto``."""
    parser.add_argument(
        "--tier",
        choices=TIERS,
        default="auto",
        help="0: hashed n-grams, microseconds; 1: with the encoder, milliseconds; "
        "auto: 1 where the bundle has it (default)",
    )


def add_json(parser: argparse.ArgumentParser) -> None:
    """``--json``."""
    parser.add_argument("--json", action="store_true", help="print JSON and nothing else")


def open_bundle(options: argparse.Namespace) -> Bundle:
    """The bundle that ``--bundle`` names, verified.

    Raises:
        ArtifactError: It cannot be used.
    """
    return load_bundle(options.bundle or shipped_bundle())


def open_predictor(options: argparse.Namespace) -> LengthPredictor:
    """The predictor that ``--bundle`` and ``--tier`` ask for.

    Raises:
        ArtifactError: The bundle cannot be used.
        ConfigError: Tier 1 is asked for and not there.
    """
    bundle = open_bundle(options)
    if options.tier == "1" and bundle.manifest.tier1 is None:
        raise ConfigError(
            f"--tier 1: the bundle in {bundle.directory} has no tier 1; "
            "use --tier 0, or --bundle with one that has"
        )
    return LengthPredictor.open(bundle, tier1=options.tier != "0")


def whole_number(text: str) -> int:
    """A command line argument of at least 0."""
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"must be at least 0 (got {value})")
    return value


def positive(text: str) -> int:
    """A command line argument of at least 1."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1 (got {value})")
    return value


def print_json(document: object) -> None:
    """A result for programs."""
    sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=False) + "\n")
