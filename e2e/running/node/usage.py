"""What a pod's processes have used, read from this machine's process table."""

import contextlib
import os
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
UTIME, STIME, RSS = 11, 12, 21
"""Fields of ``/proc/PID/stat`` after the command's name; see proc(5)."""


def cpu_seconds(pod: str) -> float:
    """CPU time of all processes that a pod runs now, in seconds."""
    return sum((int(stat[UTIME]) + int(stat[STIME])) / TICKS for stat in _stats(pod))


def resident_bytes(pod: str) -> int:
    """Memory of all processes that a pod runs now."""
    return sum(int(stat[RSS]) * PAGE_BYTES for stat in _stats(pod))


def _stats(pod: str) -> list[list[str]]:
    found = []
    for entry in Path("/proc").iterdir():
        # A process may end while it is looked at.
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and _belongs(entry, pod):
                text = (entry / "stat").read_text(encoding="utf-8", errors="replace")
                found.append(text.rpartition(")")[2].split())
    return found


def _belongs(process: Path, pod: str) -> bool:
    return f"HOSTNAME={pod}".encode() in (process / "environ").read_bytes().split(b"\0")
