"""What predictions turned out to be worth, and what is to be expected of the next one.

Whoever predicts has learned elsewhere: from another model, other clients, an earlier week. The
answers that have ended here tell how that carries over, by a line through the logarithms of
lengths and predicted medians: a shift (all are longer than predicted), a slope (what is predicted
long is longer still) and a spread around it (how vague a prediction really is). A prediction is
read off that line.

The first answers to end are the short ones, and chance is large among few: they are weighed
against ``_PRIOR_ANSWERS`` that were as predicted. Older answers count less and less.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import exp, log, sqrt

from alise_vllm.ordering.forecast import Forecast
from alise_vllm.ordering.normal import p90_of, sigma_of

_PRIOR_ANSWERS = 30.0
_PRIOR_VARIANCE = 0.35
"""Of the logarithm of their predicted medians: a factor of 1.8 [our choice]."""
_KEEP = 0.99
"""Weight of an answer by that of the next: the last hundred count."""
_MOST_SLOPE = 3.0
_MOST_SHIFT = log(20.0)
_MOST_FACTOR = log(1_000.0)
"""No correction of one prediction is larger; the line is of no use so far from its points."""


@dataclass(slots=True)
class _Sums:
    """Of answers, each by its weight: x is the predicted logarithm, y the real one."""

    weight: float = 0.0
    x: float = 0.0
    y: float = 0.0
    xx: float = 0.0
    xy: float = 0.0
    yy: float = 0.0
    told: float = 0.0
    """Variance that the predictions stated."""

    def add(self, x: float, y: float, told: float) -> None:
        """One more; all others lose weight."""
        self.weight = _KEEP * self.weight + 1.0
        self.x = _KEEP * self.x + x
        self.y = _KEEP * self.y + y
        self.xx = _KEEP * self.xx + x * x
        self.xy = _KEEP * self.xy + x * y
        self.yy = _KEEP * self.yy + y * y
        self.told = _KEEP * self.told + told


@dataclass(frozen=True, slots=True)
class Line:
    """How predictions are read.

    Attributes:
        center: Logarithm of the median about which the slope turns.
        shift: Added to the logarithm of a median there.
        slope: Of real by predicted logarithms; 1 is as predicted.
        sigma: Of real logarithms around the line; None is as each prediction states.
    """

    center: float = 0.0
    shift: float = 0.0
    slope: float = 1.0
    sigma: float | None = None


@dataclass(slots=True)
class Calibration:
    """See the module.

    Attributes:
        line: How predictions are read now.
        answers: That it has learned from.
    """

    line: Line = field(default_factory=Line)
    answers: int = 0
    _sums: _Sums = field(default_factory=_Sums)

    def learn(self, told: Forecast, tokens: int, *, cut: bool) -> None:
        """An answer has ended.

        Args:
            told: What was said of it beforehand.
            tokens: Of the answer.
            cut: It would have become longer. Where it was shorter than predicted that says
                nothing of the prediction, and nothing is learned.
        """
        if tokens < 1 or (cut and tokens <= told.p50):
            return
        sigma = sigma_of(told.p50, told.p90)
        self._sums.add(log(told.p50), log(tokens), sigma * sigma)
        self.answers += 1
        self.line = _fit(self._sums)

    def corrected(self, told: Forecast) -> Forecast:
        """What is to be expected where this was said."""
        line = self.line
        if line.sigma is None:
            return told
        x = log(told.p50)
        change = line.shift + (line.slope - 1.0) * (x - line.center)
        p50 = exp(x + min(max(change, -_MOST_FACTOR), _MOST_FACTOR))
        return Forecast(p50, p90_of(p50, line.sigma))

    def state(self) -> Mapping[str, float]:
        """Figures, for whoever looks at the engine."""
        line = self.line
        known = {} if line.sigma is None else {"sigma": line.sigma}
        return {"shift_ratio": exp(line.shift), "slope": line.slope, **known}


def _fit(sums: _Sums) -> Line:
    weight = sums.weight
    x, y = sums.x / weight, sums.y / weight
    xx = max(0.0, sums.xx - weight * x * x)
    xy = sums.xy - weight * x * y
    yy = max(0.0, sums.yy - weight * y * y)
    prior = _PRIOR_ANSWERS * _PRIOR_VARIANCE
    slope = min(max((xy + prior) / (xx + prior), 0.0), _MOST_SLOPE)
    trust = weight / (weight + _PRIOR_ANSWERS)
    shift = min(max(trust * (y - x), -_MOST_SHIFT), _MOST_SHIFT)
    around = max(0.0, yy - 2.0 * slope * xy + slope * slope * xx)
    beside = y - x - shift
    squares = around + weight * beside * beside + _PRIOR_ANSWERS * sums.told / weight
    return Line(x, shift, slope, sqrt(squares / (weight + _PRIOR_ANSWERS)))
