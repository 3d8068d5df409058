"""Whether one more request goes to a backend now or waits at the gateway. Pure.

A request is let through while the future peak of what is in flight, with it, stays within the
backend's KV memory, and while the backend's own queue is short. The estimates are corrected by the
answers, whose lengths together are compared with what was reserved for them, and by what the engine
says of itself: the memory it uses against the memory that was expected, preemptions (too many:
reserve at a higher quantile), requests in its own queue (too many: fewer in flight).
Figures that are missing, old or impossible correct nothing, and the last known capacity holds.

A backend with nothing in flight always takes a request: whatever the figures claim, nobody waits
for an idle engine.

Where several gateways use a backend, each has its part of it (``shared_room``), and what the engine
says is of the requests of all of them.
"""

from alise_core.policy import AdmissionPolicy
from alise_core.shares import Share
from alise_gateway.domain.engine_figures import EngineFigures
from alise_gateway.domain.kv_ledger import KvLedger, Quantiles
from alise_gateway.domain.shared_room import SharedRoom

_CORRECTION_BOUNDS = (0.25, 2.0)
"""Prefix sharing makes real use smaller than expected, other clients of the engine larger."""
_CORRECTION_MEMORY = 0.8
"""Share of the old correction that one scrape leaves."""
_SCALE_BOUNDS = (0.25, 4.0)
_SCALE_MEMORY = 0.985
"""The last 64 answers or so decide what lengths together are of what was predicted."""
_SCALE_PRIOR_TOKENS = 2_000.0
"""Some answers that are taken to have been just as predicted, before there were any."""
_LEAST_HELD_SHARE = 0.05
"""Below this share of the capacity a ratio of two small numbers says nothing."""
_LEAST_RUNNING = 0.9
"""Part of what is in flight that has to run; a few are always on their way to the engine or
back."""
_MOST_OTHERS = 2.0
"""Requests that run, as a multiple of a gateway's own: beyond it, its own say little of the others'
use of memory."""
_NEARLY_FULL = 0.85
"""Of the learned limit: gateways that share it leave some of it free."""
_QUANTILE_STEP = 0.1
_CALM_SECONDS = 60.0
"""Without too many preemptions for this long, the quantile goes one step back."""
_COUNT_HALF_LIFE_SECONDS = 20.0
"""Of preemptions and ends that are compared: preemptions come in bursts."""
_TRANSIT_STEPS = 2.0
"""A request reaches the engine during one step and, at the latest, runs in the one after the next.
"""
_LIMIT_GROWTH = 0.05
"""Of the learned limit, at every scrape that finds all running: a burst is over in seconds."""
_SETTLE_SECONDS = 2.0
"""A queue inside the engine has to be seen over this time: arrivals pass through it."""


