"""How much memory this process holds."""

from pathlib import Path
from resource import getpagesize

_STATM = Path("/proc/self/statm")


def resident_bytes() -> int | None:
    """Resident set size; ``None`` where there is no ``/proc``."""
    try:
        return int(_STATM.read_text(encoding="ascii").split()[1]) * getpagesize()
    except OSError:
        return None
