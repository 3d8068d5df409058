"""The demo as a user starts it: real processes, real sockets."""

import json
import os
import shlex
import signal
import subprocess
import time

import httpx
import pytest

from alise_bench.demo.cli import main
from alise_bench.overhead.procfs import tree_pids
from alise_bench.processes import alise_command
from alise_core.errors import ConfigError


@pytest.mark.slow
def test_the_demo_serves_every_request_with_its_recorded_length(
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = tree_pids(os.getpid())
    assert main(["--seconds", "2", "--rate", "4", "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["is_right"]
    assert figures["fcfs"]["outcomes"] == figures["default"]["outcomes"] == {"completed": 8}
    assert figures["fcfs"]["output_tokens"] == figures["default"]["output_tokens"]
    assert figures["lengths"]["answers"] == 8
    assert sum(figures["lengths"]["sources"].values()) == 8
    assert figures["lengths"]["inside"] is not None
    assert tree_pids(os.getpid()) == before


@pytest.mark.slow
def test_kept_servers_answer_and_end_with_the_demo() -> None:
    command = alise_command("demo", "--seconds", "1", "--rate", "2", "--keep")
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as demo:  # noqa: S603
        assert demo.stdout is not None
        line = b""
        while b"curl" not in line:
            line = demo.stdout.readline()
            assert line, "ended before the curl line"
        # As a shell would read it: curl -N URL -H HEADER -d BODY
        words = shlex.split(line.decode())
        name, _, value = words[4].partition(": ")
        reply = httpx.post(words[2], headers={name: value}, content=words[6], timeout=20)
        assert reply.text.rstrip().endswith("data: [DONE]")
        children = tree_pids(demo.pid)[1:]
        assert len(children) == 3
        demo.send_signal(signal.SIGTERM)
        demo.communicate(timeout=20)
    assert not any(_runs(pid) for pid in children)


def _runs(pid: int) -> bool:
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        if not tree_pids(pid):
            return False
    return True


@pytest.mark.parametrize("seconds", ["0", "601"])
def test_the_time_is_bounded(seconds: str) -> None:
    with pytest.raises(ConfigError, match="1 to 600"):
        main(["--seconds", seconds])
