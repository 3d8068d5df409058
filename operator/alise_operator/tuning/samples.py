"""One look at one engine: what a scrape of its metrics and of the plugin's state comes to. Pure.

``scrape`` makes samples of real pages, the simulation of its engines; ``window`` makes figures of
many samples of one pod.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

Buckets = tuple[tuple[float, float], ...]
"""Upper bounds, ascending, and cumulative counts; the last bound is infinite."""


class Counter(StrEnum):
    """What only rises while an engine lives."""

    PREEMPTIONS = "preemptions"
    FINISHED = "finished"
    PREFIX_QUERIES = "prefix_queries"
    PREFIX_HITS = "prefix_hits"
    OFFLOAD_QUERIES = "offload_queries"
    OFFLOAD_HITS = "offload_hits"
    ALLOCATION_FAILURES = "allocation_failures"
    EVICTED_TOKENS = "evicted_tokens"
    REFUSED_TOKENS = "refused_tokens"
    RESTORED_TOKENS = "restored_tokens"
    RECOMPUTED_TOKENS = "recomputed_tokens"


@dataclass(frozen=True, slots=True)
class PluginSample:
    """What the plugin showed; see ``observed.PluginObserved``."""

    active_requests: int | None = None
    slots: int | None = None
    level: str | None = None
    eviction: str | None = None
    tier_bytes: int | None = None
    used_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class PodSample:
    """What one engine showed at one moment; see ``observed.PodObserved``.

    Attributes:
        at: Monotonic seconds.
        counters: Those that were there.
        models: That it says it serves.
        ttft: Histogram of times to first token since the engine's start.
        itl: The same of gaps between tokens.
        foreign: Why this is no page of an engine that is understood; empty when it is one.
    """

    at: float
    usage_ratio: float | None = None
    running: float | None = None
    waiting: float | None = None
    waiting_for_capacity: float | None = None
    capacity_tokens: int | None = None
    dtype: str | None = None
    prefix_caching: bool | None = None
    models: tuple[str, ...] = ()
    counters: Mapping[Counter, float] = field(default_factory=dict)
    ttft: Buckets = ()
    itl: Buckets = ()
    plugin: PluginSample | None = None
    foreign: str = ""
