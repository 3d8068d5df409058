"""How several gateways divide what belongs to all of them. Pure."""

from dataclasses import dataclass


def share_of(budget: int, index: int, count: int) -> int:
    """The part of a budget that one of several equals has; all parts add up to it exactly.

    Args:
        budget: What is divided, not negative.
        index: Which of them, from 0.
        count: How many there are.

    Raises:
        ValueError: There is no such part.
    """
    if budget < 0 or not 0 <= index < count:
        raise ValueError(f"no part {index} of {count} of a budget of {budget}")
    return budget * (index + 1) // count - budget * index // count


@dataclass(frozen=True, slots=True)
class Share:
    """Which of several equals one is.

    Attributes:
        index: From 0.
        count: How many there are, this one included.
    """

    index: int = 0
    count: int = 1

    def __post_init__(self) -> None:
        """Raise ValueError where there is no such part."""
        if not 0 <= self.index < self.count:
            raise ValueError(f"no part {self.index} of {self.count}")

    @property
    def is_whole(self) -> bool:
        """There are no others."""
        return self.count == 1

    def of(self, budget: int) -> int:
        """This one's part; see ``share_of``."""
        return share_of(budget, self.index, self.count)


WHOLE = Share()
