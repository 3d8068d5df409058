"""Tier 0 without single data sets, and without single models."""

import numpy as np
import numpy.typing as npt

from alise_predictor.evaluation.metrics import Figures
from alise_predictor.train.candidates.base import Candidate, Fitted
from alise_predictor.train.compare.regime_runner import Setting, prepare
from alise_predictor.train.compare.regimes import IN, OUT, Regime
from alise_predictor.train.compare.results import HeldOut
from alise_predictor.train.compare.rows import GroupRows, draw_rows
from alise_predictor.train.compare.scoring import predict, score
from alise_predictor.train.dataset.split import (
    TEST,
    TRAIN,
    UNUSED,
    VAL,
    in_distribution,
    leave_model_out,
    leave_source_out,
    split_by_time,
)

MODEL_SOURCES = ("alpaca_eval", "mmlu_pro")
"""Data sets with enough models to hold a third of them out."""
_SHARE = 3
_EARLIER = 80
"""Percentile of the timestamps up to which requests train."""


def without_sources(
    regime: Regime, with_all: Fitted, candidate: Candidate, setting: Setting
) -> list[HeldOut]:
    """Leave one data set of a regime out at a time.

    Args:
        regime: Whose data sets.
        with_all: The candidate fitted on all of them.
        candidate: What is fitted anew.
        setting: As for the regime.
    """
    corpus, found = setting.corpus, []
    numbers = [corpus.sources.index(name) for name in regime.train]
    span = prepare(regime, setting)[1].span
    for source in regime.train:
        splits = leave_source_out(corpus, [source])
        splits[~np.isin(_sources(setting), numbers)] = UNUSED
        test = splits == TEST
        # Where the data set has enough test prompts, both are scored on these; otherwise on all
        # of it, which only the one that never saw it can be.
        known = _draw(test & regime.tests[IN], setting)
        rows = known or _draw(test, setting)
        if not rows:
            continue
        held = Regime(f"without-{source}", "", regime.train, splits, {OUT: test})
        without = _figures(held, candidate, rows, setting)
        same = score(predict(with_all, known), known, {}, span).grouped.macro if known else None
        found.append(HeldOut("data set", source, without, same))
        setting.log(f"without {source}: tau {_shown(without)}, with it {_shown(same)}")
    return found


def without_models(candidate: Candidate, setting: Setting) -> list[HeldOut]:
    """Leave a third of a data set's models out; their answers to test prompts are scored."""
    found = []
    for source in MODEL_SOURCES:
        models = sorted({model for name, model, _ in setting.corpus.groups() if name == source})
        if len(models) < _SHARE:
            continue
        random = np.random.default_rng(setting.seed)
        chosen = sorted(random.permutation(models)[: len(models) // _SHARE].tolist())
        only = ~(_sources(setting) == setting.corpus.sources.index(source))
        splits = leave_model_out(setting.corpus, chosen)
        splits[only] = UNUSED
        test = splits == TEST
        rows = _draw(test, setting)
        if not rows:
            continue
        held = Regime(f"models-{source}", "", (source,), splits, {OUT: test})
        full = in_distribution(setting.corpus)
        full[only] = UNUSED
        known = Regime(f"all-models-{source}", "", (source,), full, {IN: test})
        found.append(
            HeldOut("models", f"{len(chosen)} of {len(models)} models of {source}",
                    _figures(held, candidate, rows, setting),
                    _figures(known, candidate, rows, setting))
        )  # fmt: skip
        setting.log(f"{found[-1].name}: tau {_shown(found[-1].without)}")
    return found


def after(candidate: Candidate, setting: Setting) -> list[HeldOut]:
    """Train on what was sent first and score what was sent later, where there are timestamps."""
    corpus = setting.corpus
    times = [one.timestamp_s for one in corpus.prompts if one.timestamp_s is not None]
    if not times:
        return []
    boundary = float(np.percentile(times, _EARLIER))
    splits = split_by_time(corpus, boundary)
    test = splits == TEST
    rows = _draw(test, setting)
    if not rows or not (splits == TRAIN).any() or not (splits == VAL).any():
        return []
    held = Regime("earlier", "", corpus.sources, splits, {OUT: test})
    name = f"what was sent after the first {_EARLIER} %"
    found = HeldOut("time", name, _figures(held, candidate, rows, setting), None)
    setting.log(f"{name}: tau {_shown(found.without)}")
    return [found]


def _draw(mask: npt.NDArray[np.bool_], setting: Setting) -> list[GroupRows]:
    return draw_rows(setting.corpus, mask, setting.limits, calibrate=False, seed=setting.seed)


def _figures(
    regime: Regime, candidate: Candidate, rows: list[GroupRows], setting: Setting
) -> Figures:
    """Fit on a regime and score without offsets: what is asked is the order."""
    examples, context = prepare(regime, setting)
    fitted = candidate.fit(examples, context)
    return score(predict(fitted, rows), rows, {}, context.span).grouped.macro


def _sources(setting: Setting) -> npt.NDArray[np.int32]:
    """Data set of each answer."""
    corpus = setting.corpus
    return corpus.prompt_source[corpus.answers.prompt]


def _shown(figures: Figures | None) -> str:
    tau = None if figures is None else figures.tau_b
    return "-" if tau is None else f"{tau:.3f}"
