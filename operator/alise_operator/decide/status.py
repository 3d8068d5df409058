"""What a status ought to say. A value."""

from collections.abc import Mapping
from dataclasses import dataclass

from alise_operator.decide.announcements import Announcement

Json = object
"""What ``json.dumps`` takes."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What looking at one object came to.

    Attributes:
        status: The fields that are ours, all of them, as JSON; ``None`` takes a field away.
            Fields that are not named belong to somebody else.
        announcements: Events for when the status is written.
    """

    status: Mapping[str, Json]
    announcements: tuple[Announcement, ...] = ()
