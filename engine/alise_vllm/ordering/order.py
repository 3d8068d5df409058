"""The order of one engine's requests: what waits, what gives way, and how it went."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from alise_vllm.ordering.hints import Hints
from alise_vllm.ordering.line import WaitingLine
from alise_vllm.ordering.pace import PaceMeter
from alise_vllm.ordering.preemption import choose_victim
from alise_vllm.ordering.settings import OrderingSettings
from alise_vllm.ordering.work import Work

_LOOK_AGAIN_STEPS = 16
"""Whoever found nobody to give way to it asks again after so many steps: costs change slowly, and
to look at all that run is the one thing here that is not cheap."""
_STALE_SHARE = 8
"""A running request's value is computed anew when its answer has grown by an eighth."""
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
        nanoseconds: Spent in the plugin's own part of scheduling.
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
    ranks = sorted(waiting)
    shown = {str(rank): waiting[rank] for rank in ranks[:_SHOWN_CLASSES]}
    others = sum(waiting[rank] for rank in ranks[_SHOWN_CLASSES:])
    return {**shown, "others": others} if others else shown


class RequestOrder:
    """See the module.

    Args:
        settings: What it obeys.

    Attributes:
        line: Who waits.
        counts: How it went.
        settings: What it obeys now.
    """

    def __init__(self, settings: OrderingSettings) -> None:
        self.settings = settings
        self.counts = Counts()
        self._policy = settings.make_policy()
        self.line = WaitingLine(self._policy)
        self._meter = PaceMeter()
        self._numbers = 0
        self._refused: tuple[int, int] | None = None
        """Whom nobody gave way to, and in which step."""
        self._values: dict[int, tuple[int, float]] = {}
        """Values of running requests by number: up to how many tokens they hold, and which."""

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
        return Work(
            number=self._numbers,
            rank=rank if hints.rank is None else hints.rank,
            prompt_tokens=prompt_tokens,
            max_tokens=max_tokens,
            arrived=now,
            forecast=hints.forecast,
            call_seconds=hints.call_seconds,
        )

    def wait(self, work: Work, now: float) -> None:
        """It waits from now on, for the first time or again."""
        self._values.pop(work.number, None)
        self.line.add(work, now, self._meter.pace)

    def begin_step(self, now: float) -> None:
        """A step is about to be scheduled."""
        self.counts.steps += 1
        self._meter.begin(now)
        self.counts.promoted += self.line.promote_starved(now, self._meter.pace)

    def end_step(self, now: float, requests: int, tokens: int) -> None:
        """A step that began at ``now`` runs so many requests, and so many tokens of them."""
        self._meter.scheduled(now, requests, tokens)

    def asks(self, waiting: Work) -> bool:
        """Whether it is worth to look for somebody who gives way to this one."""
        if not self._policy.preempts or not self.settings.preemption_limit:
            return False
        if self._refused is None or self._refused[0] != waiting.number:
            return True
        return self.counts.steps - self._refused[1] >= _LOOK_AGAIN_STEPS

    def victim(self, waiting: Work, running: Iterable[Work]) -> Work | None:
        """Who gives way to one that waits, if anybody does.

        Args:
            waiting: The first of the line, or first of those that can run.
            running: All whose place would do, with ``generated`` up to date.
        """
        found = choose_victim(
            waiting, running, self._policy, self.settings.limits, self._meter.pace
        )
        self._refused = None if found else (waiting.number, self.counts.steps)
        return found

    def gives_way(self, work: Work) -> None:
        """A running request is preempted, whoever decided it; it does not wait yet."""
        work.preemptions += 1
        work.gave_way_at = work.generated
        work.waiting_since = None

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

    def worst_last(self, running: Iterable[Work]) -> Sequence[Work]:
        """All that run, best first: the last is whom it costs least to lose."""
        works = list(running)
        values = {work.number: self._value(work) for work in works}
        if len(self._values) > 2 * len(works):
            self._values = {number: self._values[number] for number in values}
        return sorted(works, key=lambda work: (work.rank, values[work.number], work.number))

    def change(self, settings: OrderingSettings, works: Iterable[Work]) -> None:
        """Obey other settings from now on.

        Args:
            settings: All of them.
            works: All requests that exist, waiting or not.
        """
        self.settings = settings
        self._policy = settings.make_policy()
        self._refused = None
        self._values.clear()
        self.line.reorder(self._policy, works, self._meter.pace)

    def state(self) -> Mapping[str, object]:
        """Figures and settings, for whoever looks at the engine."""
        counts, pace = self.counts, self._meter.pace
        return {
            "settings": self.settings.as_json(),
            "waiting": len(self.line),
            "waiting_by_class": _by_class(self.line.by_rank),
            "step_seconds": pace.step_seconds,
            "prompt_token_seconds": pace.prompt_seconds,
            "preemptions": {
                "slot": counts.gave_way_slot,
                "memory": counts.gave_way_memory,
                "forced": counts.forced,
            },
            "resumed": counts.resumed,
            "restored_tokens": counts.restored_tokens,
            "recomputed_tokens": counts.recomputed_tokens,
            "promoted": counts.promoted,
            "ignored_hints": counts.ignored_hints,
            "without_forecast": counts.without_forecast,
            "nanoseconds": counts.nanoseconds,
            "steps": counts.steps,
        }

    def _value(self, work: Work) -> float:
        known = self._values.get(work.number)
        if known is not None and work.generated < known[0]:
            return known[1]
        cost = self._policy.cost(work, self._meter.pace, resident=True)
        value = self._policy.value(cost, work)
        until = work.generated + 4 + work.generated // _STALE_SHARE
        self._values[work.number] = (until, value)
        return value
