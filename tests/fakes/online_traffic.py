"""Traffic for online learning: requests whose lengths follow known rules, without randomness."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import exp, log1p

import numpy as np

from alise_core.prediction import PredictionSource
from alise_predictor.features import extract
from alise_predictor.online import Corrected, OnlineLearner, RequestFacts
from alise_predictor.prediction import Embedding, RawPrediction
from alise_predictor.request import from_prompt

NORMAL = (-2.054, -1.282, -0.674, 0.0, 0.674, 1.282, 2.054)
"""The standard normal distribution at each of ``LEVELS``."""

PRIOR = tuple(5.0 + 0.9 * value for value in NORMAL)
NO_FACTS = RequestFacts()


def raw(
    prompt: str, log_median: float = 5.0, spread: float = 0.6, embedding: Embedding | None = None
) -> RawPrediction:
    """What a model might say of a prompt."""
    return RawPrediction(
        tuple(log_median + spread * value for value in NORMAL),
        PredictionSource.TIER0 if embedding is None else PredictionSource.TIER1,
        extract(from_prompt(prompt, "m")),
        embedding,
    )


def learner() -> OnlineLearner:
    return OnlineLearner(PRIOR, artifact="a")


@dataclass
class Traffic:
    """One key's traffic through a learner: correct, then observe."""

    to: OnlineLearner
    tenant: str = "t"
    model: str = "m"
    now: float = 0.0
    corrections: list[Corrected] = field(default_factory=list)

    def ask(self, said: RawPrediction | None, facts: RequestFacts = NO_FACTS) -> Corrected:
        return self.to.correct(self.tenant, self.model, said, facts, self.now)

    def finish(
        self,
        said: RawPrediction | None,
        tokens: int,
        *,
        censored: bool = False,
        facts: RequestFacts = NO_FACTS,
    ) -> Corrected:
        """One request from arrival to its last token."""
        corrected = self.ask(said, facts)
        self.to.observe(
            self.tenant, self.model, said, corrected, facts, tokens, censored=censored, now=self.now
        )
        self.now += 1.0
        self.corrections.append(corrected)
        return corrected


def words(rng: np.random.Generator, count: int = 30) -> str:
    """A prompt of words out of a small vocabulary."""
    return " ".join(f"word{number}" for number in rng.integers(0, 400, count))


def tokens(log_length: float) -> int:
    """Whole tokens of ``log(1 + tokens)``."""
    return max(0, round(exp(log_length) - 1))


def medians(corrections: Sequence[Corrected]) -> list[float]:
    return [corrected.log_quantiles[3] for corrected in corrections]


def log_tokens(count: int) -> float:
    return log1p(count)
