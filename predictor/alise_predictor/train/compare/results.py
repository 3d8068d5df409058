"""Everything a comparison finds out, as plain values; JSON and the report are made of these."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from alise_predictor.evaluation.metrics import Figures
from alise_predictor.train.compare.adaptation import AdaptationResult
from alise_predictor.train.compare.bootstrap import Difference
from alise_predictor.train.compare.ceilings import Ceiling


@dataclass(frozen=True, slots=True)
class PartResult:
    """One candidate on one part of a test.

    Attributes:
        macro: Mean over data sets of the mean over models.
        pooled: All rows at once: flatters, because data sets differ in length.
        by_source: Mean over models of each data set.
        curve: Promised and observed shares, mean over data sets.
        difference: Tau minus that of the reference, with its interval; ``None`` for itself.
    """

    macro: Figures
    pooled: Figures
    by_source: Mapping[str, Figures]
    curve: list[tuple[float, float]]
    difference: Difference | None = None


@dataclass(frozen=True, slots=True)
class CandidateResult:
    """One candidate in one regime.

    Attributes:
        name: Of the candidate.
        summary: What it is.
        parts: Part of the test to figures.
        size_bytes: Of what would be shipped.
        one_us: Median time of one prediction in this process, features included, microseconds
            of the thread's CPU; ``None`` where it was not timed.
        fit_seconds: Time to fit.
        notes: Further figures.
    """

    name: str
    summary: str
    parts: Mapping[str, PartResult]
    size_bytes: int
    one_us: float | None
    fit_seconds: float
    notes: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RegimeResult:
    """One training set.

    Attributes:
        name: Of the regime.
        summary: What trains and what tests.
        train_prompts: Data set to training prompts.
        tests: Part to data set to [prompts, groups, rows] scored.
        candidates: In the order of the catalogue.
        left_out: Candidate to why it was not run.
        reference: Candidate that the others' tau is compared with; ``None`` if it was not run.
    """

    name: str
    summary: str
    train_prompts: Mapping[str, int]
    tests: Mapping[str, Mapping[str, tuple[int, int, int]]]
    candidates: list[CandidateResult]
    left_out: Mapping[str, str]
    reference: str | None = None


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Tier 0 on something taken out of its training set.

    Attributes:
        kind: What was taken out.
        name: Which.
        without: Figures of the tier 0 that never saw it.
        with_it: Figures on the same rows of the one that trained on the like; ``None`` where
            there are no such rows.
    """

    kind: str
    name: str
    without: Figures
    with_it: Figures | None


@dataclass(frozen=True, slots=True)
class LatencyResult:
    """Time of one ONNX graph.

    Attributes:
        graph: Which.
        what: What is timed.
        batch: Requests at once.
        prompt_tokens: Length of each prompt.
        pieces: What the graph sees of it: word pieces, or hashed n-grams for tier 0.
        wall_us: Median wall time of one call, microseconds.
        cpu_us: Median time of the thread's CPU, microseconds.
        calls: Timed calls.
    """

    graph: str
    what: str
    batch: int
    prompt_tokens: int
    pieces: int
    wall_us: float
    cpu_us: float
    calls: int


@dataclass(frozen=True, slots=True)
class Results:
    """All of it.

    Attributes:
        conditions: Command, date, machine, versions.
        regimes: One for each training set.
        held_out: Tier 0 without single data sets and models.
        ceilings: What is reachable.
        latency: What ONNX costs.
        adaptation: What the bundle gains by learning in place; empty without a bundle.
    """

    conditions: Mapping[str, str]
    regimes: list[RegimeResult]
    held_out: list[HeldOut]
    ceilings: list[Ceiling]
    latency: list[LatencyResult]
    adaptation: list[AdaptationResult] = field(default_factory=list)


def as_json(results: Results) -> dict[str, object]:
    """Results as values ``json`` can write; floats rounded to what they are worth."""
    document = asdict(results)
    document["regimes"] = {regime["name"]: regime for regime in document["regimes"]}
    rounded = _rounded(document)
    if not isinstance(rounded, dict):
        raise TypeError("results are an object")
    return rounded


def _rounded(value: object) -> object:
    if isinstance(value, float):
        return float(f"{value:.5g}")
    if isinstance(value, Mapping):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(item) for item in value]
    return value
