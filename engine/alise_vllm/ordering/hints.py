"""What a request says of itself, as far as it can be believed.

The gateway adds ``vllm_xargs`` to a request, which vLLM hands on as ``extra_args``::

    {"alise_p50": 120, "alise_p90": 400, "alise_class": 2, "alise_call_seconds": 1.5}

All of it is optional, and whoever reaches the engine directly can write anything. A value of no
use is left out and counted; it never ends a request.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite

from alise_vllm.ordering.forecast import USUAL_RATIO, Forecast

P50, P90 = "alise_p50", "alise_p90"
CLASS = "alise_class"
CALL_SECONDS = "alise_call_seconds"
MOST_TOKENS = 10_000_000
"""No context is as long; a prediction beyond it is a mistake."""
MOST_RANK = 1_000
MOST_CALL_SECONDS = 86_400.0


@dataclass(frozen=True, slots=True)
class Hints:
    """What is known of a request beside itself.

    Attributes:
        forecast: Its output; None is unknown.
        rank: Of its class, 0 the best; None is unknown.
        call_seconds: How long the tool call takes that its answer ends with; 0 without one.
        ignored: Values that were of no use.
    """

    forecast: Forecast | None = None
    rank: int | None = None
    call_seconds: float = 0.0
    ignored: int = 0


def read_hints(extra: object) -> Hints:
    """Read what a request's ``extra_args`` hold.

    Args:
        extra: As vLLM has it: usually a mapping or None; anything else holds nothing.
    """
    if not isinstance(extra, Mapping):
        return Hints()
    reader = _Reader(extra)
    p50 = reader.number(P50, MOST_TOKENS)
    p90 = reader.number(P90, MOST_TOKENS)
    rank = reader.rank()
    call = reader.number(CALL_SECONDS, MOST_CALL_SECONDS)
    if p90 is not None and (p50 is None or p90 < p50):
        reader.ignored += 1
        p90 = None
    forecast = None if p50 is None else Forecast(p50, p50 * USUAL_RATIO if p90 is None else p90)
    return Hints(forecast, rank, call or 0.0, reader.ignored)


class _Reader:
    """Reads single values and counts those of no use."""

    def __init__(self, extra: Mapping[object, object]) -> None:
        self._extra = extra
        self.ignored = 0

    def number(self, name: str, most: float) -> float | None:
        """A number above 0 and up to ``most``."""
        value = self._extra.get(name)
        if value is None:
            return None
        # A bool is an int in Python; an int may be too long for a float.
        fits = isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= most
        if not fits or not isfinite(value):  # type: ignore[arg-type]
            self.ignored += 1
            return None
        return float(value)  # type: ignore[arg-type]

    def rank(self) -> int | None:
        """A whole number from 0 to ``MOST_RANK``."""
        value = self._extra.get(CLASS)
        if value is None:
            return None
        if type(value) is not int or not 0 <= value <= MOST_RANK:
            self.ignored += 1
            return None
        return value
