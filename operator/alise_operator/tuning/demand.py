"""What the gateways predict of a pool's KV memory: from their metrics pages to one figure. Pure.

A gateway knows of its own requests only, so what all of them say is added up. The medians add up as
they are; of the spreads, which are independent, the root of the sum of their squares.

Gateways tell models apart and not pools. Where several pools serve one model, each is given the
part of it that its KV memory is of all of theirs, which is how gateways fill them.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import hypot, isfinite, sqrt

from alise_core.wire import gateway_metrics
from alise_operator.observe.exposition import samples
from alise_operator.tuning.observed import DemandObserved, Observed
from alise_operator.tuning.pressure import capacity_of

_MEDIAN, _HIGH = "0.5", "0.9"


@dataclass(frozen=True, slots=True)
class GatewaySaid:
    """One gateway's page.

    Attributes:
        at: Monotonic seconds of the look.
        peaks: KV tokens held at the worst moment to come, p50 and p90, by model.
        waiting: Requests in its queue, by class.
    """

    at: float
    peaks: Mapping[str, tuple[float, float]]
    waiting: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Serving:
    """What a pool serves, and with how much.

    Attributes:
        models: As its engines name them.
        capacity_tokens: Of all of its KV caches together; ``None`` where that is not known.
    """

    models: frozenset[str] = frozenset()
    capacity_tokens: float | None = None


def serving_of(observed: Observed) -> Serving:
    """By what its pods say."""
    models = frozenset(model for pod in observed.pods for model in pod.models)
    return Serving(models, capacity_of(observed) or None)


def shares_of(own: Serving, others: Iterable[Serving]) -> dict[str, float] | None:
    """The part of each model's demand that a pool can expect.

    Returns: Parts in (0, 1] by model; ``None`` where a model is shared and somebody's memory is not
        known.
    """
    found = {}
    others = tuple(others)
    for model in own.models:
        rivals = [other.capacity_tokens for other in others if model in other.models]
        if not rivals:
            found[model] = 1.0
            continue
        known = [one for one in (own.capacity_tokens, *rivals) if one]
        if len(known) <= len(rivals):
            return None
        found[model] = known[0] / sum(known)
    return found


def said_of(page: str, at: float) -> GatewaySaid | None:
    """What a page says; ``None`` where it is none of a gateway that predicts.

    Args:
        page: Its ``/metrics``. Before the first request there are no series, but their names.
        at: Monotonic seconds of the look.
    """
    if gateway_metrics.PREDICTED_KV_PEAK not in page:
        return None
    found: dict[str, dict[str, float]] = {}
    for sample in samples(page, gateway_metrics.PREDICTED_KV_PEAK):
        if isfinite(sample.value) and sample.value >= 0:
            model, quantile = (sample.labels.get(name, "") for name in ("model", "quantile"))
            found.setdefault(model, {})[quantile] = sample.value
    peaks = {
        model: (values[_MEDIAN], max(values[_MEDIAN], values[_HIGH]))
        for model, values in found.items()
        if _MEDIAN in values and _HIGH in values
    }
    waiting = {
        sample.labels.get("service_class", ""): sample.value
        for sample in samples(page, gateway_metrics.WAITING)
        if isfinite(sample.value)
    }
    return GatewaySaid(at, peaks, waiting)


def demand_of(
    heard: Sequence[GatewaySaid], missing: int, shares: Mapping[str, float], now: float
) -> DemandObserved | None:
    """The demand for a pool; ``None`` where there is no gateway.

    Args:
        heard: What each gateway said last.
        missing: Gateways that there are and that were never heard.
        shares: The pool's part of it by model, as its engines name them.
        now: Monotonic seconds.
    """
    if not heard and not missing:
        return None
    peaks = [
        _part(pair, shares[model])
        for said in heard
        for model, pair in said.peaks.items()
        if model in shares
    ]
    middle = sum(one for one, _ in peaks)
    waiting: dict[str, float] = {}
    for said in heard:
        for name, count in said.waiting.items():
            waiting[name] = waiting.get(name, 0.0) + count
    return DemandObserved(
        peak_tokens=middle,
        high_tokens=middle + hypot(*(high - one for one, high in peaks)),
        age_seconds=max((now - said.at for said in heard), default=0.0),
        waiting=waiting,
        gateways=len(heard),
        missing=missing,
    )


def _part(peak: tuple[float, float], share: float) -> tuple[float, float]:
    """Of independent requests: the median by the part, the spread by its root."""
    middle, high = peak
    return share * middle, share * middle + sqrt(share) * (high - middle)
