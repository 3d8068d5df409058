"""From an engine's metrics page and the plugin's state to one sample. Pure.

What engines send is not trusted: whatever is missing or no number is left out, and a page without
vLLM's own figures is foreign. Where one address stands for several engines (data parallel), counts
are per engine, and a setting that differs among them is not known.

Source: vLLM 0.32 ``v1/metrics/loggers.py``,
``distributed/kv_transfer/kv_connector/v1/offloading/metrics.py``; docs/engine.md for the state.
"""

from collections.abc import Iterable, Mapping, Sequence
from math import inf, isfinite

from alise_core.wire import engine_metrics as vllm
from alise_operator.observe.exposition import engine_facts, samples
from alise_operator.tuning.samples import Buckets, Counter, PluginSample, PodSample

_PREFIX = "vllm:"
_COUNTERS = {
    Counter.PREEMPTIONS: vllm.PREEMPTIONS,
    Counter.FINISHED: vllm.REQUEST_SUCCESS,
    Counter.PREFIX_QUERIES: vllm.PREFIX_CACHE_QUERIES,
    Counter.PREFIX_HITS: vllm.PREFIX_CACHE_HITS,
    Counter.OFFLOAD_QUERIES: "vllm:external_prefix_cache_queries_total",
    Counter.OFFLOAD_HITS: "vllm:external_prefix_cache_hits_total",
    Counter.ALLOCATION_FAILURES: "vllm:kv_offload_allocation_failure_total",
}
_STATE_COUNTERS = {
    Counter.EVICTED_TOKENS: ("tier", "evicted_tokens"),
    Counter.REFUSED_TOKENS: ("tier", "refused_tokens"),
    Counter.RESTORED_TOKENS: ("scheduler", "restored_tokens_total"),
    Counter.RECOMPUTED_TOKENS: ("scheduler", "recomputed_tokens_total"),
}
_MOST_NAME_CHARS = 64

State = Mapping[str, object]


def sample_of(page: str, state: object, at: float) -> PodSample:
    """What one look at a pod comes to.

    Args:
        page: Its ``/metrics``.
        state: Its ``/alise/state`` as JSON; ``None`` where it has no plugin or did not answer.
        at: Monotonic seconds of the look.
    """
    usages = _values(page, vllm.KV_CACHE_USAGE_RATIO)
    if not usages:
        kind = "no vLLM's" if _PREFIX not in page else "of a vLLM that is not known"
        return PodSample(
            at, foreign=f"its metrics page is {kind}: {vllm.KV_CACHE_USAGE_RATIO} is missing"
        )
    facts, engines = engine_facts(page), len(usages)
    dtypes = () if facts is None else facts.cache_dtypes
    return PodSample(
        at=at,
        usage_ratio=sum(usages) / engines,
        running=_mean(page, vllm.REQUESTS_RUNNING, engines),
        waiting=_mean(page, vllm.REQUESTS_WAITING, engines),
        waiting_for_capacity=_for_capacity(page, engines),
        capacity_tokens=None if facts is None else facts.capacity_tokens,
        dtype=dtypes[0] if len(dtypes) == 1 else None,
        prefix_caching=_prefix_caching(page),
        models=() if facts is None else facts.models,
        counters=_counters(page, state),
        ttft=_buckets(page, vllm.TIME_TO_FIRST_TOKEN),
        itl=_buckets(page, vllm.INTER_TOKEN_LATENCY),
        plugin=plugin_of(state),
    )


def plugin_of(state: object) -> PluginSample | None:
    """The plugin's settings out of its state; ``None`` where it is no state."""
    engines = _engines(state)
    if not engines:
        return None
    used = [_number(engine, "tier", "used_bytes") for engine in engines]
    return PluginSample(
        active_requests=_same(
            _number(one, "scheduler", "settings", "max_active_requests") for one in engines
        ),
        slots=_same(_number(one, "core", "max_running") for one in engines),
        level=_word(engines, "level"),
        eviction=_word(engines, "eviction"),
        tier_bytes=_same(_number(one, "tier", "capacity_bytes") for one in engines),
        used_bytes=None if None in used else int(sum(filter(None, used)) / len(used)),
    )


def _values(page: str, name: str) -> list[float]:
    return [sample.value for sample in samples(page, name) if isfinite(sample.value)]


def _mean(page: str, name: str, engines: int) -> float | None:
    values = _values(page, name)
    return sum(values) / engines if values else None


def _for_capacity(page: str, engines: int) -> float | None:
    found = [
        sample.value
        for sample in samples(page, vllm.REQUESTS_WAITING_BY_REASON)
        if sample.labels.get("reason") == "capacity" and isfinite(sample.value)
    ]
    return sum(found) / engines if found else None


def _prefix_caching(page: str) -> bool | None:
    said = {
        sample.labels.get("enable_prefix_caching")
        for sample in samples(page, vllm.CACHE_CONFIG_INFO)
    }
    return {"True": True, "False": False}.get(str(said.pop())) if len(said) == 1 else None


def _counters(page: str, state: object) -> dict[Counter, float]:
    found = {}
    for counter, name in _COUNTERS.items():
        values = _values(page, name)
        if values:
            found[counter] = sum(values)
    engines = _engines(state)
    for counter, (part, key) in _STATE_COUNTERS.items():
        counts = [_number(engine, part, key) for engine in engines]
        known = [float(count) for count in counts if count is not None]
        if known and len(known) == len(counts):
            found[counter] = sum(known)
    return found


def _buckets(page: str, name: str) -> Buckets:
    """All series of a histogram together."""
    counts: dict[float, float] = {}
    for sample in samples(page, f"{name}_bucket"):
        bound = _bound(sample.labels.get("le", ""))
        if bound is not None and isfinite(sample.value):
            counts[bound] = counts.get(bound, 0.0) + sample.value
    return tuple(sorted(counts.items()))


def _bound(text: str) -> float | None:
    try:
        value = inf if text == "+Inf" else float(text)
    except ValueError:
        return None
    return value if value > 0 else None


def _engines(state: object) -> Sequence[State]:
    engines = state.get("engines") if isinstance(state, Mapping) else None
    if not isinstance(engines, list):
        return ()
    return [engine for engine in engines if isinstance(engine, Mapping)]


def _number(state: State, *path: str) -> int | None:
    value: object = state
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    good = isinstance(value, int) and not isinstance(value, bool) and value >= 0
    return value if good and isinstance(value, int) else None


def _same(values: Iterable[int | None]) -> int | None:
    found = set(values)
    return found.pop() if len(found) == 1 else None


def _word(engines: Sequence[State], key: str) -> str | None:
    words = set()
    for engine in engines:
        tier = engine.get("tier")
        words.add(tier.get(key) if isinstance(tier, Mapping) else None)
    word = words.pop() if len(words) == 1 else None
    return word[:_MOST_NAME_CHARS] if isinstance(word, str) else None
