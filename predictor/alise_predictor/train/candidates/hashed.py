"""Tier 0 learned from answers alone, and what is left of it when parts are taken away."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import pairwise
from zlib import crc32

import numpy as np
import onnx

from alise_predictor.features import Features, extract
from alise_predictor.request import PredictionRequest
from alise_predictor.train.candidates.base import Context, Fitted, Floats, Prompts, Quantiles
from alise_predictor.train.candidates.sessions import open_tier0
from alise_predictor.train.examples import Examples
from alise_predictor.train.linear import LinearSettings
from alise_predictor.train.network import LengthRange
from alise_predictor.train.tier0 import HeadSettings, Tier0Model, fit_tier0, head_quantiles
from alise_predictor.train.tier0_graph import quantize_table, tier0_graph

_WORD = re.compile(rb"[A-Za-z0-9_']+|[^\sA-Za-z0-9_']")
_STUDY_BUCKETS = 1 << 16
_QUICK_STEPS = 300

View = Callable[[PredictionRequest, Features], Features]


def as_shipped(_request: PredictionRequest, features: Features) -> Features:
    """Everything tier 0 sees."""
    return features


def without_numbers(_request: PredictionRequest, features: Features) -> Features:
    """The text's n-grams alone."""
    return replace(features, scalars=np.zeros_like(features.scalars))


def without_text(_request: PredictionRequest, features: Features) -> Features:
    """The request's numbers alone: every text falls into one bucket."""
    return replace(features, ids=np.zeros(1, np.int64))


def word_bigrams(request: PredictionRequest, features: Features) -> Features:
    """Plain word 1-2-grams in 65,536 buckets, without places and skips."""
    words = _WORD.findall(request.prompt.lower())
    grams = words + [b" ".join(pair) for pair in pairwise(words)]
    buckets = [crc32(gram) % _STUDY_BUCKETS for gram in grams] or [0]
    return replace(features, ids=np.array(buckets, np.int64))


@dataclass(frozen=True, slots=True)
class Hashed:
    """A hashed linear score with a small head.

    Attributes:
        name: See ``Candidate``.
        summary: See ``Candidate``.
        view: What it sees of a request.
        linear: Constants of the score.
        int8: Predict with the quantized table, as the ONNX file does.
    """

    name: str = "tier0_undistilled"
    summary: str = "tier 0 learned from answers alone, without tier 1's opinion"
    view: View = as_shipped
    linear: LinearSettings = field(default_factory=LinearSettings)
    int8: bool = True

    def fit(self, examples: Examples, context: Context) -> Fitted:
        """Least squares, then quantile regression on cross-fitted scores."""
        seen = replace(
            examples,
            features=[
                self.view(context.prompts.request(prompt), one)
                for prompt, one in zip(examples.prompts.tolist(), examples.features, strict=True)
            ],
        )
        head = HeadSettings(steps=_QUICK_STEPS) if context.quick else HeadSettings()
        model = fit_tier0(seen, LengthRange(*context.span), self.linear, head)
        if self.int8:
            model = _rounded(model)
        store = context.prompts

        def of(features: list[Features]) -> tuple[Floats, Quantiles]:
            scores = model.linear.scores(features)
            scalars = np.array([one.scalars for one in features])
            return scores, head_quantiles(model.head, scores, scalars)

        def viewed(prompts: Prompts) -> list[Features]:
            pairs = zip(prompts.tolist(), store.features(prompts), strict=True)
            return [self.view(store.request(prompt), one) for prompt, one in pairs]

        file = context.files.cache / f"{self.name}-{context.regime}.onnx"
        file.parent.mkdir(parents=True, exist_ok=True)
        onnx.save(tier0_graph(model), str(file))
        graph = open_tier0(file)
        return Fitted(
            lambda prompts: of(viewed(prompts))[1],
            score=lambda prompts: of(viewed(prompts))[0],
            size_bytes=file.stat().st_size,
            onnx={self.name: file},
            predict_one=lambda request: graph([self.view(request, extract(request))]),
        )


def _rounded(model: Tier0Model) -> Tier0Model:
    table, scale = quantize_table(model.linear.table)
    rounded = (table.astype(np.float32) * np.float32(scale)).astype(np.float32)
    return replace(model, linear=replace(model.linear, table=rounded))


def hashed_candidates() -> list[Hashed]:
    """The undistilled tier 0, and the same without each of its parts."""
    return [
        Hashed(),
        Hashed("tier0_float", "tier0_undistilled with the table in float32", int8=False),
        Hashed(
            "tier0_word_bigrams",
            "tier0_undistilled on plain word 1-2-grams in 65,536 buckets",
            view=word_bigrams,
        ),
        Hashed(
            "tier0_text_only",
            "tier0_undistilled without the numbers of the request",
            without_numbers,
        ),
        Hashed("tier0_numbers_only", "tier0_undistilled without the text's n-grams", without_text),
        Hashed(
            "tier0_no_indicators",
            "tier0_undistilled fitted without the indicators of the datasets",
            linear=LinearSettings(source_scale=0.0),
        ),
    ]
