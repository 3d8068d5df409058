"""What gateways in front of the simulated pool would predict of its memory.

The gateway's own arithmetic over what a gateway knows: when it sent a request, how long its answer
was predicted to be, and how fast the pool was of late. What engines are really at it does not know.
"""

from math import exp, log1p
from statistics import NormalDist

from alise_bench.tuner.day import HIGH_FACTOR, Asked
from alise_bench.tuner.world import World
from alise_core.prediction import LEVELS, LengthDistribution
from alise_gateway.domain.future_peak import Held, future_peak, high_peak

_HIGH = 0.9
_SIGMA = log1p(HIGH_FACTOR - 1.0) / NormalDist().inv_cdf(_HIGH)
_FACTORS = tuple(exp(_SIGMA * NormalDist().inv_cdf(level)) for level in LEVELS)
"""Of the median, at each level: predictions are as wide as their p90 says."""
_MOST_TOKENS = 131_072.0


def predicted_peak(world: World, now: float) -> tuple[float, float]:
    """KV tokens at the worst moment to come, and what that hardly exceeds.

    Args:
        world: With the requests that were sent and are not answered.
        now: Seconds of the day.
    """
    middles: list[Held] = []
    highs: list[Held] = []
    for number, sent_at in world.sent.items():
        item = world.asked[number]
        generated = (now - sent_at) / world.token_seconds
        middle, high = _rest(item, generated)
        middles.append((item.prompt_tokens + generated, middle))
        highs.append((item.prompt_tokens + generated, high))
    peak = future_peak(middles)
    return peak, high_peak(peak, future_peak(highs), len(middles))


def _rest(item: Asked, generated: float) -> tuple[float, float]:
    """Tokens still to come, p50 and p90: predicted anew where they were outlasted."""
    middle, high = item.median_tokens - generated, item.high_tokens - generated
    if middle > 0:
        return middle, high
    quantiles = [log1p(item.median_tokens * factor) for factor in _FACTORS]
    known = LengthDistribution.of(quantiles, 1.0, _MOST_TOKENS, None).given_more_than(generated)
    return (
        max(0.0, known.quantile(0.5) - generated),
        high if high > 0 else max(0.0, known.quantile(_HIGH) - generated),
    )
