"""How differently two engines answer, by log-probabilities of the same tokens. Pure.

The tokens are fixed probe prompts and what the unchanged engine itself went on to say, at
temperature 1. Of tokens that an engine drew, ``E[log p - log q]`` *is* the KL divergence, so that
the probes tell even where a model is unsure of everything, and top-k lists hold little of it.

Source: J. Schulman, "Approximating KL Divergence" (2020), estimator k3: ``r - 1 - log r`` with
``r = q / p`` has the same mean, is never negative and spreads less.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import exp, isfinite, log, sqrt

LEAST_TOKENS = 256
"""Fewer say too little, whatever they say."""
_FLOOR = -100.0
"""Stands for what is said to be impossible (vLLM writes -9999): keeps means finite."""
_SURE_ERRORS = 2.0
"""Standard errors between a mean and its bound."""


@dataclass(frozen=True, slots=True)
class TokenScore:
    """One token in its place.

    Attributes:
        logprob: Of the token itself; NaN where the engine gave no number.
        top: Of the likeliest ones, by their ids.
        drawn: The unchanged engine drew it.
    """

    logprob: float
    top: Mapping[int, float]
    drawn: bool = False


@dataclass(frozen=True, slots=True)
class Mean:
    """Of many tokens, with its standard error."""

    value: float
    error: float
    count: int

    def exceeds(self, bound: float) -> bool | None:
        """Surely above or below; ``None`` where that cannot be said yet."""
        if self.value - _SURE_ERRORS * self.error > bound:
            return True
        return False if self.value + _SURE_ERRORS * self.error <= bound else None


@dataclass(frozen=True, slots=True)
class Quality:
    """What was found; natural logarithms.

    Attributes:
        tokens: That both engines gave a number.
        loss: Mean of what the changed engine's log-probability of a token is lower by.
        kl: Mean divergence on top-k, all others taken as one.
        drawn_kl: The same by drawn tokens; ``None`` where there are none.
        spread: Mean absolute difference; shown and not judged.
        broken: Tokens to which the changed engine gave no number, and the unchanged one did.
    """

    tokens: int
    loss: Mean
    kl: Mean
    drawn_kl: Mean | None
    spread: float
    broken: int


def compare(
    unchanged: Iterable[Sequence[TokenScore]], changed: Iterable[Sequence[TokenScore]]
) -> Quality:
    """Compare scores of the same tokens, probe by probe.

    Raises:
        ValueError: They are not of the same tokens.
    """
    pairs = [
        (one, other)
        for ours, theirs in zip(unchanged, changed, strict=True)
        for one, other in zip(ours, theirs, strict=True)
        if isfinite(one.logprob)
    ]
    good = [(one, other) for one, other in pairs if isfinite(other.logprob)]
    losses = [_floored(one.logprob) - _floored(other.logprob) for one, other in good]
    drawn = [loss for loss, (one, _) in zip(losses, good, strict=True) if one.drawn]
    return Quality(
        tokens=len(good),
        loss=_mean(losses),
        kl=_mean([top_divergence(one.top, other.top) for one, other in good]),
        drawn_kl=_mean([_k3(loss) for loss in drawn]) if drawn else None,
        spread=sum(map(abs, losses)) / max(1, len(losses)),
        broken=len(pairs) - len(good),
    )


def top_divergence(unchanged: Mapping[int, float], changed: Mapping[int, float]) -> float:
    """KL divergence on the tokens that both lists have, and one more that stands for the others.

    Returns: A lower bound of the true one, never negative.
    """
    both = [token for token in unchanged if token in changed]
    ours = [_floored(unchanged[token]) for token in both]
    theirs = [_floored(changed[token]) for token in both]
    told = sum(exp(p) * (p - q) for p, q in zip(ours, theirs, strict=True))
    rest, other = _rest(ours), _rest(theirs)
    return max(0.0, told + exp(rest) * (rest - other))


def _rest(logprobs: Sequence[float]) -> float:
    """Logarithm of what is left of 1; at least a millionth, below which rounding speaks."""
    return log(max(1e-6, 1.0 - sum(map(exp, logprobs))))


def _k3(loss: float) -> float:
    return exp(min(50.0, -loss)) - 1.0 + loss


def _floored(logprob: float) -> float:
    return min(0.0, max(_FLOOR, logprob))


def _mean(values: Sequence[float]) -> Mean:
    count = len(values)
    if not count:
        return Mean(0.0, 0.0, 0)
    mean = sum(values) / count
    spread = sum((value - mean) ** 2 for value in values) / max(1, count - 1)
    return Mean(mean, sqrt(spread / count), count)
