"""How much KV memory the requests in flight on one backend hold, and will at their worst moment.

Every request in flight gains one token a step, so the moments at which they end, counted in
steps, do not depend on how fast steps are: with requests sorted by where they end, latest first,
the memory when request i ends is ``sum over j <= i of (prompt_j - start_j)`` plus ``i * end_i``.
The largest of these is the *future peak*; it changes only when a request comes or goes or outlasts
what was predicted of it. Pure: time comes in with each call.

Source: Past-Future scheduler, arXiv 2507.10150; the same sum in LightLLM and in the artifact of
VTC. Predicted lengths in place of ``max_tokens`` are ours.
"""

from bisect import bisect_left
from dataclasses import dataclass
from itertools import accumulate
from math import inf
from typing import Protocol

from alise_core.prediction import LengthDistribution

_SHORTEST_STEP_SECONDS = 1e-4
_HORIZON_STEPS = 100.0
"""How far ahead memory is looked after, in output tokens of each request. What is predicted for
later is a sum of tails, and wrong by more than the engine's way out, a preemption, costs."""


class Quantiles(Protocol):
    """What is read of a predicted length."""

    def quantile(self, probability: float) -> float:
        """Tokens that are not exceeded with this probability."""
        ...


@dataclass(slots=True, eq=False)
class _Entry:
    """One request in flight; ``start`` and ``end`` count steps of the backend."""

    number: int
    prompt_tokens: float
    length: LengthDistribution | None
    start: float
    end: float
    predicted_tokens: float
    """At the usual quantile, before it is scaled."""
    base: float
    """KV tokens that it holds, less the steps that there have been."""


@dataclass(frozen=True, slots=True)
class _Moments:
    """Memory at the ends of those that end first, for any request that might be added.

    Attributes:
        later: How many end after them.
        bases: Sum of ``prompt - start`` of those that end later and of the first i of these.
        held: Memory at each end.
        peak: The most of it; 0 for no requests.
        after: The most memory, and one token more for each step to it, at the ends of the others.
    """

    later: int
    bases: list[float]
    held: list[float]
    peak: float
    after: list[float]


def _moments(latest_first: list[_Entry], later: int, base: float) -> _Moments:
    bases, held, raised = [base], [], []
    for count, entry in enumerate(latest_first, later + 1):
        base += entry.base
        end = entry.end
        memory = base + count * end
        bases.append(base)
        held.append(memory)
        raised.append(memory + end)
    after = [*accumulate(reversed(raised), max, initial=-inf)]
    after.reverse()
    return _Moments(later, bases, held, max(held, default=0.0), after)


