"""What a status ought to say, and what of it has to be written. Pure."""

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


def difference(wanted: Mapping[str, Json], standing: Mapping[str, object]) -> dict[str, Json]:
    """The merge patch of the status that leads from what stands to what is wanted.

    Empty when nothing has to be written. Top-level fields travel whole: a field inside of one that
    is not wanted any more is taken away too.
    """
    return {
        field: _whole(value, standing.get(field))
        for field, value in wanted.items()
        if value != standing.get(field)
    }


def _whole(value: Json, standing: object) -> Json:
    """The value, with ``null`` for keys that a merge would leave as they are."""
    if not isinstance(value, Mapping) or not isinstance(standing, Mapping):
        return value
    gone: dict[str, Json] = {key: None for key in standing if key not in value}
    return gone | {key: _whole(each, standing.get(key)) for key, each in value.items()}
