"""Where a client connection stands."""

from enum import Enum, auto


class Phase(Enum):
    """What the next bytes from the client are."""

    IDLE = auto()
    HEAD = auto()
    BODY = auto()
    DRAINING = auto()
    """No more requests are read; the connection closes when the client has its last reply."""
