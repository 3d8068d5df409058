"""The normal distribution, as far as log-normal lengths are asked of it. Pure."""

from math import erfc, exp, log, sqrt

Z90 = 1.2815515594
"""The standard normal's 90th percentile."""
_ROOT = sqrt(2.0)


def above(z: float) -> float:
    """Probability that a standard normal exceeds ``z``; exact in relative terms far out."""
    return 0.5 * erfc(z / _ROOT)


def sigma_of(p50: float, p90: float) -> float:
    """Standard deviation of the logarithm, from median and 90th percentile; both above 0."""
    return log(p90 / p50) / Z90


def p90_of(p50: float, sigma: float) -> float:
    """90th percentile, from the median and the standard deviation of the logarithm."""
    return p50 * exp(Z90 * sigma)
