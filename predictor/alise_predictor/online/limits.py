"""How much online learning may remember."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of a learner's memory.

    Attributes:
        keys: (tenant, model) pairs kept; the one unused for longest goes first.
        total_bytes: Estimated bytes of all pairs together; the same rule.
        retrieved: Finished requests of one pair that can be retrieved.
        retrieval_seconds: After this time a finished request is no longer retrieved.
    """

    keys: int = 512
    total_bytes: int = 32 << 20
    retrieved: int = 2_000
    retrieval_seconds: float = 7 * 86_400.0
