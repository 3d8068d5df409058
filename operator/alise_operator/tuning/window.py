"""From samples of one pod to its figures over a window. Pure; the caller brings the time.

A counter that falls is an engine that started anew: what was before it is forgotten. A gap, in
which nothing was heard, counts for nothing: means are over the time that was seen, and the figures
are doubted when that is less than half of the window. Rates over a gap are right, since counters
go on in it.
"""

from collections import deque
from itertools import pairwise
from math import inf, isfinite

from alise_operator.tuning.doubts import doubts_of
from alise_operator.tuning.observed import Doubt, DoubtKind, PluginObserved, PodObserved
from alise_operator.tuning.samples import Buckets, Counter, PluginSample, PodSample

MOST_SAMPLES = 4_096
"""Of one pod: an hour at one a second."""
_GAP_SCRAPES = 3.0
"""Two scrapes may fail before their time counts as not seen."""


class PodWindow:
    """The last samples of one pod.

    Args:
        name: Of the pod.
        window_seconds: How far back figures look.
        scrape_seconds: How often samples should come.
    """

    def __init__(self, name: str, window_seconds: float, scrape_seconds: float) -> None:
        self.name = name
        self.window_seconds = window_seconds
        self._gap_seconds = _GAP_SCRAPES * scrape_seconds
        self._samples: deque[PodSample] = deque(maxlen=MOST_SAMPLES)
        self._restarted_at: float | None = None

    @property
    def newest(self) -> PodSample | None:
        """The last sample; ``None`` before there was one."""
        return self._samples[-1] if self._samples else None

    def add(self, sample: PodSample) -> None:
        """Take a sample in; one that is not newer than the last is passed over."""
        if self._samples:
            last = self._samples[-1]
            if sample.at <= last.at:
                return
            if _is_new_engine(last, sample):
                self._samples.clear()
                self._restarted_at = sample.at
        self._samples.append(sample)
        # One sample from before the window stays, for rates over all of it.
        while len(self._samples) > 1 and self._samples[1].at <= sample.at - self.window_seconds:
            self._samples.popleft()

    def figures(self, now: float, *, paused: bool = False) -> PodObserved:
        """What there is to know at ``now``, with the doubts about it."""
        samples = self._samples
        if not samples:
            missing = Doubt(DoubtKind.MISSING, f"{self.name} has never answered")
            return PodObserved(self.name, paused=paused, doubts=(missing,))
        last = samples[-1]
        usages = _weighted(samples, "usage_ratio", self._gap_seconds)
        covered = self._covered()
        pod = PodObserved(
            name=self.name,
            age_seconds=max(0.0, now - last.at),
            covered_seconds=covered,
            usage_ratio=usages,
            usage_peak_ratio=max((value for _, value in _usages(samples)), default=None),
            usage_slope=_slope(samples),
            running=_weighted(samples, "running", self._gap_seconds),
            waiting=_weighted(samples, "waiting", self._gap_seconds),
            waiting_for_capacity=_weighted(samples, "waiting_for_capacity", self._gap_seconds),
            preemptions_per_second=self._rate(Counter.PREEMPTIONS),
            finished_per_second=self._rate(Counter.FINISHED),
            prefix_hit_ratio=self._share(Counter.PREFIX_HITS, Counter.PREFIX_QUERIES),
            offload_hit_ratio=self._share(Counter.OFFLOAD_HITS, Counter.OFFLOAD_QUERIES),
            allocation_failures_per_second=self._rate(Counter.ALLOCATION_FAILURES),
            ttft_p99_seconds=quantile(increase(samples[0].ttft, last.ttft), 0.99),
            itl_p50_seconds=quantile(increase(samples[0].itl, last.itl), 0.5),
            capacity_tokens=last.capacity_tokens,
            dtype=last.dtype,
            prefix_caching=last.prefix_caching,
            models=last.models,
            plugin=self._plugin(last, now),
            paused=paused,
        )
        restarted = self._restarted_at
        young = restarted is not None and now - restarted < self.window_seconds
        found = doubts_of(pod, last, self.window_seconds, restarted=young)
        return pod if not found else _doubted(pod, found)

    def _covered(self) -> float:
        seen = sum(min(b.at - a.at, self._gap_seconds) for a, b in pairwise(self._samples))
        return min(self.window_seconds, seen)

    def _rate(self, counter: Counter) -> float | None:
        """Per second, between the first sample and the last that have it."""
        having = [sample for sample in self._samples if counter in sample.counters]
        if len(having) < 2:  # noqa: PLR2004  a difference needs two
            return None
        first, last = having[0], having[-1]
        return (last.counters[counter] - first.counters[counter]) / (last.at - first.at)

    def _share(self, part: Counter, whole: Counter) -> float | None:
        parts, wholes = self._rate(part), self._rate(whole)
        return None if parts is None or not wholes else parts / wholes

    def _plugin(self, last: PodSample, now: float) -> PluginObserved | None:
        # The newest sample that had it: one failed look at the plugin is no loss of it.
        seen = [item for item in self._samples if item.plugin is not None]
        if not seen:
            return None
        newest: PluginSample | None = seen[-1].plugin
        if newest is None:
            raise AssertionError("filtered above")
        room = newest.tier_bytes
        used = None if not room or newest.used_bytes is None else newest.used_bytes / room
        return PluginObserved(
            age_seconds=max(0.0, now - seen[-1].at),
            active_requests=newest.active_requests,
            slots=newest.slots,
            level=newest.level,
            eviction=newest.eviction,
            tier_bytes=room,
            used_ratio=used,
            evicted_tokens_per_second=self._rate(Counter.EVICTED_TOKENS),
            refused_tokens_per_second=self._rate(Counter.REFUSED_TOKENS),
            restored_tokens_per_second=self._rate(Counter.RESTORED_TOKENS),
            recomputed_tokens_per_second=self._rate(Counter.RECOMPUTED_TOKENS),
        )


