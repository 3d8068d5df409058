"""The order of one engine's requests: what waits, what gives way, and how it went."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from heapq import nsmallest

from alise_vllm.ordering.calibration import Calibration
from alise_vllm.ordering.forecast import Estimate
from alise_vllm.ordering.hints import Hints
from alise_vllm.ordering.line import WaitingLine
from alise_vllm.ordering.pace import Pace, PaceMeter
from alise_vllm.ordering.preemption import gives_way, may_give_way, stand
from alise_vllm.ordering.settings import OrderingSettings
from alise_vllm.ordering.work import Work

_LOOK_AGAIN_STEPS = 16
"""Whoever found nobody to give way to it asks again after so many steps: costs change slowly."""
_SHOWN_CLASSES = 16


@dataclass(slots=True)
class Counts:
    """What happened since the start.

    Attributes:
        gave_way_slot: Requests that gave way to another for its place in the batch.
        gave_way_memory: ... for its memory.
        forced: Requests that vLLM preempted because the memory was full.
        resumed: Preempted requests that run again.
        restored_tokens: Tokens of theirs that were found again.
        recomputed_tokens: ... that had been computed and had to be once more.
        promoted: Requests that had starved.
        ignored_hints: Values of predictions that were of no use.
        without_forecast: Requests of which nothing was predicted.
        nanoseconds: Spent in the plugin's own part of scheduling, before and after vLLM's loop.
        steps: Steps that were scheduled.
    """

    gave_way_slot: int = 0
    gave_way_memory: int = 0
    forced: int = 0
    resumed: int = 0
    restored_tokens: int = 0
    recomputed_tokens: int = 0
    promoted: int = 0
    ignored_hints: int = 0
    without_forecast: int = 0
    nanoseconds: int = 0
    steps: int = 0


def _by_class(waiting: Mapping[int, int]) -> dict[str, int]:
    """The best classes by rank, and the others together."""
    # Where classes are vLLM's priorities, clients choose them: there can be as many as requests.
    shown = {str(rank): waiting[rank] for rank in nsmallest(_SHOWN_CLASSES, waiting)}
    others = sum(waiting.values()) - sum(shown.values())
    return {**shown, "others": others} if others else shown


class RequestOrder:
    """See the module.

    Args:
        settings: What it obeys.

    Attributes:
        line: Who waits.
        counts: How it went.
        calibration: What predictions turned out to be worth.
        settings: What it obeys now.
        epoch: Counts the changes of it: where requests stand is another question after each.
    """

    def __init__(self, settings: OrderingSettings) -> None:
        self.settings = settings
        self.epoch = 0
        self.counts = Counts()
        self.calibration = Calibration()
        self._policy = settings.make_policy()
        self._limits = settings.limits
        self.line = WaitingLine(self._policy)
        self._meter = PaceMeter()
        self._numbers = 0
        self._refused: tuple[int, float, int] | None = None
        """Class and cost of a request that nobody gave way to, and in which step."""

    def admit(
        self, hints: Hints, rank: int, prompt_tokens: int, max_tokens: int, now: float
    ) -> Work:
        """A request arrives; it does not wait yet.

        Args:
            hints: What it says of itself.
            rank: Of its class, where it says none.
            prompt_tokens: Tokens of the prompt.
            max_tokens: The answer is cut here.
            now: Seconds.
        """
        self._numbers += 1
        self.counts.ignored_hints += hints.ignored
        self.counts.without_forecast += hints.forecast is None
        told = forecast = hints.forecast
        if told is not None and self.settings.recalibrate:
            # What it is worth now holds for as long as it waits: a place in the line does not move.
            forecast = self.calibration.corrected(told)
        return Work(
            number=self._numbers,
            rank=rank if hints.rank is None else hints.rank,
            prompt_tokens=prompt_tokens,
            max_tokens=max_tokens,
            arrived=now,
            forecast=forecast,
            told=told,
            call_seconds=hints.call_seconds,
        )

    def wait(self, work: Work, now: float) -> None:
        """It waits from now on, for the first time or again."""
        work.standing_until = 0
        self.line.add(work, now, self.pace)

    @property
    def pace(self) -> Pace:
        """How fast the engine is."""
        return self._meter.pace

    def begin_step(self, now: float) -> None:
        """A step is about to be scheduled."""
        self.counts.steps += 1
        self._meter.begin(now)
        self.counts.promoted += self.line.promote_starved(now, self.pace)

    def end_step(self, now: float, requests: int, tokens: int) -> None:
        """A step that began at ``now`` runs so many requests, and so many tokens of them."""
        self._meter.scheduled(now, requests, tokens)

    def asks(self, waiting: Work) -> bool:
        """Whether it is worth to ask somebody to give way to this one.

        Where nobody gave way to a request, nobody does to one that is not cheaper, for a while.
        """
        policy = self._policy
        if not policy.preempts or not self._limits.c:
            return False
        if self._refused is None or self.counts.steps - self._refused[2] >= _LOOK_AGAIN_STEPS:
            return True
        cost = policy.cost(waiting, self.pace, resident=False)
        return (waiting.rank, cost) < self._refused[:2]

    @property
    def preempts(self) -> bool:
        """Whether a cheap request may take a running one's place at all."""
        return self._policy.preempts

    def may_give_way(self, work: Work) -> bool:
        """Whether a running request can be asked at all; ``generated`` is up to date."""
        policy = self._policy
        return policy.preempts and may_give_way(work, policy, self._limits)

    def exchanges(self, waiting: Work, worst: Work | None) -> bool:
        """Whether somebody gives way to one that waits.

        Args:
            waiting: The first of the line, or first of those that can run.
            worst: The worst of the candidates whose place would do; None is nobody.
        """
        found = worst is not None and gives_way(
            waiting, worst, self._policy, self._limits, self.pace
        )
        if not found:
            cost = self._policy.cost(waiting, self.pace, resident=False)
            self._refused = (waiting.rank, cost, self.counts.steps)
        return found

    def stand(self, work: Work) -> None:
        """Compute where a running request stands, ``generated`` being up to date."""
        stand(work, self._policy, self.pace)

    def gives_way(self, work: Work) -> None:
        """A running request is preempted, whoever decided it; it does not wait yet."""
        work.preemptions += 1
        work.gave_way_at = work.generated
        work.waiting_since = None

    def ended(self, work: Work, tokens: int, *, cut: bool) -> None:
        """An answer is complete.

        Args:
            work: Whose.
            tokens: Of the answer.
            cut: It would have become longer.
        """
        if work.told is not None:
            self.calibration.learn(work.told, tokens, cut=cut)

    def refine(self, work: Work, estimate: Estimate, now: float) -> None:
        """More is known of a request than was predicted, whether it runs or waits.

        Args:
            work: Which; ``generated`` is up to date.
            estimate: Asked instead of what was known so far.
            now: Seconds.
        """
        waits = self.line.remove(work)
        work.expect(estimate)
        if waits:
            self.line.add(work, now, self.pace)

    def resumed(self, had_tokens: int, restored_tokens: int) -> None:
        """A preempted request runs again.

        Args:
            had_tokens: In memory when it was preempted.
            restored_tokens: Found again.
        """
        restored = min(had_tokens, restored_tokens)
        self.counts.resumed += 1
        self.counts.restored_tokens += restored
        self.counts.recomputed_tokens += had_tokens - restored

    def change(self, settings: OrderingSettings, works: Iterable[Work]) -> None:
        """Obey other settings from now on.

        Args:
            settings: All of them.
            works: All requests that exist, waiting or not.
        """
        self.settings = settings
        self.epoch += 1
        self._policy = settings.make_policy()
        self._limits = settings.limits
        self._refused = None
        known = list(works)
        for work in known:
            work.standing_until = 0
        self.line.reorder(self._policy, known, self.pace)

    def state(self) -> Mapping[str, object]:
        """Figures and settings, for whoever looks at the engine; what only rises ends in _total."""
        counts, pace = self.counts, self.pace
        return {
            "policy": str(self.settings.policy),
            "settings": self.settings.as_json(),
            "waiting": len(self.line),
            "waiting_by_class": _by_class(self.line.by_rank),
            "step_seconds": pace.step_seconds,
            "prompt_token_seconds": pace.prompt_seconds,
            "calibration": self.calibration.state(),
            "calibration_answers_total": self.calibration.answers,
            "preemptions_total": {
                "slot": counts.gave_way_slot,
                "memory": counts.gave_way_memory,
                "forced": counts.forced,
            },
            "resumed_total": counts.resumed,
            "restored_tokens_total": counts.restored_tokens,
            "recomputed_tokens_total": counts.recomputed_tokens,
            "promoted_total": counts.promoted,
            "ignored_hints_total": counts.ignored_hints,
            "without_forecast_total": counts.without_forecast,
            "nanoseconds_total": counts.nanoseconds,
            "steps_total": counts.steps,
        }
