"""The pre-trained encoder as it is, and a small network on its output, with different losses."""

from dataclasses import dataclass, replace

import numpy as np
import torch

from alise_predictor.features import extract
from alise_predictor.request import PredictionRequest
from alise_predictor.train.candidates.base import MEDIAN, Context, Fitted, Prompts, Quantiles
from alise_predictor.train.candidates.encoding import FrozenEncoder
from alise_predictor.train.candidates.quantile_mlp import (
    Inputs,
    MlpSettings,
    QuantileMlp,
    fit_mlp,
)
from alise_predictor.train.candidates.rank_scale import fit_scale
from alise_predictor.train.examples import Examples

_QUICK_EPOCHS = 4
_SCALE = 8.0
"""A unit vector of 384 numbers has small ones: brought to the order of the other inputs."""


@dataclass(frozen=True, slots=True)
class FrozenMlp:
    """Frozen sentence embedding and request numbers into an MLP.

    Attributes:
        name: See ``Candidate``.
        summary: See ``Candidate``.
        settings: Losses and other constants.
    """

    name: str
    summary: str
    settings: MlpSettings

    def fit(self, examples: Examples, context: Context) -> Fitted:
        """Train the network on embeddings that are computed once."""
        torch.manual_seed(context.seed)
        encoder = FrozenEncoder(context)
        store = context.prompts

        def inputs(prompts: Prompts) -> Inputs:
            vectors = encoder.rows([store.text(prompt) for prompt in prompts.tolist()])
            return np.concatenate((vectors * _SCALE, store.scalars(prompts)), axis=1)

        settings = replace(self.settings, epochs=_QUICK_EPOCHS) if context.quick else self.settings
        matrix = inputs(examples.prompts)
        network = QuantileMlp(matrix.shape[1], context.span, settings)
        network.start_at(float(np.median(examples.level)))
        fit_mlp(network, torch.from_numpy(matrix), examples, settings)
        predict = network.predict
        if not settings.pinball_weight:
            predict = _scaled(network, inputs(context.validation.prompts), context)

        def predict_one(request: PredictionRequest) -> Quantiles:
            vector = encoder.encode([request.prompt.decode("utf-8", "replace")]) * _SCALE
            return predict(np.concatenate((vector, extract(request).scalars[None]), axis=1))

        return Fitted(
            lambda prompts: predict(inputs(prompts)),
            size_bytes=encoder.weights.stat().st_size + network.size_bytes(),
            predict_one=predict_one,
        )


class _Scaled:
    def __init__(self, network: QuantileMlp, held_out: Inputs, context: Context) -> None:
        self._network = network
        self._scale = fit_scale(
            self._scores(held_out), context.validation, context.span, context.seed
        )

    def _scores(self, inputs: Inputs) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
        with torch.no_grad():
            output = self._network(torch.from_numpy(inputs))[:, MEDIAN].double().numpy()
        return np.asarray(output, np.float64)

    def __call__(self, inputs: Inputs) -> Quantiles:
        return self._scale.log_quantiles(self._scores(inputs))


def _scaled(network: QuantileMlp, held_out: Inputs, context: Context) -> _Scaled:
    return _Scaled(network, held_out, context)


def frozen_candidates() -> list[FrozenMlp]:
    """One for each loss."""
    return [
        FrozenMlp(
            "frozen_pinball",
            "frozen MiniLM embedding + numbers -> MLP; quantile loss",
            MlpSettings(),
        ),
        FrozenMlp(
            "frozen_listmle",
            "the same with ListMLE; scaled on validation prompts",
            MlpSettings(pinball_weight=0.0, list_weight=1.0),
        ),
        FrozenMlp(
            "frozen_margin",
            "the same with the pairwise margin; scaled on validation prompts",
            MlpSettings(pinball_weight=0.0, margin_weight=1.0),
        ),
        FrozenMlp(
            "frozen_pinball_listmle",
            "the same with quantile loss + 0.05 x ListMLE",
            MlpSettings(list_weight=0.05),
        ),
    ]
