"""Child processes of measurements and the demo: started on free ports, awaited, ended by pid.

Every child leads a process group of its own and is ended with that group in every exit path of
the ``with`` block: first SIGTERM, then, after a grace time, SIGKILL.
"""

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import parent_process
from pathlib import Path
from threading import Thread

from alise_core.errors import AliseError

_GRACE_SECONDS = 5.0
_POLL_SECONDS = 0.05
_PROBE_SECONDS = 2.0
_LOG_TAIL_LINES = 15


class ChildFailed(AliseError):
    """A child process ended or did not become ready in time."""


@dataclass(frozen=True, slots=True)
class Child:
    """A running child.

    Attributes:
        name: For messages and the log file.
        process: The process, leader of its own group.
        log: Where its standard output and error go.
    """

    name: str
    process: "subprocess.Popen[bytes]"
    log: Path

    @property
    def pid(self) -> int:
        """Process id."""
        return self.process.pid

    def check_alive(self) -> None:
        """Fail when the child has ended.

        Raises:
            ChildFailed: With the end of its log.
        """
        code = self.process.poll()
        if code is not None:
            raise ChildFailed(f"{self.name} ended with code {code}:\n{self.log_tail()}")

    def log_tail(self) -> str:
        """The last lines that the child wrote."""
        try:
            lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            return "(no log)"
        return "\n".join(lines[-_LOG_TAIL_LINES:]) or "(no output)"


def alise_command(*words: str) -> list[str]:
    """The command line of ``alise WORDS`` in the interpreter that runs this code."""
    return [sys.executable, "-c", "from alise_cli import main; raise SystemExit(main())", *words]


def free_port() -> int:
    """A loopback port that nobody listens on now.

    Only for programs that cannot be told port 0: another process may take it first.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def running(
    name: str,
    command: Sequence[str],
    log_folder: Path,
    *,
    cpus: AbstractSet[int] | None = None,
) -> Iterator[Child]:
    """Start a child for the time of the block.

    Args:
        name: For messages and its log file's name.
        command: Program and arguments.
        log_folder: An existing folder.
        cpus: CPUs that the child and everything it starts may use; ``None`` for no limit.
    """
    log = log_folder / f"{name}.log"
    with log.open("ab") as sink:
        child = Child(name, _spawn(command, sink.fileno(), cpus), log)
    try:
        yield child
    finally:
        end(child)


def end(child: Child) -> None:
    """End a child and its process group; returns when the child is gone."""
    try:
        _signal_group(child, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            child.process.wait(_GRACE_SECONDS)
    finally:
        # An impatient second Ctrl-C comes here too; the leader may be gone while workers of its
        # group still run.
        _signal_group(child, signal.SIGKILL)
        child.process.wait()


@contextmanager
def interrupted_by_signals() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end the block as Ctrl-C does, so that children are ended too."""

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = {
        number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGHUP)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def wait_until(
    ready: Callable[[], bool], child: Child, seconds: float, what: str = "become ready"
) -> None:
    """Wait for a condition while a child lives.

    Raises:
        ChildFailed: The child ended, or the time is over.
    """
    deadline = time.monotonic() + seconds
    while not ready():
        child.check_alive()
        if time.monotonic() > deadline:
            raise ChildFailed(
                f"{child.name} did not {what} within {seconds:g} s:\n{child.log_tail()}"
            )
        time.sleep(_POLL_SECONDS)


def answers(host: str, port: int, path: str, status: int = 200) -> bool:
    """Whether a GET of ``path`` is answered with ``status``."""
    connection = http.client.HTTPConnection(host, port, timeout=_PROBE_SECONDS)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == status
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _spawn(
    command: Sequence[str],
    sink: int,
    cpus: AbstractSet[int] | None,
) -> "subprocess.Popen[bytes]":
    # A child inherits the CPUs of the thread that starts it; set before it runs, so that
    # programs which count their CPUs at start count these.
    before = os.sched_getaffinity(0)
    if cpus is not None:
        os.sched_setaffinity(0, cpus)
    try:
        return subprocess.Popen(  # noqa: S603  the commands are ours
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=sink,
            start_new_session=True,
        )
    except OSError as error:
        raise ChildFailed(f"cannot start {command[0]}: {error.strerror}") from error
    finally:
        os.sched_setaffinity(0, before)


def _signal_group(child: Child, number: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(child.pid, number)


def end_with_parent() -> None:
    """Have a worker process of ``multiprocessing`` end when its parent is gone.

    A pool's workers wait for the next job for ever otherwise, or finish a long one for nobody.
    """
    parent = parent_process()
    if parent is None:
        return

    def watch() -> None:
        parent.join()
        os._exit(1)

    Thread(target=watch, daemon=True).start()
