"""What an engine says of itself in its metrics, at one moment. A value."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class EngineFigures:
    """One scrape; ``None`` for what the engine did not say or said in an impossible way.

    Attributes:
        at: Monotonic seconds at which the answer was complete.
        capacity_tokens: KV cache, in tokens (blocks times block size).
        cache_dtype: Of its KV cache, as the engine names it.
        usage_ratio: Part of the KV cache that requests use, 0 to 1.
        running: Requests in its batch.
        waiting: Requests in its own queue.
        preemptions: Counter; moves when a victim next produces a token, so it lags.
        finished: Counter of finished requests.
    """

    at: float
    capacity_tokens: int | None = None
    cache_dtype: str | None = None
    usage_ratio: float | None = None
    running: int | None = None
    waiting: int | None = None
    preemptions: float | None = None
    finished: float | None = None
