"""A server process under test: started, watched until it is ready, always ended by its own id."""

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import httpx

POLL_SECONDS = 0.1
STOP_SECONDS = 20.0
TAIL_LINES = 60


class ServerProcess:
    """One server, in a process group of its own, with its output in a file."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        log: Path,
        environment: Mapping[str, str],
        directory: Path | None = None,
    ) -> None:
        self.name = name
        self.log = log
        self._shown_from = 0
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                list(command),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **environment},
                cwd=directory,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def wait_until_answers(self, url: str, timeout_seconds: float) -> None:
        """Wait for HTTP 200 from ``url``; fails with the log when the server ends or is late."""
        deadline = time.monotonic() + timeout_seconds
        while not _answers(url):
            if not self.running:
                raise AssertionError(f"{self.name} ended with {self._process.returncode}:\n{self}")
            if time.monotonic() > deadline:
                raise AssertionError(f"{self.name} not ready in {timeout_seconds:g} s:\n{self}")
            time.sleep(POLL_SECONDS)

    def kill(self) -> None:
        """SIGKILL for the whole group: the way a machine dies."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()

    def stop(self) -> int:
        """SIGTERM, then SIGKILL for what is left of the group; returns the exit code."""
        if self.running:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(STOP_SECONDS)
        self.kill()
        return self._process.returncode

    def mark(self) -> None:
        """``str()`` shows only what is said from now on."""
        self._shown_from = len(self.output().splitlines())

    def output(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")

    def __str__(self) -> str:
        said = self.output().splitlines()[self._shown_from :]
        # Tracebacks of vLLM run to hundreds of lines, and it lists its routes at every start.
        lines = [line for line in said if "  File " not in line and "] Route: " not in line]
        return "\n".join([f"--- {self.log} ---", *lines[-TAIL_LINES:]])


def free_port() -> int:
    """A port that nothing listens on at this moment."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2).status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False
