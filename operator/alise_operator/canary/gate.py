"""Is the changed pod as good as the unchanged ones? Pure.

Figures of the same stretch of time from both sides go in, a verdict with every figure comes out.
What was not seen often enough is not judged: the verdict is then ``NOT_YET``, never a pass.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

from alise_core.crds.kv_cache_policy import QualityGate
from alise_operator.canary.quality import LEAST_TOKENS, Mean, Quality
from alise_operator.tuning.samples import Counter, PodSample
from alise_operator.tuning.window import increase, quantile

LEAST_FINISHED = 20
LEAST_GAPS = 200
_QUANTILES = (0.5, 0.9)
_FEW_PREEMPTIONS = 0.01
"""Per finished request: what differs by less is chance."""
_MORE_USAGE = 0.2
"""Share that a request may hold more of the KV cache than at the unchanged pods: the change makes
room. What all of them hold says nothing of that: a pod with more room is given more requests."""
_LEAST_RUNNING = 1.0
"""On average; a pod that does nothing holds nothing."""


class Outcome(StrEnum):
    """Of one comparison, or of all."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_YET = "not yet"


@dataclass(frozen=True, slots=True)
class Stretch:
    """One pod over the time of the comparison: its samples, oldest first, at least one."""

    samples: tuple[PodSample, ...]

    @property
    def first(self) -> PodSample:
        """Where counting begins."""
        return self.samples[0]

    @property
    def last(self) -> PodSample:
        """Where it ends."""
        return self.samples[-1]

    @property
    def usage_each(self) -> float | None:
        """Share of the KV cache that a running request holds: of one moment it says little."""
        seen = [
            (one.usage_ratio, one.running)
            for one in self.samples
            if one.usage_ratio is not None and one.running is not None
        ]
        running = sum(each for _, each in seen)
        if not seen or running < _LEAST_RUNNING * len(seen):
            return None
        return sum(usage for usage, _ in seen) / running

    def gained(self, counter: Counter) -> float | None:
        """What a counter rose by, as long as the engine did not start anew."""
        last = self.last.counters.get(counter)
        return None if last is None else last - self.first.counters.get(counter, 0.0)

    @property
    def seconds(self) -> float:
        """Between both."""
        return self.last.at - self.first.at


@dataclass(frozen=True, slots=True)
class Check:
    """One comparison."""

    name: str
    outcome: Outcome
    text: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """All of them: failed where one failed, passed where all did."""

    checks: tuple[Check, ...]

    @classmethod
    def not_seen(cls) -> "Verdict":
        """Before the first look."""
        return cls((Check("watched", Outcome.NOT_YET, "the canary has not been looked at yet"),))

    @property
    def outcome(self) -> Outcome:
        """See the class."""
        found = {check.outcome for check in self.checks}
        for outcome in (Outcome.FAILED, Outcome.NOT_YET):
            if outcome in found:
                return outcome
        return Outcome.PASSED

    @property
    def text(self) -> str:
        """The figures; of a verdict that is no pass those that stand in its way come first."""
        own = [check.text for check in self.checks if check.outcome is self.outcome]
        others = [check.text for check in self.checks if check.outcome is not self.outcome]
        return "; ".join((*own, *others))


def judge(
    gate: QualityGate,
    canary: Stretch,
    controls: Sequence[Stretch],
    quality: Quality | None,
    observe_seconds: float,
) -> Verdict:
    """The verdict.

    Args:
        gate: The bounds.
        canary: The changed pod, since it was ready.
        controls: Unchanged pods over the same time.
        quality: Of its answers; ``None`` before they were probed.
        observe_seconds: For how long to watch at least.
    """
    checks = [
        _watched(canary, controls, observe_seconds),
        _prefix_caching(gate, canary, controls),
        _usage(canary, controls, observe_seconds),
        _per_finished(Counter.PREEMPTIONS, "preemptions", canary, controls,
                      gate.max_preemption_ratio),
        _failures(canary, controls),
        *(_gaps(gate, canary, controls, part) for part in _QUANTILES),
        *answer_checks(gate, quality),
    ]  # fmt: skip
    return Verdict(tuple(check for check in checks if check is not None))


def started_anew(last: PodSample, sample: PodSample) -> bool:
    """A counter fell."""
    return any(value < last.counters.get(name, 0.0) for name, value in sample.counters.items())


def _watched(canary: Stretch, controls: Sequence[Stretch], seconds: float) -> Check:
    if not controls:
        return Check("watched", Outcome.NOT_YET, "no unchanged pod to compare with")
    if any(started_anew(*both) for both in pairwise(canary.samples)):
        return Check("watched", Outcome.FAILED, "the canary's engine started anew meanwhile")
    text = f"watched for {canary.seconds:.0f} of {seconds:.0f} s"
    done = canary.seconds >= seconds
    return Check("watched", Outcome.PASSED if done else Outcome.NOT_YET, text)