class Admission:
    """Of one backend; see the module.

    Args:
        policy: Quantiles and allowances.

    Attributes:
        ledger: What is in flight.
        learned_limit: Requests in flight beyond which the engine has been seen to queue them;
            ``None`` while it takes whatever it is given. Not obeyed while ``is_blind``: nothing
            could raise it again.
        correction: Real KV use as a multiple of the expected.
        capacity_tokens: KV memory of the backend; ``None`` until it is known.
        figures: The latest scrape.
        room: What this gateway may have of it, and what others have.
        orders_itself: The engine orders its own queue by what it is told, and preempts.
    """

    def __init__(self, policy: AdmissionPolicy) -> None:
        self._policy = policy
        self.ledger = KvLedger(usual_quantile=policy.quantile)
        self._predicted_tokens = self._real_tokens = _SCALE_PRIOR_TOKENS
        self.learned_limit: float | None = None
        self.correction = 1.0
        self.capacity_tokens: int | None = None
        self.figures: EngineFigures | None = None
        self.room = SharedRoom()
        self.orders_itself = False
        self._preempted = self._ended = 0.0
        self._quantile_since = 0.0
        self._crowded_since: float | None = None

    def obey(self, policy: AdmissionPolicy, now: float) -> None:
        """Go by another policy from now on; what was learned of the engine stays.

        Args:
            policy: It.
            now: Monotonic seconds.
        """
        before, self._policy = self._policy, policy
        if policy == before:
            return
        quantiles = (policy.quantile, policy.high_quantile)
        if quantiles != (before.quantile, before.high_quantile):
            self.ledger.set_quantiles(policy.quantile, now)
            self._predicted_tokens = self._real_tokens = _SCALE_PRIOR_TOKENS
            self._quantile_since = now

    def is_blind(self, now: float) -> bool:
        """No figures of the engine are at hand that are recent enough to go by."""
        figures = self.figures
        return figures is None or now - figures.at > self._policy.stale_seconds

    def headroom(
        self,
        prompt_tokens: float,
        length: Quantiles | None,
        max_in_flight: int,
        now: float,
    ) -> float | None:
        """Part of the KV memory that stays free at the worst moment with one more request.

        Args:
            prompt_tokens: Of the request.
            length: Of its answer; ``None`` for one without output.
            max_in_flight: As configured.
            now: Monotonic seconds.

        Returns: 0 to 1, or ``None`` where the request has to wait. Where the capacity is not known,
            the free part of the allowed requests in flight.
        """
        in_flight = len(self.ledger)
        if not self.room.share.is_whole:
            return self._headroom_in_share(prompt_tokens, length, max_in_flight, now)
        limit = self.limit_of_all(max_in_flight, now)
        if in_flight >= limit:
            return None if in_flight else 0.0
        room = min(1.0 - in_flight / limit, self._free_memory(prompt_tokens, length, now))
        if room < 0:
            return None if in_flight else 0.0
        return room

    def limit(self, max_in_flight: int, now: float) -> float:
        """Requests that this gateway may have in flight now."""
        whole = self.limit_of_all(max_in_flight, now)
        if self.room.share.is_whole:
            return whole
        return self.room.most_requests(whole, blind=self.is_blind(now))

    def set_share(self, share: Share, max_in_flight: int, now: float) -> None:
        """This gateway is one of so many from now on.

        Args:
            share: Which of how many.
            max_in_flight: As configured, for all together.
            now: Monotonic seconds.
        """
        if share == self.room.share:
            return
        self.room.set_share(share)
        if self.figures is not None and not self.is_blind(now):
            self._look(self.figures, max_in_flight, now)

    def limit_of_all(self, max_in_flight: int, now: float) -> float:
        """Requests that all gateways together may have in flight.

        What was learned of the engine's queue holds for as long as the queue can be seen.
        """
        learned = self.learned_limit
        if learned is None or self.is_blind(now):
            return max_in_flight
        return min(learned, max_in_flight)

    def _headroom_in_share(
        self, prompt_tokens: float, length: Quantiles | None, max_in_flight: int, now: float
    ) -> float | None:
        """As ``headroom``: what this gateway may have decides, what all have is the score."""
        room, in_flight, blind = self.room, len(self.ledger), self.is_blind(now)
        whole = self.limit_of_all(max_in_flight, now)
        room.settle(self.ledger, (whole, self.capacity_tokens), self.correction, now)
        if in_flight >= room.most_requests(whole, blind=blind):
            return None
        capacity = self.capacity_tokens
        free = 1.0
        if capacity is not None:
            most = room.most_tokens(max(0, capacity), blind=blind)
            if self._free_of(most, prompt_tokens, length, now) < 0:
                # One is always let through, however large: who else would ever send it?
                return None if in_flight else 0.0
            free = self._free_of(capacity - room.other_tokens, prompt_tokens, length, now)
        return max(0.0, min(1.0 - (in_flight + room.others) / whole, free))

    def _free_memory(self, prompt_tokens: float, length: Quantiles | None, now: float) -> float:
        """Part of the KV memory that stays free; negative where the request does not fit."""
        capacity = self.capacity_tokens
        return 1.0 if capacity is None else self._free_of(capacity, prompt_tokens, length, now)

    def _free_of(
        self, capacity: float, prompt_tokens: float, length: Quantiles | None, now: float
    ) -> float:
        """Part of so much KV memory that stays free; negative where the request does not fit.

        Requests that end at different times need less than all of them together: where all
        together would not fit but the worst moment does, nothing is left to spare.
        """
        if capacity <= 0:
            return -1.0
        expected = self.ledger.expected(length)
        together = self.correction * (self.ledger.total + prompt_tokens + expected)
        if together <= capacity:
            return 1.0 - together / capacity
        peak = self.correction * self.ledger.peak_with(prompt_tokens, expected, now)
        return min(0.0, 1.0 - peak / capacity)

    def finished(self, number: int, output_tokens: int | None, now: float) -> None:
        """A request has left the backend.

        Memory is a sum over requests: whether each length was predicted well matters less than
        whether all of them together were.

        Args:
            number: It; raises KeyError where it was not there.
            output_tokens: Of its answer; ``None`` where that is not known or not complete.
            now: Monotonic seconds.
        """
        predicted = self.ledger.remove(number, now)
        self.room.released(now)
        if output_tokens is None or predicted <= 0 or output_tokens < 0:
            return
        low, high = _SCALE_BOUNDS
        # One answer alone cannot move the sums by more than a long one does.
        real = min(float(output_tokens), high * max(predicted, _SCALE_PRIOR_TOKENS))
        self._predicted_tokens = _SCALE_MEMORY * self._predicted_tokens + predicted
        self._real_tokens = _SCALE_MEMORY * self._real_tokens + real
        self.ledger.scale = min(max(self._real_tokens / self._predicted_tokens, low), high)

    def observe(self, figures: EngineFigures, now: float, max_in_flight: int) -> None:
        """Correct by one scrape; every figure that is missing corrects nothing.

        Args:
            figures: It.
            now: Monotonic seconds.
            max_in_flight: As configured, for all gateways together.
        """
        before, self.figures = self.figures, figures
        if figures.capacity_tokens is not None:
            self.capacity_tokens = figures.capacity_tokens
        self._correct_use(figures, now)
        self._judge_preemptions(before, figures, now)
        self._judge_queue(before, figures, now)
        self._look(figures, max_in_flight, now)

    def _look(self, figures: EngineFigures, max_in_flight: int, now: float) -> None:
        if self.room.share.is_whole:
            return
        limits = (self.limit_of_all(max_in_flight, now), self.capacity_tokens)
        fresh = self.ledger.begun_within(_TRANSIT_STEPS, now)
        self.room.look(figures, self.ledger, fresh, limits, self.correction, now)

    def _correct_use(self, figures: EngineFigures, now: float) -> None:
        capacity, usage = self.capacity_tokens, figures.usage_ratio
        if capacity is None or capacity <= 0 or usage is None or figures.waiting is None:
            return
        if figures.waiting > 0:
            return  # what waits in the engine is expected to hold memory and holds none
        own = len(self.ledger)
        if figures.running is not None and figures.running < _LEAST_RUNNING * own:
            return  # so does what is still on its way there
        held = self.ledger.held(now)
        if not self.room.share.is_whole:
            if figures.running is None or figures.running > _MOST_OTHERS * own:
                return  # nothing is known of what most of it was expected to hold
            held *= max(1.0, figures.running / max(1, own))
        if held < _LEAST_HELD_SHARE * capacity:
            return
        low, high = _CORRECTION_BOUNDS
        seen = min(max(usage * capacity / held, low), high)
        self.correction = _CORRECTION_MEMORY * self.correction + (1 - _CORRECTION_MEMORY) * seen

    def _judge_preemptions(
        self, before: EngineFigures | None, figures: EngineFigures, now: float
    ) -> None:
        if before is None or before.preemptions is None or figures.preemptions is None:
            return
        fade = 0.5 ** (max(0.0, figures.at - before.at) / _COUNT_HALF_LIFE_SECONDS)
        # Counters that went back belong to an engine that has started anew.
        preempted = max(0.0, figures.preemptions - before.preemptions)
        ended = max(0.0, (figures.finished or 0.0) - (before.finished or 0.0))
        self._preempted = fade * self._preempted + preempted
        self._ended = fade * self._ended + ended
        policy, ledger = self._policy, self.ledger
        since = now - self._quantile_since
        if self._preempted > policy.preemption_ratio * max(1.0, self._ended):
            if since >= _COUNT_HALF_LIFE_SECONDS:
                ledger.quantile = min(policy.high_quantile, ledger.quantile + _QUANTILE_STEP)
                self._quantile_since = now
        elif since > _CALM_SECONDS and ledger.quantile > policy.quantile:
            ledger.quantile = max(policy.quantile, ledger.quantile - _QUANTILE_STEP)
            self._quantile_since = now

    def _judge_queue(
        self, before: EngineFigures | None, figures: EngineFigures, now: float
    ) -> None:
        """The engine queues beyond the run-ahead: it cannot run as many as it was given."""
        waiting, running = figures.waiting, figures.running
        if waiting is None or running is None:
            return
        # Who came during a step waits for the next one, which is not for want of room.
        if waiting <= self._run_ahead + self._on_their_way(before, figures, now):
            self._crowded_since = None
            if self.learned_limit is not None and self._is_full(waiting + running):
                # Everything that it was given is running: it may be able to run more.
                self.learned_limit += max(1.0, _LIMIT_GROWTH * self.learned_limit)
            return
        if self._crowded_since is None:
            self._crowded_since = now
        elif now - self._crowded_since >= _SETTLE_SECONDS:
            seen = max(1.0, running + self._run_ahead)
            self.learned_limit = min(self.learned_limit or seen, seen)

    @property
    def _run_ahead(self) -> int:
        policy = self._policy
        return policy.ordering_run_ahead if self.orders_itself else policy.run_ahead

    def _on_their_way(
        self, before: EngineFigures | None, figures: EngineFigures, now: float
    ) -> float:
        """Requests that have just reached the engine, of all gateways."""
        own = self.ledger.begun_within(_TRANSIT_STEPS, now)
        if self.room.share.is_whole or before is None:
            return own
        seconds = figures.at - before.at
        ended = (figures.finished or 0.0) - (before.finished or 0.0)
        if seconds <= 0 or ended <= 0:
            return own
        # As many come as go while it is busy.
        return max(own, ended / seconds * _TRANSIT_STEPS * self.ledger.step_seconds)

    def _is_full(self, in_engine: int) -> bool:
        """The engine has as much as was learned that it takes."""
        learned = self.learned_limit
        if learned is None:
            return False
        if self.room.share.is_whole:
            return len(self.ledger) >= learned - 1
        return in_engine >= _NEARLY_FULL * learned
