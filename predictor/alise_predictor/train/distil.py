"""Tier 1's opinion in the targets of tier 0.

One answer, or a few, say what a prompt's level is only up to their own scatter; a trained encoder
has seen how prompts like it were answered. The mean of the two is the better target.
"""

from dataclasses import dataclass, replace

import numpy as np

from alise_predictor.train.dataset.corpus import Corpus
from alise_predictor.train.examples import Examples
from alise_predictor.train.tier1 import Tier1Trainer


@dataclass(frozen=True, slots=True)
class DistilSettings:
    """Constants of the distillation.

    Attributes:
        share: Of tier 1's opinion in the level of a prompt; the rest is its answers'.
    """

    share: float = 0.5


def distil(
    examples: Examples, corpus: Corpus, teacher: Tier1Trainer, settings: DistilSettings
) -> Examples:
    """The same examples with tier 1's opinion in their levels.

    Args:
        examples: Prompts.
        corpus: Where they are.
        teacher: A trained tier 1.
        settings: Constants.
    """
    requests = [corpus.prompts[index].request for index in examples.prompts]
    opinion = teacher.log_quantiles(requests, examples.features).astype(np.float64)
    median = opinion[:, opinion.shape[1] // 2]
    level = (1.0 - settings.share) * examples.level + settings.share * median
    return replace(examples, level=level)
