"""Times predictions and learning, round by round; every clock is passed in.

Imports NumPy and ONNX Runtime: whoever wants to know what memory they take looks before importing
this.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import count
from math import expm1

from alise_bench.load.distribution import summarize
from alise_bench.predictor.results import Call, ClockKind, MemoryAdded, Row
from alise_core.clock import Clock
from alise_predictor.artifact import Bundle
from alise_predictor.evaluation.latency_report import TIER0_BYTES, TIER1_PIECES, Cost, measure
from alise_predictor.online import OnlineLearner, RequestFacts
from alise_predictor.prediction import RawPrediction
from alise_predictor.request import from_prompt
from alise_predictor.serving import LatencyRow, LengthPredictor
from alise_predictor.serving.latency import sample_prompt

_SHOWN = {5: "5 B", 1_024: "1 KiB", 65_536: "64 KiB"}
_PROMPT_BYTES = 1_024
_PROMPTS = 64
_TENANT, _MODEL = "tenant", ""
_LEARNED = 2_500
"""Answers that the learner knows before it is timed: its stores are full by then."""
_LEARNING_SHARE = 4
"""Learning takes several times as long as tier 0: one call for so many of the other's."""
_LENGTH_STEP = 3
"""Coprime to the number of quantiles, so that a prompt's answers go through all of them."""


def measure_bundle(
    bundle: Bundle,
    *,
    rounds: int,
    calls: int,
    clocks: Mapping[ClockKind, Clock],
    resident_before: int | None,
    say: Callable[[str], None],
) -> tuple[list[Row], MemoryAdded]:
    """Time everything and weigh it.

    Args:
        bundle: Verified.
        rounds: Repetitions of everything.
        calls: Of tier 0, per row; tier 1 gets a twentieth, learning a quarter.
        clocks: Each times calls of its own.
        resident_before: This process's memory before anything of the predictor was imported.
        say: Takes a line of progress.
    """
    rows: list[Row] = []
    memory = MemoryAdded(None, None)
    pupils: list[_Pupil] = []
    for number in range(1, rounds + 1):
        say(f"round {number}/{rounds}")
        for kind, clock in clocks.items():
            cost = measure(bundle, calls, clock, resident_before)
            if not pupils:
                # Later measurements find the memory of earlier ones, and that of the pupils.
                memory = MemoryAdded(cost.tier0_bytes, cost.tier1_bytes)
                pupils = _pupils(bundle)
            rows += _tier_rows(cost, (number, kind))
            for pupil in pupils:
                timed = max(1, calls // _LEARNING_SHARE)
                rows += pupil.rows(timed, clock, (number, kind))
    return rows, memory


class _Pupil:
    """A learner in the steady state, and the predictions that it goes on learning from.

    Args:
        subject: Whose predictions they are.
        learner: Knows nothing yet.
        examples: Facts and predictions of different prompts.
    """

    def __init__(
        self,
        subject: str,
        learner: OnlineLearner,
        examples: Sequence[tuple[RequestFacts, RawPrediction]],
    ) -> None:
        self._subject = subject
        self._learner = learner
        self._examples = examples
        self._answers = count()
        for _ in range(_LEARNED):
            self._answer(None)

    def rows(self, calls: int, clock: Clock, place: tuple[int, ClockKind]) -> Iterator[Row]:
        """Time ``correct`` and ``observe`` of so many answers."""
        pairs = [self._answer(clock) for _ in range(calls)]
        for call, position in ((Call.CORRECT, 0), (Call.OBSERVE, 1)):
            times = [pair[position] for pair in pairs]
            found = summarize(times)
            total = sum(times)
            if found is not None:
                yield Row.of(
                    place,
                    call,
                    self._subject,
                    calls=found.count,
                    p50_seconds=found.p50,
                    p99_seconds=found.p99,
                    per_second=found.count / total if total > 0 else 0.0,
                )

    def _answer(self, clock: Clock | None) -> tuple[float, float]:
        """One request's prediction and answer; seconds that correcting and learning took."""
        number = next(self._answers)
        facts, raw = self._examples[number % len(self._examples)]
        now = float(number)
        tokens = round(expm1(raw.log_quantiles[number * _LENGTH_STEP % len(raw.log_quantiles)]))
        begin = _read(clock)
        corrected = self._learner.correct(_TENANT, _MODEL, raw, facts, now)
        between = _read(clock)
        self._learner.observe(
            _TENANT, _MODEL, raw, corrected, facts, max(1, tokens), censored=False, now=now
        )
        return between - begin, _read(clock) - between


def _read(clock: Clock | None) -> float:
    return 0.0 if clock is None else clock.now()


def _pupils(bundle: Bundle) -> list[_Pupil]:
    """A learner for the predictions of each tier that the bundle has."""
    predictor = LengthPredictor.open(bundle, tier1=True)
    prior = bundle.manifest.prior.log_quantiles
    requests = [from_prompt(sample_prompt(_PROMPT_BYTES, seed), "") for seed in range(_PROMPTS)]
    facts = [RequestFacts.of(request) for request in requests]
    first = [predictor.predict(request) for request in requests]
    pupils = [_Pupil(Call.TIER0, OnlineLearner(prior), list(zip(facts, first, strict=True)))]
    if predictor.has_tier1:
        pairs = zip(requests, first, strict=True)
        second = [predictor.refine(request, raw) for request, raw in pairs]
        pupils.append(
            _Pupil(Call.TIER1, OnlineLearner(prior), list(zip(facts, second, strict=True)))
        )
    return pupils


def _tier_rows(cost: Cost, place: tuple[int, ClockKind]) -> Iterator[Row]:
    for size, row in zip(TIER0_BYTES, cost.tier0, strict=True):
        yield _row(place, Call.TIER0, _SHOWN.get(size, f"{size:,} B"), row)
    for pieces, row in zip(TIER1_PIECES, cost.tier1, strict=False):
        yield _row(place, Call.TIER1, f"{pieces} pieces", row)


def _row(place: tuple[int, ClockKind], call: Call, subject: str, row: LatencyRow) -> Row:
    return Row.of(
        place,
        call,
        subject,
        calls=row.calls,
        p50_seconds=row.p50_seconds,
        p99_seconds=row.p99_seconds,
        per_second=row.calls_per_second,
    )
