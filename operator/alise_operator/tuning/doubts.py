"""Why a pod's figures are not acted on: missing, stale, reset, contradictory or foreign. Pure."""

from collections.abc import Iterator

from alise_operator.tuning.observed import Doubt, DoubtKind, PodObserved
from alise_operator.tuning.samples import Counter, PodSample

_LEAST_COVERED = 0.5
"""Of the window: figures of less are chance."""
_MOST_USAGE_RATIO = 1.02
"""An engine may count a block twice for a moment; more is no share."""
_MOST_REQUESTS = 1e6
_BUSY_RUNNING = 0.5
_LEAST_USED = 0.05
"""What an engine may hold without a request: transfers that are not over."""


def doubts_of(
    pod: PodObserved, last: PodSample, window_seconds: float, *, restarted: bool
) -> tuple[Doubt, ...]:
    """All doubts about a pod.

    Args:
        pod: Its figures.
        last: Its newest sample.
        window_seconds: What figures look back over, and after what a sample is stale.
        restarted: The engine began anew within the window.
    """
    return (
        *_about_engine(pod, last),
        *_about_time(pod, window_seconds, restarted=restarted),
        *(Doubt(DoubtKind.CONTRADICTORY, f"{pod.name}: {text}") for text in _impossible(pod, last)),
    )


def _about_engine(pod: PodObserved, last: PodSample) -> Iterator[Doubt]:
    if last.foreign:
        yield Doubt(DoubtKind.FOREIGN, f"{pod.name}: {last.foreign}")
        return
    lacking = [
        name
        for name, value in (
            ("KV usage", pod.usage_ratio),
            ("running requests", pod.running),
            ("waiting requests", pod.waiting),
            ("preemptions", last.counters.get(Counter.PREEMPTIONS)),
        )
        if value is None
    ]
    if lacking:
        yield Doubt(DoubtKind.MISSING, f"{pod.name} does not say its {' and '.join(lacking)}")


def _about_time(pod: PodObserved, window_seconds: float, *, restarted: bool) -> Iterator[Doubt]:
    age = pod.age_seconds or 0.0
    if age > window_seconds:
        yield Doubt(
            DoubtKind.STALE,
            f"{pod.name} was last heard {age:.0f} s ago, more than the window "
            f"of {window_seconds:g} s",
        )
    elif pod.covered_seconds < _LEAST_COVERED * window_seconds:
        kind = DoubtKind.RESTARTED if restarted else DoubtKind.GAPS
        cause = "its engine started anew" if restarted else "samples are missing"
        yield Doubt(
            kind,
            f"{pod.name} was seen for {pod.covered_seconds:.0f} s of the last "
            f"{window_seconds:g} s: {cause}",
        )


def _impossible(pod: PodObserved, last: PodSample) -> Iterator[str]:
    for name, value, most in (
        ("KV usage", last.usage_ratio, _MOST_USAGE_RATIO),
        ("running requests", last.running, _MOST_REQUESTS),
        ("waiting requests", last.waiting, _MOST_REQUESTS),
        ("the prefix cache's hits by queries", pod.prefix_hit_ratio, _MOST_USAGE_RATIO),
        ("the tier's hits by queries", pod.offload_hit_ratio, _MOST_USAGE_RATIO),
    ):
        if value is not None and not 0 <= value <= most:
            yield f"{name} is {value:g}"
    usage, running = pod.usage_ratio, pod.running
    if usage is not None and running is not None:
        if running >= _BUSY_RUNNING and usage <= 0:
            yield f"{running:.1f} requests run and no KV is used"
        if running <= 0 and usage > _LEAST_USED:
            yield f"nothing runs and {usage:.0%} of the KV is used"
