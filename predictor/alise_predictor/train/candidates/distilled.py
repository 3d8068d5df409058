"""Tier 0 as it is shipped: distilled from tier 1, or taken from a bundle."""

from dataclasses import asdict
from hashlib import sha256
from pathlib import Path

import numpy as np
import onnx

from alise_predictor.artifact import TIER0
from alise_predictor.features import extract, schema_hash
from alise_predictor.train.candidates.base import (
    CandidateUnavailable,
    Context,
    Fitted,
    Prompts,
)
from alise_predictor.train.candidates.encoding import file_digest
from alise_predictor.train.candidates.fine_tuned import (
    PERMISSIVE,
    find_checkpoint,
    load_network,
    open_bundle,
)
from alise_predictor.train.candidates.sessions import open_tier0
from alise_predictor.train.distil import DistilSettings, distil
from alise_predictor.train.encoder import packaged_weights
from alise_predictor.train.examples import Examples
from alise_predictor.train.linear import LinearSettings
from alise_predictor.train.network import LengthRange
from alise_predictor.train.tier0 import HeadSettings, fit_tier0
from alise_predictor.train.tier0_graph import tier0_graph
from alise_predictor.train.tier1 import Tier1Settings, Tier1Trainer

_DIGITS = 12


class DistilledTier0:
    """Hashed linear score that learned from answers and from tier 1, as int8 ONNX."""

    name = "tier0"
    summary = "hashed n-grams, linear score, quantile head, distilled from tier 1: as shipped"

    def fit(self, examples: Examples, context: Context) -> Fitted:
        """The bundle's graph where there is one for this training set, else distil anew."""
        if context.regime == PERMISSIVE and context.files.bundle is not None:
            open_bundle(context.files.bundle)
            file = context.files.bundle / TIER0
        else:
            file = _distilled(examples, context)
        ask = open_tier0(file)
        return Fitted(
            lambda prompts: ask(context.prompts.features(prompts)),
            size_bytes=file.stat().st_size,
            onnx={self.name: file},
            predict_one=lambda request: ask([extract(request)]),
        )


def _distilled(examples: Examples, context: Context) -> Path:
    """The graph, made by the same steps as in training; kept, since these take minutes."""
    checkpoint = find_checkpoint(context)
    settings = DistilSettings()
    inputs = (file_digest(checkpoint), schema_hash(), asdict(settings), asdict(LinearSettings()),
              asdict(HeadSettings()), context.span, _digest(examples.prompts))  # fmt: skip
    digest = sha256(repr(inputs).encode()).hexdigest()[:_DIGITS]
    file = context.files.cache / f"tier0-{context.regime}-{digest}.onnx"
    if file.exists():
        return file
    if context.quick:
        raise CandidateUnavailable("distilling takes minutes: not done in a first look")
    context.log(f"{context.regime}: tier 1 labels {len(examples):,} prompts")
    span = LengthRange(*context.span)
    teacher = Tier1Trainer(packaged_weights(), span, Tier1Settings())
    teacher.network = load_network(checkpoint, context.span, float(np.median(examples.level)))
    data = distil(examples, context.prompts.corpus, teacher, settings)
    model = fit_tier0(data, span, LinearSettings(), HeadSettings())
    partial = file.with_suffix(".partial")
    onnx.save(tier0_graph(model), str(partial))
    partial.replace(file)
    return file


def _digest(prompts: Prompts) -> str:
    return sha256(np.ascontiguousarray(prompts).tobytes()).hexdigest()[:_DIGITS]
