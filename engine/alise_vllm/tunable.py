"""What of a running engine can be looked at and changed. Pure."""

from collections.abc import Callable, Mapping
from typing import Protocol

Json = object
"""Numbers, strings, booleans, None, and lists and dicts of them."""


class Tunable(Protocol):
    """One part of the plugin, under its name in ``/alise/state`` and ``/alise/tune``."""

    @property
    def name(self) -> str:
        """Key of the part."""
        ...

    def state(self) -> Mapping[str, Json]:
        """What there is to see; takes well under a millisecond."""
        ...

    def plan(self, changes: Mapping[str, object]) -> Callable[[], Mapping[str, Json]]:
        """Check changes without making any.

        Args:
            changes: New values by key.

        Returns: Makes the changes and cannot fail; gives ``{key: [before, after]}``.

        Raises:
            ConfigError: A key is unknown or a value is wrong; names key, value and remedy.
        """
        ...
