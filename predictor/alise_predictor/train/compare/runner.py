"""``alise predictor evaluate --all``: everything in order, and where it goes."""

import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import torch

from alise_core.clock import Clock, MonotonicClock
from alise_core.errors import ConfigError
from alise_predictor.serving import LengthPredictor
from alise_predictor.train.candidates.base import Candidate, Files, Fitted, PromptStore
from alise_predictor.train.candidates.catalogue import QUICK, all_candidates
from alise_predictor.train.candidates.encoding import piece_reader
from alise_predictor.train.compare.adaptation import AdaptationResult, adapt
from alise_predictor.train.compare.ceilings import corpus_ceilings, temperature_ceilings
from alise_predictor.train.compare.conditions import conditions
from alise_predictor.train.compare.held_out import after, without_models, without_sources
from alise_predictor.train.compare.latency import bundle_latency, graph_latency
from alise_predictor.train.compare.options import QUICK_LIMITS, Limits, Options
from alise_predictor.train.compare.regime_runner import RegimeRun, Setting, run_regime
from alise_predictor.train.compare.regimes import OUT, Regime, regimes
from alise_predictor.train.compare.results import HeldOut, LatencyResult, Results, as_json
from alise_predictor.train.compare.writing import summary, write_card, write_report
from alise_predictor.train.dataset import Corpus, load_corpus
from alise_predictor.train.dataset.split import check_no_leak
from alise_predictor.train.encoder import packaged_weights

_EXPLORED = "tier0_undistilled"
"""The only candidate that is fitted again for data sets and models left out: it takes seconds."""


def run_all(options: Options) -> int:
    """Compare, print and write; the exit code.

    Raises:
        AliseError: A data set is malformed, a flag is wrong, or prompts leak between splits.
    """
    # One thread: what is timed must not depend on who else is on the machine's cores.
    torch.set_num_threads(1)
    clock = MonotonicClock()
    corpus = load_corpus(
        options.data,
        permissive_only=False,
        ranks=options.ranks,
        seed=options.seed,
        cache_dir=options.cache,
    )
    results = compare(corpus, options, clock)
    if options.output is not None:
        write_report(results, options.output)
    if options.card is not None:
        write_card(corpus, options.card)
    text = json.dumps(as_json(results), indent=1) if options.as_json else summary(results)
    sys.stdout.write(text + "\n")
    return 0


def compare(
    corpus: Corpus,
    options: Options,
    clock: Clock,
    candidates: Sequence[Candidate] | None = None,
) -> Results:
    """All of it, on a corpus that is loaded.

    Args:
        corpus: Of all data sets.
        options: What is wanted.
        clock: For durations and the date.
        candidates: What is compared; by default the catalogue's, as ``options`` choose.

    Raises:
        ConfigError: ``options`` names an unknown candidate.
        LeakError: A near-duplicate is on two sides of a split.
    """
    limits = QUICK_LIMITS if options.quick else Limits()
    started = datetime.fromtimestamp(clock.unix(), UTC).date().isoformat()
    files = Files(options.cache, options.bundle, options.checkpoints)
    options.cache.mkdir(parents=True, exist_ok=True)
    setting = Setting(corpus, PromptStore(corpus), files, limits, clock, _Progress(clock),
                      options.quick, options.seed)  # fmt: skip
    wanted = list(candidates) if candidates is not None else _chosen(options)
    runs: list[RegimeRun] = []
    held_out: list[HeldOut] = []
    found = regimes(corpus)
    for regime in found:
        setting.log(f"{regime.name}: {', '.join(regime.train)} train")
        check_no_leak(corpus, regime.all_splits())
        runs.append(run_regime(regime, wanted, setting))
    explored = next((one for one in wanted if one.name == _EXPLORED), None)
    if explored is not None and not options.quick and runs:
        fitted = runs[0].fitted[_EXPLORED]
        held_out += without_sources(found[0], fitted, explored, setting)
        held_out += without_models(explored, setting)
        held_out += after(explored, setting)
    setting.log("ceilings")
    ceilings = [*temperature_ceilings(options.data), *corpus_ceilings(corpus, options.seed)]
    setting.log("latency")
    return Results(
        conditions(options, limits, corpus, started),
        [one.result for one in runs],
        held_out,
        ceilings,
        _latency(runs[0].fitted if runs else {}, files, limits),
        [] if options.quick else _adaptation(corpus, found, options.bundle, setting),
    )


def _adaptation(
    corpus: Corpus, found: Sequence[Regime], bundle: Path | None, setting: Setting
) -> list[AdaptationResult]:
    """Of the bundle, on what the first regime has not trained on."""
    mask = found[0].tests.get(OUT) if found else None
    if bundle is None or mask is None:
        return []
    predictor = LengthPredictor.open(bundle, tier1=True)
    tiers = ("tier0", "tier1") if predictor.has_tier1 else ("tier0",)
    return adapt(corpus, mask, predictor, setting.clock, tiers, setting.log)


def _chosen(options: Options) -> list[Candidate]:
    known = {candidate.name: candidate for candidate in all_candidates()}
    unknown = [name for name in options.candidates if name not in known]
    if unknown:
        raise ConfigError(f"unknown candidate {unknown[0]!r}; one of: {', '.join(known)}")
    names = options.candidates or (QUICK if options.quick else tuple(known))
    return [candidate for name, candidate in known.items() if name in names]


def _latency(fitted: dict[str, Fitted], files: Files, limits: Limits) -> list[LatencyResult]:
    graphs = {name: file for one in fitted.values() for name, file in one.onnx.items()}
    shown = {name: file for name, file in graphs.items() if name in _TIMED}
    reader = piece_reader(packaged_weights()) if shown.keys() & _TIER1 else None
    found = graph_latency(shown, reader, limits.latency_calls)
    if files.bundle is not None:
        found += bundle_latency(files.bundle, limits.latency_calls)
    return found


_TIER1 = {"tier1_float", "tier1_int8"}
_TIMED = {"tier0", "tier0_undistilled", *_TIER1}


class _Progress:
    """Lines on standard error with the time since the beginning."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._begin = clock.now()

    def __call__(self, line: str) -> None:
        sys.stderr.write(f"[{self._clock.now() - self._begin:6.0f} s] {line}\n")
        sys.stderr.flush()
