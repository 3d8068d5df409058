"""What computing prompts costs, from the moments at which the engine's steps begin; pure."""

from alise_core.clock import Clock
from alise_core.units import Seconds
from alise_vllm.tier.worth import NEW, Curve


class Pace:
    """Follows one engine.

    A step ends when the next begins, unless the engine had nothing to do in between. A step that
    computes parts of prompts costs so much more than one that only generates; and no less than
    the prompts' share of the tokens that a step can take, for where steps are as long with prompts
    as without, a prompt still takes as many of them.

    Args:
        clock: The engine's.
        prefills: Learns what tokens of prompts cost, in seconds.
        most_tokens: That one step computes.
    """

    def __init__(self, clock: Clock, prefills: Curve, most_tokens: int) -> None:
        self._clock = clock
        self._prefills = prefills
        self._most_tokens = max(1, most_tokens)
        self._living = 0
        self._generating = 0.0
        self._began: Seconds | None = None
        self._tokens = self._requests = 0

    def begins(self, tokens: int, requests: int) -> None:
        """A step begins.

        Args:
            tokens: That it computes.
            requests: That take part; each generates at most one of the tokens.
        """
        now = self._clock.now()
        if self._began is not None and self._tokens:
            self._ends(now - self._began)
        self._began, self._tokens, self._requests = now, tokens, requests

    def arrives(self) -> None:
        """A request comes."""
        self._living += 1

    def leaves(self) -> None:
        """A request has ended."""
        self._living -= 1
        if self._living <= 0:
            self._living = 0
            self._began = None

    def _ends(self, seconds: float) -> None:
        prompt_tokens = self._tokens - self._requests
        if prompt_tokens > 0:
            share = min(1.0, prompt_tokens / self._most_tokens)
            cost = max(seconds - self._generating, seconds * share)
            self._prefills.observe(prompt_tokens, cost)
        elif self._generating:
            self._generating += NEW * (seconds - self._generating)
        else:
            self._generating = seconds
