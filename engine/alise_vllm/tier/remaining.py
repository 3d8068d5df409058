"""How many output tokens each living request is expected to still generate; pure."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from alise_vllm.ordering.hints import MOST_TOKENS, P50


@dataclass(frozen=True, slots=True)
class _Request:
    predicted: float
    generated: Callable[[], int]


class Remaining:
    """Predictions of the living requests.

    Attributes:
        ignored: Predictions that were no plain number of tokens.
    """

    def __init__(self) -> None:
        self.ignored = 0
        self._requests: dict[str, _Request] = {}

    def arrived(
        self, request_id: str, extra: Mapping[str, object] | None, generated: Callable[[], int]
    ) -> None:
        """A request comes.

        Args:
            request_id: Its name in the engine.
            extra: What it carries; anything.
            generated: Output tokens that it has by the time of asking.
        """
        told = extra.get(P50) if isinstance(extra, Mapping) else None
        if told is None:
            return
        if isinstance(told, bool) or not isinstance(told, int | float) or not _plausible(told):
            self.ignored += 1
            return
        self._requests[request_id] = _Request(float(told), generated)

    def of(self, request_id: str) -> float | None:
        """Output tokens to come, at least 1; None where nothing was predicted."""
        request = self._requests.get(request_id)
        if request is None:
            return None
        return max(1.0, request.predicted - request.generated())

    def ended(self, request_id: str) -> None:
        """A request is gone."""
        self._requests.pop(request_id, None)


def _plausible(tokens: float) -> bool:
    return math.isfinite(tokens) and 0 <= tokens <= MOST_TOKENS
