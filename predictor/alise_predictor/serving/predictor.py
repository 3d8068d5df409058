"""The one object that answers: how long will this request's answer be?"""

from collections.abc import Sequence
from math import isfinite
from pathlib import Path

from alise_core.prediction import PredictionSource
from alise_predictor.artifact import Bundle, Manifest, load_bundle
from alise_predictor.features import extract
from alise_predictor.prediction import RawPrediction
from alise_predictor.request import PredictionRequest
from alise_predictor.serving.errors import PredictorError
from alise_predictor.serving.tier0 import Tier0
from alise_predictor.serving.tier1 import Tier1


class LengthPredictor:
    """Both tiers of a bundle, opened; stateless and thread-safe.

    Args:
        manifest: Of the bundle.
        tier0: Its first tier.
        tier1: Its second, where there is one and it is wanted.
    """

    __slots__ = ("_bottom", "_manifest", "_offsets", "_tier0", "_tier1", "_top", "_weight")

    def __init__(self, manifest: Manifest, tier0: Tier0, tier1: Tier1 | None) -> None:
        self._manifest = manifest
        self._tier0 = tier0
        self._tier1 = tier1
        # Read for every request, and attributes of a pydantic model are slow ones.
        self._bottom, self._top = manifest.log_range
        self._offsets = dict(manifest.model_offsets)
        self._weight = manifest.tier1.weight if manifest.tier1 else 0.0

    @classmethod
    def open(cls, bundle: Bundle | Path, *, tier1: bool) -> "LengthPredictor":
        """Open a bundle's graphs and try each once.

        Args:
            bundle: A bundle or the directory of one.
            tier1: Whether to open tier 1 where the bundle has one; it costs memory.

        Raises:
            ArtifactError: The bundle cannot be used.
        """
        loaded = load_bundle(bundle) if isinstance(bundle, Path) else bundle
        facts = loaded.manifest.tier1
        second = Tier1(loaded, facts) if tier1 and facts is not None else None
        return cls(loaded.manifest, Tier0(loaded), second)

    @property
    def manifest(self) -> Manifest:
        """What the bundle says about itself."""
        return self._manifest

    @property
    def has_tier1(self) -> bool:
        """Whether ``refine`` can be called."""
        return self._tier1 is not None

    def predict(self, request: PredictionRequest) -> RawPrediction:
        """Tier 0: microseconds, for the event loop.

        Args:
            request: What is known of the request.

        Raises:
            PredictorError: The model gave no usable answer.
        """
        features = extract(request)
        values = self._tier0.log_quantiles(features)
        quantiles = self._in_range(values, self._offsets.get(request.model, 0.0))
        return RawPrediction(quantiles, PredictionSource.TIER0, features)

    def refine(self, request: PredictionRequest, first: RawPrediction) -> RawPrediction:
        """Tier 1 averaged with tier 0: milliseconds, for a worker thread.

        Args:
            request: What is known of the request.
            first: What ``predict`` said about it.

        Raises:
            PredictorError: There is no tier 1, or it gave no usable answer.
        """
        if self._tier1 is None:
            raise PredictorError("this predictor was opened without tier 1")
        values, embedding = self._tier1.read(request.prompt, first.features.scalars)
        if not isfinite(float(embedding.sum())):
            raise PredictorError("tier 1 gave an embedding that is not finite")
        second = self._in_range(values, self._offsets.get(request.model, 0.0))
        pairs = zip(second, first.log_quantiles, strict=True)
        mixed = [old + self._weight * (new - old) for new, old in pairs]
        # Again, because rounding may have put a mean beside the interval of its two terms.
        quantiles = self._in_range(mixed, 0.0)
        return RawPrediction(quantiles, PredictionSource.TIER1, first.features, embedding)

    def _in_range(self, values: Sequence[float], offset: float) -> tuple[float, ...]:
        # A sum is finite exactly when all of seven float32 values are.
        if not isfinite(sum(values)):
            raise PredictorError("the model gave quantiles that are not finite")
        bottom, top = self._bottom, self._top
        return tuple(sorted([min(max(value + offset, bottom), top) for value in values]))
