"""An embedding for each hashed n-gram, averaged, and a small network, all trained from nothing."""

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from alise_predictor.features import SCALARS, Features, extract
from alise_predictor.train.candidates.base import Context, Fitted, Prompts, Quantiles
from alise_predictor.train.candidates.quantile_mlp import MlpSettings, QuantileMlp, fit_mlp
from alise_predictor.train.examples import Examples

_BUCKETS, _WIDTH = 32_768, 32
_EPOCHS, _QUICK_EPOCHS = 4, 2
"""More of them fit the training prompts better and unseen ones worse."""
_BATCH = 512


class BagMlp:
    """Hashed n-gram embeddings, their mean, and a network."""

    name = "bag_mlp"
    summary = "mean of 32,768 x 32 hashed n-gram embeddings + MLP, trained from scratch"

    def fit(self, examples: Examples, context: Context) -> Fitted:
        """A few epochs with the quantile loss."""
        torch.manual_seed(context.seed)
        settings = MlpSettings(epochs=_QUICK_EPOCHS if context.quick else _EPOCHS, rate=5e-3)
        network = _Bag(context.span, replace(settings, width=96))
        network.mlp.start_at(float(np.median(examples.level)))
        network.features = examples.features
        fit_mlp(network, torch.arange(len(examples)), examples, settings)

        def of(features: list[Features]) -> Quantiles:
            network.features = features
            parts = []
            with torch.no_grad():
                for start in range(0, len(features), _BATCH):
                    rows = torch.arange(start, min(start + _BATCH, len(features)))
                    parts.append(network(rows).clamp(*context.span).numpy())
            return np.concatenate(parts)

        def log_quantiles(prompts: Prompts) -> Quantiles:
            return of(context.prompts.features(prompts))

        return Fitted(
            log_quantiles,
            size_bytes=4 * _BUCKETS * _WIDTH + network.mlp.size_bytes(),
            predict_one=lambda request: of([extract(request)]),
        )


class _Bag(nn.Module):
    """Rows of ``features`` to quantiles."""

    def __init__(self, span: tuple[float, float], settings: MlpSettings) -> None:
        super().__init__()
        self.features: list[Features] = []
        self.table = nn.EmbeddingBag(_BUCKETS, _WIDTH, mode="sum")
        nn.init.normal_(self.table.weight, std=0.1)
        self.mlp = QuantileMlp(_WIDTH + len(SCALARS), span, settings)

    def forward(self, rows: Tensor) -> Tensor:
        chosen = [self.features[row] for row in rows.tolist()]
        sizes = np.array([len(one.ids) for one in chosen])
        ids = torch.from_numpy(np.concatenate([one.ids for one in chosen]) % _BUCKETS)
        offsets = torch.from_numpy(np.cumsum(sizes) - sizes)
        root = torch.from_numpy(np.sqrt(sizes).astype(np.float32))[:, None]
        scalars = torch.from_numpy(np.array([one.scalars for one in chosen]))
        output: Tensor = self.mlp(torch.cat((self.table(ids, offsets) / root, scalars), 1))
        return output
