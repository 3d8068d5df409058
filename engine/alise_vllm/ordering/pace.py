"""How fast an engine is, from how long its steps take."""

from dataclasses import dataclass

_SHARE = 0.05
"""Weight of the newest step: the last twenty count."""
_LONGEST_SECONDS = 10.0
"""A step that took longer was no step: the process slept."""


@dataclass(frozen=True, slots=True)
class Pace:
    """Time that an engine needs.

    Attributes:
        step_seconds: One token more for every running request.
        prompt_seconds: One token of a prompt.
    """

    step_seconds: float = 0.02
    prompt_seconds: float = 0.0002


class PaceMeter:
    """Keeps the pace up to date."""

    def __init__(self) -> None:
        self.pace = Pace()
        self._began: float | None = None
        self._prompt_tokens = 0

    def begin(self, now: float) -> None:
        """A step begins, and with it the one before has ended."""
        began, self._began = self._began, None
        if began is None or not 0 < now - began < _LONGEST_SECONDS:
            return
        seconds, pace = now - began, self.pace
        if not self._prompt_tokens:
            step = pace.step_seconds + _SHARE * (seconds - pace.step_seconds)
            self.pace = Pace(step, pace.prompt_seconds)
            return
        # What a step with prompts takes beyond one without is theirs.
        each = max(seconds - pace.step_seconds, 0.0) / self._prompt_tokens
        prompt = pace.prompt_seconds + _SHARE * (each - pace.prompt_seconds)
        self.pace = Pace(pace.step_seconds, prompt)

    def scheduled(self, now: float, requests: int, tokens: int) -> None:
        """Say what runs in the step that began.

        Args:
            now: When it began.
            requests: How many; after an empty step the engine may sleep, which is no pace.
            tokens: Of all of them together: one each, and what is more belongs to prompts.
        """
        if requests:
            self._began = now
            self._prompt_tokens = max(tokens - requests, 0)
