import os
import signal
import sys
import time
from pathlib import Path

import pytest

from alise_bench.overhead.procfs import tree_pids
from alise_bench.processes import (
    ChildFailed,
    answers,
    free_port,
    interrupted_by_signals,
    running,
    wait_until,
)

FORK = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print(child.pid, flush=True)
child.wait()
"""


POOL = """
import os, time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from alise_bench.processes import end_with_parent
with ProcessPoolExecutor(1, get_context("spawn"), end_with_parent) as pool:
    print(pool.submit(os.getpid).result(), flush=True)
    pool.submit(time.sleep, 60).result()
"""


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def first_line(log: Path) -> bool:
    return log.read_text().endswith("\n")


def is_gone(pid: int) -> bool:
    deadline = time.monotonic() + 5
    while tree_pids(pid) and time.monotonic() < deadline:
        pass
    return not tree_pids(pid)


@pytest.mark.slow
def test_a_child_ends_with_its_block_and_takes_its_own_children_along(tmp_path: Path) -> None:
    with running("parent", python(FORK), tmp_path) as child:
        wait_until(lambda: first_line(child.log), child, 10)
        grandchild = int(child.log.read_text())
        assert tree_pids(child.pid) == [child.pid, grandchild]
    assert child.process.returncode == -signal.SIGTERM
    assert is_gone(grandchild)


@pytest.mark.slow
def test_a_pools_worker_ends_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    with running("pool", python(POOL), tmp_path) as child:
        wait_until(lambda: first_line(child.log), child, 10)
        worker = int(child.log.read_text())
        assert tree_pids(worker)
        os.kill(child.pid, signal.SIGKILL)
        assert is_gone(worker)


def test_a_child_ends_when_the_block_fails(tmp_path: Path) -> None:
    with (
        pytest.raises(RuntimeError),
        running("sleeper", python("import time; time.sleep(60)"), tmp_path) as child,
    ):
        raise RuntimeError
    assert child.process.returncode is not None


def test_a_child_that_ends_early_is_reported_with_its_last_words(tmp_path: Path) -> None:
    with running("brief", python("print('out of paper'); raise SystemExit(7)"), tmp_path) as child:
        with pytest.raises(ChildFailed, match="code 7") as failure:
            wait_until(lambda: False, child, 10)
        assert "out of paper" in str(failure.value)


def test_waiting_has_an_end(tmp_path: Path) -> None:
    with (
        running("slow", python("import time; time.sleep(60)"), tmp_path) as child,
        pytest.raises(ChildFailed, match=r"did not become ready within 0\.1 s"),
    ):
        wait_until(lambda: False, child, 0.1)


def test_a_program_that_does_not_exist_is_a_failure_and_not_a_crash(tmp_path: Path) -> None:
    with (
        pytest.raises(ChildFailed, match="cannot start"),
        running("none", [str(tmp_path / "none")], tmp_path),
    ):
        pass


def test_a_child_keeps_to_its_cpus_and_ours_stay_as_they_were(tmp_path: Path) -> None:
    ours = os.sched_getaffinity(0)
    one = {min(ours)}
    code = "import os; print(sorted(os.sched_getaffinity(0)))"
    with running("pinned", python(code), tmp_path, cpus=one) as child:
        child.process.wait(10)
    assert child.log.read_text().strip() == str(sorted(one))
    assert os.sched_getaffinity(0) == ours


def test_signals_interrupt_like_control_c() -> None:
    with pytest.raises(KeyboardInterrupt), interrupted_by_signals():
        os.kill(os.getpid(), signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_nobody_answers_on_a_free_port() -> None:
    assert not answers("127.0.0.1", free_port(), "/health")
