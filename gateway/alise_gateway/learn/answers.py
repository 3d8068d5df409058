"""From finished requests to what is learned of them, without holding up those that run.

A finished request costs one append. A callback of its own learns a few at a time and hands the
loop back in between; what does not fit the bounded backlog is not learned, oldest first, counted.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import structlog

from alise_core.clock import Clock
from alise_gateway.domain.prediction import Prediction
from alise_gateway.learn.pace import LearningPace

_PER_TURN = 2
"""Answers learned from before the loop has its turn: about half a millisecond."""
_LOG_SECONDS = 60.0
_LOG = structlog.get_logger(__name__)


class LearningMeter(Protocol):
    """Who counts."""

    def learned(self) -> None:
        """An answer was learned from."""
        ...

    def not_learned(self) -> None:
        """An answer was not learned from: too many, or a defect."""
        ...

    def spared(self) -> None:
        """An answer was not learned from: others had taught enough."""
        ...


@dataclass(frozen=True, slots=True)
class FinishedAnswer:
    """An answer whose length is known.

    Attributes:
        prediction: What was predicted of it.
        output_tokens: As the engine counted them.
        censored: It ended at the client's limit, so that its length is a lower bound.
    """

    prediction: Prediction
    output_tokens: int
    censored: bool


class AnswerLearner:
    """See the module; used on the event loop only.

    Args:
        clock: Dates what is learned.
        meter: Counts.
        backlog: Answers that may wait to be learned from.
        pace: Which answers are learned from at all.
        call_soon: Runs a callback in one of the loop's next turns; the running loop's own
            without it.
    """

    def __init__(
        self,
        clock: Clock,
        meter: LearningMeter,
        backlog: int,
        pace: LearningPace,
        call_soon: Callable[[Callable[[], None]], object] | None = None,
    ) -> None:
        self._clock = clock
        self._meter = meter
        self._most = backlog
        self._pace = pace
        self._call_soon = call_soon or _in_the_next_turn
        self._backlog: deque[FinishedAnswer] = deque()
        self._is_scheduled = False
        self._is_paused = False
        self._logged_at: float | None = None

    @property
    def pending(self) -> int:
        """Answers not learned from yet."""
        return len(self._backlog)

    def add(self, answer: FinishedAnswer) -> None:
        """Learn from an answer when there is time."""
        prediction = answer.prediction
        if prediction.learning is None:
            return
        if not self._pace.take(prediction.tenant, prediction.model):
            self._meter.spared()
            return
        if len(self._backlog) >= self._most:
            self._backlog.popleft()
            self._meter.not_learned()
        self._backlog.append(answer)
        self._schedule()

    def pause(self) -> None:
        """Change nothing until ``resume``: another thread reads what was learned."""
        self._is_paused = True

    def resume(self) -> None:
        """Learn again."""
        self._is_paused = False
        if self._backlog:
            self._schedule()

    def finish(self) -> None:
        """Learn from all that are left, now; not while paused."""
        while self._backlog:
            self._learn(self._backlog.popleft())

    def _schedule(self) -> None:
        if not self._is_scheduled:
            self._is_scheduled = True
            self._call_soon(self._turn)

    def _turn(self) -> None:
        self._is_scheduled = False
        if self._is_paused:
            return
        for _ in range(min(_PER_TURN, len(self._backlog))):
            self._learn(self._backlog.popleft())
        if self._backlog:
            self._schedule()

    def _learn(self, answer: FinishedAnswer) -> None:
        learning = answer.prediction.learning
        if learning is None:
            return
        try:
            learning.learner.observe(
                answer.prediction.tenant,
                answer.prediction.model,
                learning.raw,
                learning.corrected,
                learning.facts,
                answer.output_tokens,
                censored=answer.censored,
                now=self._clock.unix(),
            )
        except Exception as error:
            # Boundary: a defect of learning costs one lesson, not the loop.
            self._meter.not_learned()
            self._report(error)
            return
        self._meter.learned()

    def _report(self, error: Exception) -> None:
        now = self._clock.now()
        if self._logged_at is None or now - self._logged_at >= _LOG_SECONDS:
            self._logged_at = now
            _LOG.error("learning_failed", error=type(error).__name__)


def _in_the_next_turn(callback: Callable[[], None]) -> object:
    return asyncio.get_running_loop().call_soon(callback)
