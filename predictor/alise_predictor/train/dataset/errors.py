"""What can be wrong with training data, each with a remedy in its message."""

from alise_core.errors import ConfigError


class DatasetError(ConfigError):
    """Training data cannot be used as it is."""


class MalformedDataError(DatasetError):
    """A file does not have its documented shape; the message names file, place and remedy."""


class RanksUnavailableError(DatasetError):
    """The rank file of the token counter is missing or is not the expected one."""


class LeakError(DatasetError):
    """The same or nearly the same prompt is on both sides of a split."""
