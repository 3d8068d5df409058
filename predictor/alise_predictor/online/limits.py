"""How much online learning may remember."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of a learner's memory.

    A pair begins with 0.2 MB and ends, with 2,000 answers, at 1.7 MB (short prompts) to 2.4 MB at
    most; an encoder of size d adds 4 * d * d bytes (0.6 MB for 384, 4 MB for the most, 1,024).
    The whole never holds more than ``total_bytes`` and one pair.

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
