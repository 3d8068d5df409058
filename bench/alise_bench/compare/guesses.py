"""What a row's gateway is told of each request's length.

The shipped predictor runs as it does in the gateway: tier 0 on arrival, tier 1 for what waits,
corrected in place by the answers that have ended. What a model says of a prompt alone does not
depend on the run, so it is asked once per prompt for all rows.
"""

import random
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass
from math import log1p

from alise_bench.compare.rows import Knowledge
from alise_bench.workloads.traces import TraceRow
from alise_core.prediction import LEVELS, LengthDistribution
from alise_gateway.predict.loaded import Loaded, with_bundle, without_bundle
from alise_gateway.settings import PredictorSettings
from alise_predictor.artifact import shipped_bundle
from alise_predictor.online import Corrected, RequestFacts
from alise_predictor.prediction import RawPrediction
from alise_predictor.request import PredictionRequest, from_body, from_prompt
from alise_predictor.serving import LengthPredictor

_SETTINGS = PredictorSettings()
_HIGHEST_EXACT = 1_000_000
_NOISE = (0.4, 1.6)
_STUDY_SECONDS = 0.1
"""Between two answers of a row's history."""
MODEL = "trace"
"""Name under which requests without one are learned about."""


class Opinions:
    """What both tiers say of each prompt of a trace, each asked once.

    Args:
        rows: The trace.
        tier1: Whether to ask the encoder, some milliseconds a prompt.

    Attributes:
        model: The predictor.
        requests: What it is asked, in the trace's order.
        tier1: Whether there is an encoder and it is asked.
    """

    def __init__(self, rows: Sequence[TraceRow], *, tier1: bool = True) -> None:
        self.model = LengthPredictor.open(shipped_bundle(), tier1=tier1)
        self.requests = [request_of(row) for row in rows]
        self._first: dict[PredictionRequest, RawPrediction] = {}
        self._second: dict[PredictionRequest, RawPrediction] = {}
        self.tier1 = tier1 and self.model.has_tier1

    def of(self, rows: Sequence[TraceRow]) -> "Opinions":
        """Those of another trace; what both have in common is not asked again."""
        other = copy(self)
        other.requests = [request_of(row) for row in rows]
        return other

    def first(self, number: int) -> RawPrediction:
        """Tier 0."""
        request = self.requests[number]
        found = self._first.get(request)
        if found is None:
            found = self._first[request] = self.model.predict(request)
        return found

    def second(self, number: int) -> RawPrediction | None:
        """Both tiers; ``None`` without an encoder."""
        if not self.tier1:
            return None
        request = self.requests[number]
        found = self._second.get(request)
        if found is None:
            found = self._second[request] = self.model.refine(request, self.first(number))
        return found


def request_of(row: TraceRow) -> PredictionRequest:
    """What the predictor sees of a trace's request."""
    model = row.model or MODEL
    if row.prompt is not None:
        return from_prompt(row.prompt, model)
    return from_body({"messages": list(row.messages or ()), "tools": list(row.tools)}, model)


@dataclass(frozen=True, slots=True)
class _Asked:
    """What was said of a request in flight, to be learned from."""

    raw: RawPrediction
    corrected: Corrected


class Guesser:
    """Gives one run's lengths, and learns from its answers.

    Args:
        knowledge: What to tell.
        rows: The trace.
        opinions: Of its prompts; asked only where predictions are told.
        seed: Of shuffling and noise.
        history: Requests whose answers ended, one after the other, before the run.
    """

    def __init__(
        self,
        knowledge: Knowledge,
        rows: Sequence[TraceRow],
        opinions: Opinions,
        seed: int,
        history: Sequence[TraceRow] = (),
    ) -> None:
        self._rows = rows
        self._opinions = opinions
        self._knowledge = knowledge
        generator = random.Random(seed)  # noqa: S311
        self._source = list(range(len(rows)))
        if knowledge is Knowledge.SHUFFLED:
            generator.shuffle(self._source)
        self._factors = [generator.uniform(*_NOISE) for _ in rows]
        loaded = with_bundle(opinions.model, _SETTINGS, without_bundle(_SETTINGS))
        self._loaded: Loaded = loaded
        self._asked: dict[int, _Asked] = {}
        if history:
            self._study(history)

    def guess(self, number: int, now: float) -> LengthDistribution:
        """What is told of a request on arrival."""
        row = self._rows[number]
        if self._knowledge is Knowledge.EXACT:
            return exactly(row.output_tokens)
        if self._knowledge is Knowledge.NOISE:
            return exactly(row.output_tokens * self._factors[number])
        return self._told(number, self._opinions.first(self._source[number]), now)

    def refine(self, number: int, now: float) -> LengthDistribution | None:
        """What is told of a request that has waited for the encoder; ``None`` for nothing new."""
        if self._knowledge in {Knowledge.EXACT, Knowledge.NOISE}:
            return None
        raw = self._opinions.second(self._source[number])
        return None if raw is None else self._told(number, raw, now)

    def learn(self, number: int, now: float) -> None:
        """A request's answer has ended."""
        asked = self._asked.pop(number, None)
        if asked is None:
            return
        # Shuffled predictions are judged by the request whose prompt they are of: what is learned
        # stays right, and only whom it is told of is wrong.
        source = self._source[number]
        row = self._rows[source]
        self._loaded.learner.observe(
            row.tenant or "",
            row.model or MODEL,
            asked.raw,
            asked.corrected,
            self._facts(source),
            row.output_tokens,
            censored=False,
            now=now,
        )

    def learned(self) -> bytes:
        """Everything learned, as a gateway reads it from its snapshot file."""
        return self._loaded.learner.snapshot()

    def _study(self, history: Sequence[TraceRow]) -> None:
        before = copy(self)
        before._rows, before._opinions = history, self._opinions.of(history)
        before._source = list(range(len(history)))
        for number in range(len(history)):
            now = _STUDY_SECONDS * (number - len(history))
            before._told(number, before._opinions.first(number), now)
            before.refine(number, now)
            before.learn(number, now)

    def _told(self, number: int, raw: RawPrediction, now: float) -> LengthDistribution:
        source = self._source[number]
        row, loaded = self._rows[source], self._loaded
        corrected = loaded.learner.correct(
            row.tenant or "", row.model or MODEL, raw, self._facts(source), now
        )
        self._asked[number] = _Asked(raw, corrected)
        lowest, highest = corrected.known.widen(loaded.lowest, loaded.highest)
        return LengthDistribution.of(corrected.log_quantiles, lowest, highest, None)

    def _facts(self, number: int) -> RequestFacts:
        return RequestFacts.of(self._opinions.requests[number])


def exactly(tokens: float) -> LengthDistribution:
    """A distribution that is sure."""
    return LengthDistribution.of([log1p(tokens)] * len(LEVELS), 1, _HIGHEST_EXACT, tokens)


Refine = Callable[[int, float], LengthDistribution | None]
