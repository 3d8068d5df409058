import os
import subprocess
import sys
from pathlib import Path

import pytest

from alise_bench.overhead.procfs import (
    TreeUsage,
    cpu_between,
    peak_rss_bytes,
    read_tree,
    rss_bytes,
    tree_pids,
)

MIB = 1 << 20


def add_process(proc: Path, pid: int, parent: int, *, ticks: int, threads: dict[int, str]) -> None:
    folder = proc / str(pid)
    fields = ["S", str(parent), *["0"] * 9, str(ticks), "1", *["0"] * 20]
    # A command may hold spaces and parentheses.
    (folder / "task").mkdir(parents=True)
    (folder / "stat").write_text(f"{pid} (a) b (c) {' '.join(fields)}\n")
    (folder / "status").write_text("Name:\ta\nVmHWM:\t    3072 kB\nVmRSS:\t    2048 kB\n")
    for thread, schedstat in threads.items():
        (folder / "task" / str(thread)).mkdir()
        (folder / "task" / str(thread) / "schedstat").write_text(schedstat)


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    add_process(tmp_path, 10, 1, ticks=100, threads={10: "1000000000 50000000 7\n"})
    add_process(
        tmp_path, 11, 10, ticks=20, threads={11: "200000000 0 1\n", 12: "300000000 1000 1\n"}
    )
    add_process(tmp_path, 13, 11, ticks=0, threads={})
    add_process(tmp_path, 99, 1, ticks=500, threads={99: "9000000000 0 1\n"})
    (tmp_path / "cpuinfo").write_text("not a process")
    return tmp_path


def test_a_tree_is_the_process_and_all_its_descendants(proc: Path) -> None:
    assert tree_pids(10, proc) == [10, 11, 13]
    assert tree_pids(12345, proc) == []


def test_a_tree_sums_processes_and_threads(proc: Path) -> None:
    usage = read_tree(10, proc)
    assert usage.cpu_seconds == pytest.approx(1.5)
    assert usage.wait_seconds == pytest.approx(0.050001)
    assert usage.tick_seconds == pytest.approx(1.23)
    assert (usage.processes, usage.threads) == (3, 3)


def test_memory_is_summed_over_the_processes_asked_for(proc: Path) -> None:
    assert rss_bytes([10, 11], proc) == 4 * MIB
    assert peak_rss_bytes([10, 11, 777], proc) == 6 * MIB


def usage(cpu: float, ticks: float) -> TreeUsage:
    return TreeUsage(cpu, 0.0, ticks, 1, 1)


def test_precise_times_are_used_while_the_threads_live() -> None:
    assert cpu_between(usage(1.0, 1.0), usage(1.5123, 1.52)) == pytest.approx(0.5123)


def test_ticks_are_used_when_threads_took_their_times_with_them() -> None:
    assert cpu_between(usage(1.0, 1.0), usage(0.4, 1.9)) == pytest.approx(0.9)


def test_a_real_process_shows_what_it_used() -> None:
    before = read_tree(os.getpid())
    sum(number * number for number in range(200_000))
    after = read_tree(os.getpid())
    assert 0 < cpu_between(before, after) < 5
    assert rss_bytes([os.getpid()]) > MIB
    assert peak_rss_bytes([os.getpid()]) >= rss_bytes([os.getpid()]) // 2


def test_a_real_child_belongs_to_the_tree() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        assert child.pid in tree_pids(os.getpid())
        child.communicate(b"\n")
    assert child.pid not in tree_pids(os.getpid())