def increase(first: Buckets, last: Buckets) -> Buckets:
    """What a histogram gained between two looks; nothing where its bounds changed or it fell."""
    if not last or [bound for bound, _ in first] != [bound for bound, _ in last]:
        return ()
    gained = tuple((bound, b - a) for (bound, b), (_, a) in zip(last, first, strict=True))
    return gained if all(count >= 0 for _, count in gained) else ()


def quantile(buckets: Buckets, part: float) -> float | None:
    """A quantile of a histogram, linear inside a bucket; ``None`` of nothing.

    Returns: At most the highest finite bound, as Prometheus has it.
    """
    total = buckets[-1][1] if buckets else 0.0
    if total <= 0:
        return None
    rank = part * total
    below, low = 0.0, 0.0
    for bound, count in buckets:
        if count >= rank:
            if bound == inf:
                return low
            return low + (bound - low) * (rank - below) / max(count - below, 1e-12)
        below, low = count, bound
    return low


def _is_new_engine(last: PodSample, sample: PodSample) -> bool:
    fell = any(value < last.counters.get(name, 0.0) for name, value in sample.counters.items())
    other = None not in (last.dtype, sample.dtype) and last.dtype != sample.dtype
    return fell or other


def _weighted(samples: deque[PodSample], name: str, gap_seconds: float) -> float | None:
    """Mean over the time seen: a sample stands for what follows it, up to a gap."""
    values: list[tuple[float, float]] = []
    for one, after in pairwise(samples):
        value = getattr(one, name)
        if value is not None and isfinite(value):
            values.append((float(value), min(after.at - one.at, gap_seconds)))
    newest = getattr(samples[-1], name)
    if newest is not None and isfinite(newest):
        values.append((float(newest), 1e-3))
    weight = sum(seconds for _, seconds in values)
    return sum(value * seconds for value, seconds in values) / weight if weight else None


def _slope(samples: deque[PodSample]) -> float | None:
    """Of usage, per second, by least squares."""
    points = _usages(samples)
    if len(points) < 3:  # noqa: PLR2004  two points are noise
        return None
    middle = sum(at for at, _ in points) / len(points)
    mean = sum(value for _, value in points) / len(points)
    spread = sum((at - middle) ** 2 for at, _ in points)
    return sum((at - middle) * (value - mean) for at, value in points) / spread


def _usages(samples: deque[PodSample]) -> list[tuple[float, float]]:
    found = ((item.at, item.usage_ratio) for item in samples)
    return [(at, value) for at, value in found if value is not None and isfinite(value)]


def _doubted(pod: PodObserved, doubts: tuple[Doubt, ...]) -> PodObserved:
    values = {name: getattr(pod, name) for name in PodObserved.__dataclass_fields__}
    return PodObserved(**{**values, "doubts": doubts})
