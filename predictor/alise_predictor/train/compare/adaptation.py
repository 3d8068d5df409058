"""What learning in place gains on data sets that no training has seen.

Each stream is one data set answered by one model, in random order, as the traffic of one tenant:
every request is predicted by the bundle and corrected by what its predecessors taught, through the
gateway's own learner.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from zlib import crc32

import numpy as np
import numpy.typing as npt

from alise_core.clock import Clock
from alise_core.prediction import LEVELS
from alise_predictor.artifact import Description
from alise_predictor.evaluation.metrics import Figures, figures, mean_of
from alise_predictor.evaluation.replay import Predictor, Replayed, replay
from alise_predictor.evaluation.samples import Sample
from alise_predictor.online import OnlineLearner
from alise_predictor.prediction import RawPrediction
from alise_predictor.request import PredictionRequest
from alise_predictor.train.dataset.corpus import Corpus

MEDIAN = len(LEVELS) // 2
SPANS: tuple[tuple[int, int], ...] = (
    (0, 100),
    (100, 500),
    (500, 1_000),
    (1_000, 2_000),
    (2_000, 3_000),
)
"""Finished requests before the predictions that are scored together."""

_MOST_ROWS = 3_000
_MOST_MODELS = 3
_FEWEST_ROWS = 500


@dataclass(frozen=True, slots=True)
class SpanResult:
    """One part of the streams.

    Attributes:
        first: Answers that had been learned before the first prediction scored.
        last: And before the last, plus one.
        streams: That are this long.
        static: The bundle alone, mean over data sets.
        learned: With learning in place.
        mae_of_median: MAE of the running median of the stream's own answers, in tokens: the
            constant that knows this workload.
        by_source: Data set to the two for it: static, learned.
    """

    first: int
    last: int
    streams: int
    static: Figures
    learned: Figures
    mae_of_median: float
    by_source: dict[str, tuple[Figures, Figures]]


@dataclass(frozen=True, slots=True)
class AdaptationResult:
    """One tier.

    Attributes:
        tier: Name.
        spans: In order of ``SPANS``, those that any stream reaches.
    """

    tier: str
    spans: list[SpanResult]


@dataclass(frozen=True, slots=True)
class _Stream:
    source: str
    replayed: Replayed


def adapt(
    corpus: Corpus,
    mask: npt.NDArray[np.bool_],
    predictor: Predictor,
    clock: Clock,
    tiers: Sequence[str],
    log: Callable[[str], None],
) -> list[AdaptationResult]:
    """Replay all streams.

    Args:
        corpus: Prompts and answers.
        mask: Answers out of distribution.
        predictor: The bundle's.
        clock: For the replay.
        tiers: Which to replay with; ``tier1`` gives the learner embeddings.
        log: Told about progress.
    """
    found = _streams(corpus, mask)
    results = []
    for tier in tiers:
        remembering = _Remembering(predictor)
        streams = []
        for source, model, samples in found:
            learner = OnlineLearner(predictor.manifest.prior.log_quantiles)
            replayed = replay(samples, remembering, clock, refine=tier == "tier1", learner=learner)
            streams.append(_Stream(source, replayed))
            log(f"adaptation {tier}: {source}, {model}: {len(samples)} requests")
        spans = [span for bounds in SPANS if (span := _span(streams, *bounds)) is not None]
        results.append(AdaptationResult(tier, spans))
    return results


class _Remembering:
    """Asks the bundle once about each request, whoever answers it."""

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor
        self._known: dict[tuple[PredictionRequest, bool], RawPrediction] = {}

    @property
    def manifest(self) -> Description:
        return self._predictor.manifest

    def predict(self, request: PredictionRequest) -> RawPrediction:
        return self._ask((request, False), lambda: self._predictor.predict(request))

    def refine(self, request: PredictionRequest, first: RawPrediction) -> RawPrediction:
        return self._ask((request, True), lambda: self._predictor.refine(request, first))

    def _ask(
        self, key: tuple[PredictionRequest, bool], ask: Callable[[], RawPrediction]
    ) -> RawPrediction:
        if key not in self._known:
            self._known[key] = ask()
        return self._known[key]


def _streams(corpus: Corpus, mask: npt.NDArray[np.bool_]) -> list[tuple[str, str, list[Sample]]]:
    per_source: dict[str, list[tuple[str, npt.NDArray[np.int64]]]] = {}
    for source, model, members in corpus.groups():
        chosen = members[mask[members]]
        if len(chosen) >= _FEWEST_ROWS:
            per_source.setdefault(source, []).append((model, chosen))
    found = []
    for source, groups in per_source.items():
        random = np.random.default_rng(crc32(source.encode()))
        picked = random.permutation(len(groups))[:_MOST_MODELS]
        for model, members in (groups[index] for index in picked):
            rows = random.permutation(members)[:_MOST_ROWS]
            found.append((source, model, _samples(corpus, rows)))
    return found


def _samples(corpus: Corpus, rows: npt.NDArray[np.int64]) -> list[Sample]:
    answers = corpus.answers
    return [
        Sample(
            request=corpus.prompts[answers.prompt[row]].request,
            output_tokens=int(answers.tokens[row]),
            tenant="",
            timestamp=None,
        )
        for row in rows.tolist()
    ]


def _span(streams: Sequence[_Stream], first: int, last: int) -> SpanResult | None:
    long_enough = [one for one in streams if len(one.replayed.tokens) >= (first + last) // 2]
    if not long_enough:
        return None
    static: dict[str, list[Figures]] = {}
    learned: dict[str, list[Figures]] = {}
    medians: dict[str, list[float]] = {}
    for stream in long_enough:
        replayed, rows = stream.replayed, slice(first, last)
        tokens = replayed.tokens[rows]
        static.setdefault(stream.source, []).append(figures(tokens, replayed.static[rows]))
        learned.setdefault(stream.source, []).append(figures(tokens, replayed.served[rows]))
        medians.setdefault(stream.source, []).append(_mae_of_median(replayed.tokens, first, last))
    before = {source: mean_of(parts) for source, parts in static.items()}
    after = {source: mean_of(parts) for source, parts in learned.items()}
    return SpanResult(
        first=first,
        last=last,
        streams=len(long_enough),
        static=mean_of(list(before.values())),
        learned=mean_of(list(after.values())),
        mae_of_median=float(np.mean([np.mean(values) for values in medians.values()])),
        by_source={source: (before[source], after[source]) for source in before},
    )


def _mae_of_median(tokens: npt.NDArray[np.int64], first: int, last: int) -> float:
    """Of the median of everything before each row; the first row has nothing before it."""
    rows = range(max(1, first), min(last, len(tokens)))
    return float(np.mean([abs(tokens[row] - np.median(tokens[:row])) for row in rows]))
