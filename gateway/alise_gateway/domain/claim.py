"""How much of a backend's requests, or of its KV memory, one of several gateways may have. Pure.

Gateways do not talk to each other: what the engine says of itself is what they have in common. At
every look at its figures a gateway may grow by its part of the room that it sees, however the rest
is divided, until all of it is in use:

- The room is what nobody uses, less what the others may still take of it (their *slack*). Each of n
  was granted at most an n-th of what was free when it looked, so the slack is known well enough
  though nobody tells it: at most ``(n - 1) / n`` of what is free and what this one took since its
  last look. A little is taken in any case, which is all that the whole is exceeded by if
  everybody else takes all of its slack at once.
- Nobody keeps what it does not use: what has ended and was not replaced at once is anybody's.
- Whoever has more than its equal share (a *borrower*) leaves a reserve free, which is for those who
  have less. Once it sees part of the reserve taken it gives back, by not replacing what ends: as
  much as was taken, twice that at the next look, and so on.
- Who has an equal share of at least one may always have one.

Without figures everybody has its equal share. What this keeps, and how well: docs/design/0012.
"""

from dataclasses import dataclass
from math import ceil

from alise_core.shares import Share

_RESERVE = 0.05
"""Part of the whole that is left to those who have less than their share."""
DARED = 0.05
"""What may go wrong at worst; without any of it the last tenth would hardly ever be used."""
_MOST_GIVEN_BACK = 0.25
"""Of what is borrowed, per look: those who want it cannot take more at once either."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What one look shows.

    Attributes:
        whole: What all gateways together may have.
        own: What this one has.
        others: What the others have.
    """

    whole: float
    own: float
    others: float


class Claim:
    """Of one quantity of one backend.

    Args:
        whole_numbers: It counts things; it is a measure otherwise.
        dared: Part of the whole that all together may take in the hope that the others do not use
            their slack: by as much the whole is exceeded at worst.

    Attributes:
        most: As much as this gateway may have now; ``None`` for its equal share.
    """

    __slots__ = (
        "_dared",
        "_grant",
        "_low",
        "_pressed",
        "_rest",
        "_whole_numbers",
        "most",
    )

    def __init__(self, *, whole_numbers: bool, dared: float = DARED) -> None:
        self._whole_numbers = whole_numbers
        self._dared = dared
        self.most: float | None = None
        self._grant = 0.0
        self._low: float | None = None
        self._rest = 0.0
        self._pressed = 0

    def forget(self) -> None:
        """Nothing can be seen any more."""
        self.most = self._low = None
        self._pressed = 0

    def look(self, seen: Seen, share: Share, base: float) -> None:
        """Take note of what there is.

        Args:
            seen: It.
            share: Which of how many gateways this one is.
            base: Its equal share of the whole.
        """
        own, total = seen.own, seen.own + seen.others
        slack = self._slack(seen, share.count)
        reserve = self._reserve(seen.whole, share.count)
        above = total - (seen.whole - reserve)
        least = min(1.0, base) if self._whole_numbers else 0.0
        if own > base and above > 0:
            self._pressed += 1
            wanted = above * 2.0 ** min(self._pressed - 1, 16)
            given = max(min(wanted, _MOST_GIVEN_BACK * (own - base)), min(above, own - base))
            self._grant = 0.0
            self.most = max(base, own - self._rounded_up(given))
            return
        self._pressed = 0
        dared = self._part_dared(seen, share.count) + self._rest
        free = seen.whole - total
        as_entitled = min(base - own, max(free - slack, min(free, dared)))
        as_borrower = max(-above - slack, min(-above, dared))
        grant = max(as_entitled, as_borrower, 0.0)
        self._grant = self._rounded(grant)
        # Small parts of small numbers add up to one in the end.
        self._rest = grant - self._grant if grant < 1.0 else 0.0
        self.most = max(least, own + self._grant)

    def settle(self, own: float, base: float) -> None:
        """What was given up and not replaced is anybody's.

        Args:
            own: What this gateway has now.
            base: Its equal share.
        """
        if self.most is not None and self._low is not None:
            self._low = min(self._low, own)
            least = min(1.0, base) if self._whole_numbers else 0.0
            self.most = max(least, min(self.most, own + self._grant))

    def _slack(self, seen: Seen, count: int) -> float:
        """What the others may still take at most.

        Whoever looked before this one took for free what this one has taken since its last look.
        """
        free = max(0.0, seen.whole - seen.own - seen.others)
        free += seen.whole if self._low is None else max(0.0, seen.own - self._low)
        self._low = seen.own
        return min(free, seen.whole) * (count - 1) / count

    def _part_dared(self, seen: Seen, count: int) -> float:
        """What may be taken whatever the others' slack is: all parts of it together are small.

        Half of it is for who uses the backend most: it is the one that has a use for more.
        """
        total = seen.own + seen.others
        used = seen.own / total if total > 0 else 1.0 / count
        return self._dared * seen.whole * (used + 1.0 / count) / 2.0

    def _reserve(self, whole: float, count: int) -> float:
        reserve = _RESERVE * whole
        return max(float(ceil(reserve)), count - 1.0) if self._whole_numbers else reserve

    def _rounded(self, value: float) -> float:
        return float(int(value)) if self._whole_numbers else value

    def _rounded_up(self, value: float) -> float:
        return float(ceil(value)) if self._whole_numbers else value