def _prefix_caching(
    gate: QualityGate, canary: Stretch, controls: Sequence[Stretch]
) -> Check | None:
    """An engine may silently start without it where it does not go with the change."""
    if not gate.require_prefix_caching:
        return None
    had = any(one.last.prefix_caching for one in controls)
    has = canary.last.prefix_caching
    if has is None:
        return Check("prefix caching", Outcome.NOT_YET, "whether prefix caching is on is not said")
    lost = had and not has
    text = f"prefix caching {'is off' if not has else 'is on'}"
    return Check("prefix caching", Outcome.FAILED if lost else Outcome.PASSED, text)


def _usage(canary: Stretch, controls: Sequence[Stretch], seconds: float) -> Check:
    """Judged at the end only: over a short time it depends on who was given which request."""
    ours = canary.usage_each
    theirs = [one.usage_each for one in controls if one.usage_each is not None]
    if ours is None or not theirs:
        return Check("usage", Outcome.NOT_YET, "KV usage of a running request is not known")
    mean = sum(theirs) / len(theirs)
    text = f"KV usage {ours:.4f} per running request (unchanged {mean:.4f})"
    if canary.seconds < seconds:
        return Check("usage", Outcome.NOT_YET, text)
    return Check("usage", _bounded(ours, mean * (1.0 + _MORE_USAGE)), text)


def _per_finished(
    counter: Counter, name: str, canary: Stretch, controls: Sequence[Stretch], ratio: float
) -> Check:
    done = canary.gained(Counter.FINISHED) or 0.0
    others = sum(one.gained(Counter.FINISHED) or 0.0 for one in controls)
    if min(done, others) < LEAST_FINISHED:
        text = f"{done:.0f} requests ended (unchanged {others:.0f}), {LEAST_FINISHED} are needed"
        return Check(name, Outcome.NOT_YET, text)
    ours = (canary.gained(counter) or 0.0) / done
    theirs = sum(one.gained(counter) or 0.0 for one in controls) / others
    text = f"{ours:.3f} {name} per request (unchanged {theirs:.3f})"
    return Check(name, _bounded(ours, ratio * theirs + _FEW_PREEMPTIONS), text)


def _failures(canary: Stretch, controls: Sequence[Stretch]) -> Check | None:
    name = "failed allocations"
    if canary.gained(Counter.ALLOCATION_FAILURES) is None:
        return None
    return _per_finished(Counter.ALLOCATION_FAILURES, name, canary, controls, 1.0)


def _gaps(gate: QualityGate, canary: Stretch, controls: Sequence[Stretch], part: float) -> Check:
    name = f"ITL p{part * 100:.0f}"
    ours = increase(canary.first.itl, canary.last.itl)
    theirs = [increase(one.first.itl, one.last.itl) for one in controls]
    theirs = [buckets for buckets in theirs if buckets]
    pooled = tuple(
        (rows[0][0], sum(count for _, count in rows))
        for rows in zip(*theirs, strict=True)
    ) if len({tuple(bound for bound, _ in one) for one in theirs}) == 1 else ()  # fmt: skip
    counts = [buckets[-1][1] if buckets else 0.0 for buckets in (ours, pooled)]
    if min(counts) < LEAST_GAPS:
        text = f"{name} of {counts[0]:.0f} tokens (unchanged {counts[1]:.0f}), {LEAST_GAPS} needed"
        return Check(name, Outcome.NOT_YET, text)
    mine, other = quantile(ours, part) or 0.0, quantile(pooled, part) or 0.0
    text = f"{name} {1e3 * mine:.1f} ms (unchanged {1e3 * other:.1f})"
    return Check(name, _bounded(mine, gate.max_itl_ratio * other), text)


def answer_checks(gate: QualityGate, quality: Quality | None) -> tuple[Check, ...]:
    """What the probes say."""
    if quality is None:
        return (Check("answers", Outcome.NOT_YET, "its answers were not probed yet"),)
    if quality.broken:
        text = f"{quality.broken} tokens without a log-probability"
        return (Check("answers", Outcome.FAILED, text),)
    if quality.tokens < LEAST_TOKENS:
        text = f"{quality.tokens} tokens probed, {LEAST_TOKENS} are needed"
        return (Check("answers", Outcome.NOT_YET, text),)
    kls = [("KL on top-k", quality.kl)]
    if quality.drawn_kl is not None:
        kls.append(("KL of drawn tokens", quality.drawn_kl))
    return (
        _mean("mean log-probability loss", quality.loss, gate.max_mean_logprob_loss),
        *(_mean(name, kl, gate.max_kl) for name, kl in kls),
    )


def _mean(name: str, mean: Mean, bound: float) -> Check:
    outcome = {True: Outcome.FAILED, False: Outcome.PASSED, None: Outcome.NOT_YET}
    text = f"{name} {mean.value:.4f} ± {mean.error:.4f} over {mean.count} tokens (bound {bound:g})"
    return Check(name, outcome[mean.exceeds(bound)], text)


def _bounded(value: float, bound: float) -> Outcome:
    return Outcome.FAILED if value > bound else Outcome.PASSED
