"""Whether to load KV from host memory or to compute it anew, from what both have cost; pure.

KV that was swapped out has been copied once and is copied once more, so it is loaded only where
twice the copy costs less than the computation. Both prices are measured in this engine, under its
load, and follow it.
"""

from dataclasses import dataclass, field

OUT_AND_BACK = 2.0
"""Copies that a swap takes."""
NEW = 0.1
"""What the newest observation counts; the one before it a tenth less, and so on."""
FEWEST = 8
"""Observations of each kind before anything is declined."""


@dataclass(slots=True)
class Curve:
    """What something costs by its size, learned apart for sizes of each power of two.

    Small copies, of which a generating engine makes thousands, mostly cost what a copy costs at
    all; that says nothing of large ones, and must not make them forgotten.

    Attributes:
        count: Observations.
    """

    count: int = 0
    _each: dict[int, float] = field(default_factory=dict)

    def observe(self, size: int, cost: float) -> None:
        """One observation; of size 0 it says nothing."""
        if size <= 0 or cost < 0:
            return
        self.count += 1
        power, each = size.bit_length(), cost / size
        before = self._each.get(power, each)
        self._each[power] = before + NEW * (each - before)

    def of(self, size: int) -> float | None:
        """The cost of a size, from the nearest that was observed; None without observations."""
        if not self._each:
            return None
        power = size.bit_length()
        nearest = min(self._each, key=lambda known: (abs(known - power), known))
        return self._each[nearest] * size


@dataclass(slots=True)
class Worth:
    """Decides for one engine.

    Attributes:
        copies: Seconds by bytes in host memory.
        prefills: Seconds by tokens.
        declined_tokens: Tokens that were computed anew although they were in host memory; counted
            each time that a request which waits is looked at.
    """

    copies: Curve = field(default_factory=Curve)
    prefills: Curve = field(default_factory=Curve)
    declined_tokens: int = 0

    def to_load(self, tokens: int, size_bytes: int) -> bool:
        """Whether tokens are loaded rather than computed.

        Args:
            tokens: That the KV is of.
            size_bytes: As it lies in host memory.
        """
        if min(self.copies.count, self.prefills.count) < FEWEST:
            return True
        copy, compute = self.copies.of(size_bytes), self.prefills.of(tokens)
        if copy is None or compute is None or OUT_AND_BACK * copy < compute:
            return True
        self.declined_tokens += tokens
        return False
