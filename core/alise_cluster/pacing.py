"""How to wait: injected, so that tests need not."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pacing:
    """Waiting, and the chance in it.

    Attributes:
        sleep: Waits some seconds.
        chance: A number in [0, 1); spreads what many processes would do together.
    """

    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    chance: Callable[[], float] = random.random


@dataclass(frozen=True, slots=True)
class Backoff:
    """Exponential, capped, with full jitter.

    Source: Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.

    Attributes:
        first_seconds: Most that is waited after the first failure.
        most_seconds: Most that is waited ever.
    """

    first_seconds: float = 0.5
    most_seconds: float = 10.0

    def delay(self, failures: int, chance: float) -> float:
        """Seconds to wait after so many failures in a row (at least one)."""
        doubled = self.first_seconds * 2.0 ** min(max(failures - 1, 0), 32)
        return chance * min(self.most_seconds, doubled)