class KvLedger:
    """See the module.

    Args:
        now: Monotonic seconds.
        step_seconds: Time per output token, until ``set_pace`` knows better.
        usual_quantile: The one that ``quantile`` is at first.

    Attributes:
        quantile: Of the predicted length at which a request is expected to end.
        scale: What real lengths are as a multiple of those at the usual quantile.
    """

    def __init__(
        self, now: float = 0.0, step_seconds: float = 0.02, usual_quantile: float = 0.5
    ) -> None:
        self.quantile = usual_quantile
        self.scale = 1.0
        self._usual_quantile = usual_quantile
        self._entries: dict[int, _Entry] = {}
        # Negated, because ``bisect`` wants ascending keys and the latest to end comes first.
        self._ends: list[float] = []
        self._sorted: list[_Entry] = []
        self._base = 0.0
        self._total = 0.0
        self._steps = 0.0
        self._at = now
        self._step_seconds = step_seconds
        self._ahead: _Moments | None = None

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def step_seconds(self) -> float:
        """Time per output token."""
        return self._step_seconds

    def set_pace(self, step_seconds: float, now: float) -> None:
        """From now on a token takes this long."""
        self._advance(now)
        self._step_seconds = max(_SHORTEST_STEP_SECONDS, step_seconds)

    def add(
        self, number: int, prompt_tokens: float, length: LengthDistribution | None, now: float
    ) -> None:
        """A request is on its way to the backend.

        Args:
            number: Unique among those in flight.
            prompt_tokens: Estimate.
            length: Of its answer; ``None`` for one without output.
            now: Monotonic seconds.
        """
        self._advance(now)
        expected = self.expected(length)
        predicted = 0.0 if length is None else length.quantile(self._usual_quantile)
        end = self._steps + expected
        base = prompt_tokens - self._steps
        entry = _Entry(number, prompt_tokens, length, self._steps, end, predicted, base)
        self._entries[number] = entry
        self._base += base
        self._total += prompt_tokens + expected
        self._insert(entry)

    def set_quantiles(self, usual: float, now: float) -> None:
        """Reserve at another quantile from now on, for what is in flight too.

        What was learned of lengths compares them with the old one, and starts anew.

        Args:
            usual: The quantile.
            now: Monotonic seconds.
        """
        self._advance(now)
        self.quantile = self._usual_quantile = usual
        self.scale = 1.0
        for entry in self._entries.values():
            length = entry.length
            entry.predicted_tokens = 0.0 if length is None else length.quantile(usual)
            end = entry.start + self.expected(length)
            self._total += end - entry.end
            entry.end = end
        self._sorted = sorted(self._entries.values(), key=lambda entry: -entry.end)
        self._ends = [-entry.end for entry in self._sorted]
        self._ahead = None

    def expected(self, length: Quantiles | None) -> float:
        """Output tokens for which memory is reserved."""
        return 0.0 if length is None else self.scale * length.quantile(self.quantile)

    def remove(self, number: int, now: float) -> float:
        """A request has left the backend; raises KeyError where it was not there.

        Returns: What was predicted of it at the usual quantile, before it was scaled.
        """
        self._advance(now)
        entry = self._entries.pop(number)
        self._base -= entry.base
        self._total -= entry.prompt_tokens + entry.end - entry.start
        self._take_out(entry)
        if not self._entries:
            self._base = self._total = 0.0  # rounding must not outlive an idle moment
        return entry.predicted_tokens

    def begun_within(self, steps: float, now: float) -> int:
        """Requests that were added no more than so many steps ago."""
        self._advance(now)
        since = self._steps - steps
        return sum(entry.start >= since for entry in self._sorted)

    def generated(self, number: int, now: float) -> float:
        """Estimate of the output tokens of a request so far; 0 of one that is not there."""
        entry = self._entries.get(number)
        if entry is None:
            return 0.0
        since = max(0.0, now - self._at) / self._step_seconds
        return max(0.0, self._steps + since - entry.start)

    @property
    def total(self) -> float:
        """KV tokens of all requests at their own ends: at least the future peak."""
        return self._total

    def held(self, now: float) -> float:
        """Estimate of the KV tokens in use now."""
        self._advance(now)
        return self._base + len(self._entries) * self._steps

    def booked(self, now: float) -> float:
        """KV tokens at the worst of the next moments, if nothing more is sent."""
        return self.peak_with(0.0, 0.0, now) if self._entries else 0.0

    def peak(self, now: float) -> float:
        """KV tokens in use at the worst moment to come, if nothing more is sent."""
        self._advance(now)
        self._outlast()
        return max(0.0, _moments(self._sorted, 0, 0.0).peak)

    def peak_with(self, prompt_tokens: float, output_tokens: float, now: float) -> float:
        """KV tokens at the worst of the next moments with one more request.

        Looks ``_HORIZON_STEPS`` ahead: at every end within that time, and at its own end.

        Args:
            prompt_tokens: Of the request.
            output_tokens: That it is expected to produce.
            now: Monotonic seconds.
        """
        self._advance(now)
        self._outlast()
        horizon = self._steps + _HORIZON_STEPS
        known = self._ahead
        if known is None:
            known = self._ahead = self._moments_until(horizon)
        later = known.later
        base, end = prompt_tokens - self._steps, self._steps + output_tokens
        if end >= horizon:
            # It is there at every moment, like those that end later.
            at_horizon = known.bases[0] + base + (later + 1) * horizon
            return max(at_horizon, known.after[0] + base)
        # Those that end later are not touched by it before its own end; those that end earlier
        # have one more beside them.
        position = bisect_left(self._ends, -end)
        at_horizon = known.bases[0] + later * horizon
        own = known.bases[position - later] + base + (position + 1) * end
        between = max(known.held[: position - later], default=0.0)
        return max(at_horizon, between, own, known.after[position - later] + base)

    def check(self) -> None:
        """Raise AssertionError unless the structures agree; for tests."""
        if [-end for end in self._ends] != [entry.end for entry in self._sorted]:
            raise AssertionError("the sorted ends are those of the entries")
        if self._ends != sorted(self._ends):
            raise AssertionError("the ends are sorted")
        if {entry.number for entry in self._sorted} != self._entries.keys():
            raise AssertionError("every entry is sorted in")

    def _advance(self, now: float) -> None:
        if now > self._at:
            self._steps += (now - self._at) / self._step_seconds
            self._at = now
            self._ahead = None

    def _outlast(self) -> None:
        """Predict anew whoever has gone on for longer than predicted."""
        while self._sorted and self._sorted[-1].end < self._steps:
            entry = self._sorted.pop()
            self._ends.pop()
            generated = self._steps - entry.start
            # At least an eighth more: the number of new predictions is then logarithmic.
            rest = max(1.0, generated / 8)
            if entry.length is not None:
                known = entry.length.given_more_than(generated)
                rest = max(rest, self.scale * (known.quantile(self.quantile) - generated))
            self._total += self._steps + rest - entry.end
            entry.end = self._steps + rest
            self._insert(entry)

    def _moments_until(self, horizon: float) -> _Moments:
        """Of those that end within it: what ends later is one sum."""
        later = bisect_left(self._ends, -horizon)
        soon = self._sorted[later:]
        base = self._base - sum([entry.base for entry in soon])
        return _moments(soon, later, base)

    def _insert(self, entry: _Entry) -> None:
        position = bisect_left(self._ends, -entry.end)
        self._ends.insert(position, -entry.end)
        self._sorted.insert(position, entry)
        self._ahead = None

    def _take_out(self, entry: _Entry) -> None:
        position = bisect_left(self._ends, -entry.end)
        while self._sorted[position] is not entry:
            position += 1
        del self._ends[position], self._sorted[position]
        self._ahead = None
