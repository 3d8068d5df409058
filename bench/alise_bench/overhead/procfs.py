"""CPU time, run-queue wait and memory of a process tree, read from ``/proc``.

CPU time comes from ``/proc/PID/task/TID/schedstat`` (nanoseconds on a CPU, nanoseconds runnable
but waiting for one; Source: Linux Documentation/scheduler/sched-stats.rst). A thread that ends
takes its schedstat with it, so the sum is checked against ``utime + stime`` of ``/proc/PID/stat``,
which keeps ended threads but counts in ticks of 10 ms: where the ticks say more, they are used.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_TICK_SECONDS = 0.01  # USER_HZ is 100 on every Linux that these programs run on
_TICKS_MAY_LAG = 3
_PROC = Path("/proc")

# Fields of /proc/PID/stat after the command's closing parenthesis. Source: proc_pid_stat(5).
_STAT_PARENT, _STAT_UTIME, _STAT_STIME = 1, 11, 12


@dataclass(frozen=True, slots=True)
class TreeUsage:
    """What a process tree has used so far.

    Attributes:
        cpu_seconds: On a CPU, by schedstat, of the threads alive now.
        wait_seconds: Runnable, waiting for a CPU.
        tick_seconds: ``utime + stime``, ended threads included.
        processes: Processes in the tree.
        threads: Threads in the tree.
    """

    cpu_seconds: float
    wait_seconds: float
    tick_seconds: float
    processes: int
    threads: int


def cpu_between(before: TreeUsage, after: TreeUsage) -> float:
    """CPU seconds used between two readings, robust to threads that ended in between."""
    precise = after.cpu_seconds - before.cpu_seconds
    ticks = after.tick_seconds - before.tick_seconds
    return ticks if ticks > precise + _TICKS_MAY_LAG * _TICK_SECONDS else precise


def read_tree(pid: int, proc: Path = _PROC) -> TreeUsage:
    """Read one process and all its descendants; zeros when it is gone."""
    cpu = wait = ticks = 0.0
    threads = 0
    members = tree_pids(pid, proc)
    for member in members:
        ticks += _ticks(proc / str(member))
        for task in _tasks(proc / str(member)):
            on_cpu, waiting = _schedstat(task)
            cpu, wait, threads = cpu + on_cpu, wait + waiting, threads + 1
    return TreeUsage(cpu, wait, ticks, len(members), threads)


def rss_bytes(pids: Iterable[int], proc: Path = _PROC) -> int:
    """Resident memory of some processes now."""
    return sum(_memory(proc / str(pid), "VmRSS:") for pid in pids)


def peak_rss_bytes(pids: Iterable[int], proc: Path = _PROC) -> int:
    """The sum of the highest resident memory that each process ever had."""
    return sum(_memory(proc / str(pid), "VmHWM:") for pid in pids)


def tree_pids(pid: int, proc: Path = _PROC) -> list[int]:
    """A process and its descendants, the process first; empty when it is gone."""
    children: dict[int, list[int]] = {}
    alive = set()
    for entry in proc.iterdir():
        if entry.name.isdigit() and (stat := _stat(entry)):
            children.setdefault(int(stat[_STAT_PARENT]), []).append(int(entry.name))
            alive.add(int(entry.name))
    if pid not in alive:
        return []
    found = [pid]
    for member in found:  # grows while it is walked: breadth first
        found.extend(children.get(member, []))
    return found


def _stat(process: Path) -> list[str] | None:
    try:
        text = (process / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:  # it ended meanwhile
        return None
    return text.rpartition(")")[2].split()


def _ticks(process: Path) -> float:
    stat = _stat(process)
    return (int(stat[_STAT_UTIME]) + int(stat[_STAT_STIME])) * _TICK_SECONDS if stat else 0.0


def _memory(process: Path, field: str) -> int:
    try:
        text = (process / "status").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return 0
    for line in text.splitlines():
        if line.startswith(field):
            return int(line.split()[1]) * 1_024
    return 0


def _tasks(process: Path) -> list[Path]:
    try:
        return list((process / "task").iterdir())
    except OSError:
        return []


def _schedstat(task: Path) -> tuple[float, float]:
    try:
        on_cpu, waiting, _ = (task / "schedstat").read_text(encoding="ascii").split()
    except (OSError, ValueError):
        return 0.0, 0.0
    return int(on_cpu) / 1e9, int(waiting) / 1e9
