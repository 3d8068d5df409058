"""Fits every candidate on one training set and scores it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from alise_core.clock import Clock
from alise_predictor.train.candidates.base import (
    Candidate,
    CandidateUnavailable,
    Context,
    Files,
    Fitted,
    PromptStore,
)
from alise_predictor.train.compare.bootstrap import tau_differences
from alise_predictor.train.compare.options import Limits
from alise_predictor.train.compare.regimes import IN, Regime
from alise_predictor.train.compare.results import CandidateResult, PartResult, RegimeResult
from alise_predictor.train.compare.rows import GroupRows, draw_rows
from alise_predictor.train.compare.scoring import Predictions, Scored, predict, score
from alise_predictor.train.compare.timing import time_one
from alise_predictor.train.dataset.corpus import Corpus
from alise_predictor.train.dataset.split import TRAIN, VAL
from alise_predictor.train.examples import Examples, gather

REFERENCES = ("tier0", "tier0_undistilled")
"""What every other candidate is compared with: the first of these that was run."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What all regimes of a comparison share.

    Attributes:
        corpus: Prompts and answers.
        store: The same prompts with their features.
        files: For candidates.
        limits: How much is looked at.
        clock: For how long fits take.
        log: Told what is being done.
        quick: A first look.
        seed: Of every draw.
    """

    corpus: Corpus
    store: PromptStore
    files: Files
    limits: Limits
    clock: Clock
    log: Callable[[str], None]
    quick: bool
    seed: int


@dataclass(frozen=True, slots=True)
class RegimeRun:
    """A regime's results and its fitted candidates."""

    result: RegimeResult
    fitted: dict[str, Fitted]


def run_regime(regime: Regime, candidates: Sequence[Candidate], setting: Setting) -> RegimeRun:
    """Fit, predict and score every candidate of one regime."""
    examples, context = prepare(regime, setting)
    tests = {
        part: draw_rows(setting.corpus, mask, setting.limits,
                        calibrate=part != IN, seed=setting.seed)
        for part, mask in regime.tests.items()
    }  # fmt: skip
    tests = {part: groups for part, groups in tests.items() if groups}
    fitted: dict[str, Fitted] = {}
    left_out: dict[str, str] = {}
    found: list[CandidateResult] = []
    predictions: dict[str, dict[str, Predictions]] = {}
    for candidate in candidates:
        begin = setting.clock.now()
        try:
            one = candidate.fit(examples, replace(context, fitted=fitted))
        except CandidateUnavailable as error:
            left_out[candidate.name] = str(error)
            setting.log(f"{regime.name}: {candidate.name} left out: {error}")
            continue
        seconds = setting.clock.now() - begin
        fitted[candidate.name] = one
        predictions[candidate.name] = {part: predict(one, rows) for part, rows in tests.items()}
        parts = {
            part: _plain(score(predictions[candidate.name][part], rows,
                               examples.offsets if part == IN else None, context.span))
            for part, rows in tests.items()
        }  # fmt: skip
        found.append(
            CandidateResult(candidate.name, candidate.summary, parts, one.size_bytes,
                            time_one(one, quick=setting.quick), seconds, one.notes)
        )  # fmt: skip
        shown = ", ".join(f"{part} {_tau(result)}" for part, result in parts.items())
        setting.log(f"{regime.name}: {candidate.name}: tau {shown} ({seconds:.0f} s)")
    result = RegimeResult(
        regime.name,
        regime.summary,
        _counts(examples, setting.corpus),
        {part: _sizes(groups) for part, groups in tests.items()},
        _with_differences(found, predictions, tests, setting),
        left_out,
        _reference(predictions),
    )
    return RegimeRun(result, fitted)


def prepare(regime: Regime, setting: Setting) -> tuple[Examples, Context]:
    """Training examples of a regime, and what candidates get besides."""
    most = setting.limits.train_prompts
    examples = gather(setting.corpus, regime.splits, [TRAIN], most_prompts=most, seed=setting.seed)
    held_out = gather(setting.corpus, regime.splits, [VAL], most_prompts=most, seed=setting.seed)
    setting.store.add(examples)
    setting.store.add(held_out)
    context = Context(
        regime=regime.name,
        prompts=setting.store,
        validation=held_out,
        span=examples.log_span(),
        files=setting.files,
        fitted={},
        log=setting.log,
        quick=setting.quick,
        seed=setting.seed,
    )
    return examples, context


def _plain(scored: Scored) -> PartResult:
    grouped = scored.grouped
    return PartResult(grouped.macro, grouped.pooled, grouped.by_source, scored.curve)


def _with_differences(
    found: list[CandidateResult],
    predictions: dict[str, dict[str, Predictions]],
    tests: dict[str, list[GroupRows]],
    setting: Setting,
) -> list[CandidateResult]:
    reference = _reference(predictions)
    if reference is None:
        return found
    limits = setting.limits
    results = {candidate.name: dict(candidate.parts) for candidate in found}
    for part, groups in tests.items():
        scores = {
            name: [one[part].score[one[part].rows(group.prompts)] for group in groups]
            for name, one in predictions.items()
        }
        differences = tau_differences(
            groups, scores, reference,
            models=limits.bootstrap_models, resamples=limits.resamples, seed=setting.seed,
        )  # fmt: skip
        for name, difference in differences.items():
            results[name][part] = replace(results[name][part], difference=difference)
    return [replace(candidate, parts=results[candidate.name]) for candidate in found]


def _reference(predictions: Mapping[str, object]) -> str | None:
    return next((name for name in REFERENCES if name in predictions), None)


def _counts(examples: Examples, corpus: Corpus) -> dict[str, int]:
    numbers, counts = np.unique(examples.source, return_counts=True)
    return {corpus.sources[number]: int(count)
            for number, count in zip(numbers.tolist(), counts, strict=True)}  # fmt: skip


def _sizes(groups: list[GroupRows]) -> dict[str, tuple[int, int, int]]:
    sizes = {}
    for source in dict.fromkeys(group.source for group in groups):
        members = [group for group in groups if group.source == source]
        prompts = np.unique(np.concatenate([group.prompts for group in members]))
        sizes[source] = (len(prompts), len(members), sum(len(one.prompts) for one in members))
    return sizes


def _tau(result: PartResult) -> str:
    tau = result.macro.tau_b
    return "-" if tau is None else f"{tau:.3f}"
