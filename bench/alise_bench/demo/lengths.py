"""How well the gateway knew the demo's answer lengths: its log lines and counters, reduced. Pure.

A line says what was expected of a request when it went to its engine, and what became of it.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import msgspec

from alise_bench.load.distribution import summarize
from alise_core.prediction import PredictionSource

_PLACE = re.compile(
    r"^alise_gateway_predicted_answers_total\{[^}]*place=\"(\w+)\"[^}]*\} (\S+)$", re.MULTILINE
)
_INSIDE = ("to_p50", "to_p90")
_OF_A_MODEL = (PredictionSource.TIER0, PredictionSource.TIER1)
_PRIORS_ONLY = (
    "No predictor bundle is loaded: the gateway goes by a prior and by what its finished answers "
    "have taught it."
)
_CAPPED = (
    "Every request states its answer's length as max_tokens, which caps its prediction: the "
    "figures say little."
)
_NO_TEST = (
    "The prompts come from data sets that the shipped predictor may have been trained on: this "
    "shows it at work, docs/results/predictor.md how good it is."
)
_MOST_CAPPED = 0.5


class FinishedRequest(msgspec.Struct, frozen=True):
    """What the demo reads of a line of the gateway's request log.

    Attributes:
        event: ``request`` in a line about one.
        output_capped: The answer ended at the request's limit.
        predicted_p50: ``None`` where nothing was predicted.
    """

    event: str = ""
    outcome: str = ""
    output_tokens: int | None = None
    output_capped: bool = False
    predicted_p50: float | None = None
    prediction_source: str | None = None


@dataclass(frozen=True, slots=True)
class LengthOutcome:
    """Predicted against real output tokens of completed answers.

    Attributes:
        answers: Completed answers with a prediction.
        sources: What predicted them.
        median_error: Median distance of the predicted median, tokens.
        mean_error: Its mean.
        constant_error: Mean distance of the best constant, the median length, tokens.
        in_order: Share of the pairs of different lengths that are predicted in the right order; a
            tie counts one half. ``None`` without such a pair.
        inside: Share of the answers between the predicted p10 and p90; ``None`` where the
            gateway's counters could not be read.
        note: What to know before reading the figures.
    """

    answers: int
    sources: dict[str, int]
    median_error: float
    mean_error: float
    constant_error: float
    in_order: float | None
    inside: float | None
    note: str


def read_requests(log: str) -> list[FinishedRequest]:
    """The lines about requests among everything that a gateway has written."""
    decode = msgspec.json.Decoder(FinishedRequest).decode
    found = []
    for line in log.splitlines():
        try:
            entry = decode(line)
        except msgspec.DecodeError:  # another program's words, or a line that is not whole yet
            continue
        if entry.event == "request":
            found.append(entry)
    return found


def judge_lengths(requests: Sequence[FinishedRequest], metrics: str | None) -> LengthOutcome | None:
    """Compare; ``None`` where nothing was predicted.

    Args:
        requests: From the gateway's log.
        metrics: Its metrics after the last of them.
    """
    known = [
        (item.predicted_p50, item.output_tokens, item)
        for item in requests
        if item.outcome == "completed"
        and item.predicted_p50 is not None
        and item.output_tokens is not None
    ]
    lengths = summarize(float(tokens) for _, tokens, _ in known)
    errors = summarize(abs(p50 - tokens) for p50, tokens, _ in known)
    if lengths is None or errors is None:
        return None
    constant = summarize(abs(lengths.p50 - tokens) for _, tokens, _ in known)
    sources = Counter(item.prediction_source or "unknown" for _, _, item in known)
    capped = sum(item.output_capped for _, _, item in known) / len(known)
    return LengthOutcome(
        answers=len(known),
        sources=dict(sorted(sources.items())),
        median_error=errors.p50,
        mean_error=errors.mean,
        constant_error=0.0 if constant is None else constant.mean,
        in_order=_in_order([(p50, tokens) for p50, tokens, _ in known]),
        inside=_inside(metrics),
        note=_note(sources, capped),
    )


def _note(sources: Counter[str], capped: float) -> str:
    if not any(sources[source] for source in _OF_A_MODEL):
        return _PRIORS_ONLY
    return _CAPPED if capped > _MOST_CAPPED else _NO_TEST


def _in_order(pairs: Sequence[tuple[float, int]]) -> float | None:
    points = []
    for (p50, tokens), (other_p50, other_tokens) in combinations(pairs, 2):
        if tokens == other_tokens:
            continue
        product = (p50 - other_p50) * (tokens - other_tokens)
        points.append(0.5 if product == 0 else float(product > 0))
    return sum(points) / len(points) if points else None


def _inside(metrics: str | None) -> float | None:
    places: Counter[str] = Counter()
    for place, value in _PLACE.findall(metrics or ""):
        places[place] += round(float(value))
    total = places.total()
    return sum(places[place] for place in _INSIDE) / total if total else None
