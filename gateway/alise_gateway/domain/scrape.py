"""How reading an engine's metrics ended."""

from enum import StrEnum


class ScrapeResult(StrEnum):
    """Of one attempt."""

    READ = "read"
    ABSENT = "absent"
    """The backend has no metrics, or none that ALISE knows."""
    FAILED = "failed"
    """No answer, a refusal, or bytes that are no metrics."""
