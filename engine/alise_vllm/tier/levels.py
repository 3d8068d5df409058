"""How tightly KV is packed in host memory, and how much room that takes; pure.

``none`` keeps every byte. ``int8`` and ``int4`` share one scale among each group of 64 values
that lie next to each other. A scale has two bytes, so that a chunk of 16-bit KV takes 33/64 of its
size at ``int8`` and 17/64 at ``int4``: all levels are whole numbers of the same small extents, and
chunks of different levels lie in one memory without a gap.
"""

from dataclasses import dataclass
from enum import StrEnum

GROUP = 64
"""Values that share a scale. 32 would lose a little less and hold 1.88 chunks at ``int8`` where
64 holds 1.94."""
SCALE_BYTES = 2
EXTENTS = 64
"""Extents that a chunk takes at ``none``."""


class Level(StrEnum):
    """How tightly a chunk is packed."""

    NONE = "none"
    INT8 = "int8"
    INT4 = "int4"


VALUE_BITS = {Level.INT8: 8, Level.INT4: 4}
STEPS = {Level.INT8: 127, Level.INT4: 7}
"""The largest magnitude that a packed value takes; 0 is exact."""


@dataclass(frozen=True, slots=True)
class ChunkShape:
    """The KV of one chunk in one worker.

    Attributes:
        raw_bytes: As the model has it, all layers together; at least 1.
        element_bytes: Of one value; 0 when the values are no plain floats of 16 or 32 bits, which
            leaves ``none`` as the only level.
    """

    raw_bytes: int
    element_bytes: int

    @property
    def levels(self) -> tuple[Level, ...]:
        """What it can be packed at."""
        packable = self.element_bytes in (2, 4)
        if packable and self.raw_bytes % (GROUP * self.element_bytes) == 0:
            return tuple(Level)
        return (Level.NONE,)

    @property
    def extent_bytes(self) -> int:
        """The piece that host memory is handed out in."""
        return -(-self.raw_bytes // EXTENTS)

    def bytes_at(self, level: Level) -> int:
        """What it takes, packed."""
        if level is Level.NONE:
            return self.raw_bytes
        elements = self.raw_bytes // self.element_bytes
        return elements * VALUE_BITS[level] // 8 + elements // GROUP * SCALE_BYTES

    def extents_at(self, level: Level) -> int:
        """What it takes in whole extents."""
        return -(-self.bytes_at(level) // self.extent_bytes)
