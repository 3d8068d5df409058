"""A bundle in use: its model, what is learned of its errors, and the range it may predict in."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from math import log1p

from alise_gateway.settings import PredictorSettings
from alise_predictor.artifact import Manifest
from alise_predictor.online import Limits, OnlineLearner
from alise_predictor.serving import LengthPredictor

PRIOR_TOKENS = (29, 39, 74, 246, 444, 560, 730)
"""Output tokens at each of ``LEVELS`` where no bundle is there to say.

Source: quantiles of ``output_tokens`` in bench/alise_bench/data/sample_prompts.jsonl (351 answers
of two models to prompts of people and of an examination)."""
PRIOR_LOWEST, PRIOR_HIGHEST = 1, 8_192
"""Range of predictions without a bundle: what common servers allow an answer."""
NO_ARTIFACT = "none"


@dataclass(frozen=True, slots=True)
class Loaded:
    """What predictions are made with; replaced as a whole.

    Attributes:
        model: Both tiers; ``None`` where no bundle could be loaded.
        learner: Corrects the model, and learns; belongs to this model alone.
        prior: ``log(1 + tokens)`` at each level when nothing is known.
        lowest: Fewest tokens predicted.
        highest: Most tokens predicted.
        artifact: Name, version and content of the bundle, to tell it from others.
    """

    model: LengthPredictor | None
    learner: OnlineLearner
    prior: tuple[float, ...]
    lowest: float
    highest: float
    artifact: str

    @property
    def has_tier1(self) -> bool:
        """``refine`` is possible."""
        return self.model is not None and self.model.has_tier1


def without_bundle(settings: PredictorSettings) -> Loaded:
    """What serves until a bundle is there: histograms that are learned, and a prior."""
    prior = tuple(map(log1p, PRIOR_TOKENS))
    learner = _learner(prior, NO_ARTIFACT, settings)
    return Loaded(None, learner, prior, PRIOR_LOWEST, PRIOR_HIGHEST, NO_ARTIFACT)


def with_bundle(model: LengthPredictor, settings: PredictorSettings, before: Loaded) -> Loaded:
    """What serves with a bundle.

    Args:
        model: Opened and tried.
        settings: Bounds of what is learned.
        before: What served until now; what it has learned is kept where it is about the same
            bundle, and of no use otherwise, because corrections are those of one model's errors.
    """
    manifest = model.manifest
    artifact = _identity(manifest)
    prior: Sequence[float] = manifest.prior.log_quantiles
    same = before.artifact == artifact
    learner = before.learner if same else _learner(prior, artifact, settings)
    return Loaded(
        model, learner, tuple(prior), manifest.lowest_tokens, manifest.highest_tokens, artifact
    )


def _identity(manifest: Manifest) -> str:
    digests = sorted((name, facts.sha256) for name, facts in manifest.files.items())
    return f"{manifest.name} {manifest.version} {sha256(repr(digests).encode()).hexdigest()[:16]}"


def _learner(prior: Sequence[float], artifact: str, settings: PredictorSettings) -> OnlineLearner:
    limits = Limits(keys=settings.max_keys, total_bytes=settings.max_learned_bytes)
    return OnlineLearner(prior, artifact=artifact, limits=limits)
