"""Label values: the closed sets that measuring adds to the core's, and the caps on open ones."""

from enum import StrEnum
from typing import Final

from alise_gateway.domain.backend import ProbeState
from alise_gateway.domain.breaker import BreakerState

OTHER: Final = "other"
"""What a value beyond a cap is counted as."""
UNKNOWN: Final = "unknown"
"""What a request that ended before the value was known is counted as."""

_SHOWN_CHARS: Final = 128


class BackendState(StrEnum):
    """One word per backend: probing and breaker together."""

    READY = "ready"
    UNKNOWN = "unknown"
    UNHEALTHY = "unhealthy"
    DRAINING = "draining"
    NOT_READY = "not_ready"
    """The cluster says so of its pod."""
    BREAKER_OPEN = "breaker_open"
    BREAKER_HALF_OPEN = "breaker_half_open"


class ConnectionState(StrEnum):
    """States of a connection to a backend."""

    IDLE = "idle"
    BUSY = "busy"
    CONNECTING = "connecting"


class ConfigSource(StrEnum):
    """What is read again while the process runs."""

    KEYS = "keys"
    JWKS = "jwks"
    BACKENDS = "backends"
    PREDICTOR = "predictor"


class Success(StrEnum):
    """Result of something that works or does not."""

    SUCCESS = "success"
    FAILURE = "failure"


class Lesson(StrEnum):
    """What came of a finished answer whose length was predicted."""

    LEARNED = "learned"
    SPARED = "spared"
    """Others had taught enough: ``predictor.learning_per_second``."""
    LOST = "lost"
    """Too many waited to be learned from, or a defect."""


class Place(StrEnum):
    """Where an answer's length fell in what was predicted; 10, 40, 40 and 10 % are right."""

    TO_P10 = "to_p10"
    TO_P50 = "to_p50"
    TO_P90 = "to_p90"
    ABOVE = "above"


_PROBED: Final = {
    ProbeState.UNKNOWN: BackendState.UNKNOWN,
    ProbeState.UNHEALTHY: BackendState.UNHEALTHY,
    ProbeState.DRAINING: BackendState.DRAINING,
}
_BROKEN: Final = {
    BreakerState.OPEN: BackendState.BREAKER_OPEN,
    BreakerState.HALF_OPEN: BackendState.BREAKER_HALF_OPEN,
}


def backend_state(
    probe: ProbeState, breaker: BreakerState, *, is_ready: bool = True
) -> BackendState:
    """Merge all views of a backend; probing speaks first, because its word lasts longer."""
    if probe is ProbeState.HEALTHY and not is_ready:
        return BackendState.NOT_READY
    return _PROBED.get(probe) or _BROKEN.get(breaker) or BackendState.READY


def clean(value: str, chars: int = _SHOWN_CHARS) -> str:
    """``value`` cut to ``chars`` and encodable as UTF-8 (lone surrogates become ``?``)."""
    shown = value[:chars]
    return shown if shown.isascii() else shown.encode("utf-8", "replace").decode("utf-8")


class CappedLabel:
    """First ``limit`` distinct values of an open set keep their name; later ones are ``other``."""

    __slots__ = ("_known", "_limit")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._known: dict[str, str] = {}

    def label(self, value: str, *, learn: bool = True) -> str:
        """The label to count ``value`` under.

        Args:
            value: As the request carried it; empty where it is not known.
            learn: The value may take one of the places. False for values that nobody has
                vouched for, so that a client cannot fill the cap with invented ones.
        """
        label = self._known.get(value)
        if label is not None:
            return label
        if not value:
            return UNKNOWN
        if not learn or len(self._known) >= self._limit:
            return OTHER
        label = self._known[value] = clean(value)
        return label
