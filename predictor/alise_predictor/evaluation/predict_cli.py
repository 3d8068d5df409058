"""``alise predictor predict``: one prediction, as the gateway would start with."""

import argparse
import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

from alise_core.clock import Clock, MonotonicClock
from alise_core.errors import ConfigError
from alise_core.prediction import LengthDistribution
from alise_predictor.artifact import Manifest
from alise_predictor.evaluation.flags import (
    add_bundle,
    add_json,
    add_tier,
    open_predictor,
    positive,
    print_json,
)
from alise_predictor.evaluation.samples import STANDARD_INPUT
from alise_predictor.evaluation.text import table
from alise_predictor.prediction import RawPrediction
from alise_predictor.request import PredictionRequest, from_body, from_prompt
from alise_predictor.serving import LengthPredictor


@dataclass(frozen=True, slots=True)
class Answer:
    """One prediction for people and programs.

    Attributes:
        model: Name of the served model.
        source: Which tier answered.
        mean: Expected output tokens.
        p10: Tokens not exceeded with probability 0.1.
        p50: Median.
        p90: Tokens not exceeded with probability 0.9.
        max_tokens: The request's limit; everything above is capped by it.
        p_max_tokens: Probability that the answer reaches the limit.
        latency_us: What this prediction took, features included, after a first one.
    """

    model: str
    source: str
    mean: float
    p10: float
    p50: float
    p90: float
    max_tokens: int | None
    p_max_tokens: float | None
    latency_us: float


def run(words: list[str], clock: Clock | None = None) -> int:
    """Predict one request and print the answer.

    Args:
        words: After ``alise predictor predict``.
        clock: Times the prediction; the process's unless given.

    Raises:
        ArtifactError: The bundle is wrong.
        ConfigError: The body is.
        PredictorError: The model gave no usable answer.
    """
    parser = _parser()
    options = parser.parse_args(words)
    if options.text is not None and not options.model:
        parser.error("--text needs --model")
    if options.body is not None and (options.system or options.max_tokens):
        parser.error("--system and --max-tokens go with --text; a body says both itself")
    request = _request(options, sys.stdin.buffer)
    predictor = open_predictor(options)
    answer = ask(predictor, request, clock or MonotonicClock())
    if options.json:
        print_json(asdict(answer))
    else:
        sys.stdout.write(_text(answer, predictor.manifest) + "\n")
    return 0


def ask(predictor: LengthPredictor, request: PredictionRequest, clock: Clock) -> Answer:
    """Predict, timed after one call that is not.

    Args:
        predictor: Opened; its tier 1 is used where it has one.
        request: What is asked about.
        clock: Read before and after.

    Raises:
        PredictorError: The model gave no usable answer.
    """
    _predict(predictor, request)
    begin = clock.now()
    raw = _predict(predictor, request)
    seconds = clock.now() - begin
    lowest, highest = predictor.manifest.lowest_tokens, predictor.manifest.highest_tokens
    limit = request.max_tokens
    free = LengthDistribution.of(raw.log_quantiles, lowest, highest, None)
    capped = LengthDistribution.of(raw.log_quantiles, lowest, highest, limit)
    return Answer(
        model=request.model,
        source=raw.source.value,
        mean=round(capped.mean(), 1),
        p10=round(capped.quantile(0.1), 1),
        p50=round(capped.quantile(0.5), 1),
        p90=round(capped.quantile(0.9), 1),
        max_tokens=limit,
        # Lengths are whole: reaching the limit is exceeding the number before it.
        p_max_tokens=None if limit is None else round(free.exceeds(limit - 1), 4),
        latency_us=round(seconds * 1e6, 1),
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="alise predictor predict",
        description="Predict how many tokens the answer to one request will have.",
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--text", metavar="PROMPT", help="what is asked")
    what.add_argument(
        "--body", type=Path, metavar="FILE", help="a request's JSON body; - for standard input"
    )
    parser.add_argument("--model", help="name of the served model (default: the body's)")
    parser.add_argument("--system", default="", help="system instructions")
    parser.add_argument("--max-tokens", type=positive, metavar="N", help="limit on the answer")
    add_tier(parser)
    add_bundle(parser)
    add_json(parser)
    return parser


def _request(options: argparse.Namespace, stdin: BinaryIO) -> PredictionRequest:
    if options.body is None:
        return from_prompt(
            options.text, options.model, system=options.system, max_tokens=options.max_tokens
        )
    body = _body(options.body, stdin)
    model = options.model or body.get("model")
    if not isinstance(model, str) or not model:
        raise ConfigError(f"--body {options.body}: has no 'model'; add it or pass --model")
    return from_body(body, model)


def _body(file: Path, stdin: BinaryIO) -> dict[str, object]:
    try:
        body = json.loads(stdin.read() if file == STANDARD_INPUT else file.read_bytes())
    except OSError as error:
        raise ConfigError(f"--body {file}: cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"--body {file}: must be a JSON object, and is no JSON") from error
    if not isinstance(body, dict):
        raise ConfigError(f"--body {file}: must be a JSON object")
    return body


def _predict(predictor: LengthPredictor, request: PredictionRequest) -> RawPrediction:
    first = predictor.predict(request)
    return predictor.refine(request, first) if predictor.has_tier1 else first


def _text(answer: Answer, manifest: Manifest) -> str:
    rows = [
        ["model", answer.model],
        ["source", f"{answer.source} of {manifest.name} {manifest.version}"],
        ["expected", f"{answer.mean:,.0f} tokens"],
        ["median", f"{answer.p50:,.0f} tokens"],
        ["8 of 10 answers", f"{answer.p10:,.0f} to {answer.p90:,.0f} tokens"],
    ]
    if answer.p_max_tokens is not None:
        rows.append(["reaches max_tokens", f"{answer.p_max_tokens:.0%} (at {answer.max_tokens:,})"])
    rows.append(["took", f"{answer.latency_us:,.0f} us"])
    return table(rows, left=2)
