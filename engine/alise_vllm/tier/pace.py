"""How long the engine's steps take, from the moments at which they begin; pure."""

from alise_core.clock import Clock
from alise_core.units import Seconds
from alise_vllm.tier.worth import Line


class Pace:
    """Follows one engine.

    A step ends when the next begins, unless the engine had nothing to do in between.

    Args:
        clock: The engine's.
        steps: Learns what a step of so many tokens costs, in seconds.
    """

    def __init__(self, clock: Clock, steps: Line) -> None:
        self._clock = clock
        self._steps = steps
        self._living = 0
        self._began: Seconds | None = None
        self._tokens = 0

    def begins(self, tokens: int) -> None:
        """A step of so many tokens begins."""
        now = self._clock.now()
        if self._began is not None and self._tokens:
            self._steps.observe(self._tokens, now - self._began)
        self._began, self._tokens = now, tokens

    def arrives(self) -> None:
        """A request comes."""
        self._living += 1

    def leaves(self) -> None:
        """A request has ended."""
        self._living -= 1
        if self._living <= 0:
            self._living = 0
            self._began = None
