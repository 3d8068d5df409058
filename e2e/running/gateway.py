"""The real gateway process in front of real engines."""

import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from running.process import ServerProcess, free_port
from running.scrape import Samples, scrape

START_SECONDS = 60.0
ALISE = Path(sys.executable).with_name("alise")


@dataclass(frozen=True, slots=True)
class GatewayServer:
    """A running gateway."""

    process: ServerProcess
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def api(self) -> str:
        """What an OpenAI client takes as base URL."""
        return f"{self.url}/v1"

    def metrics(self) -> Samples:
        return scrape(f"{self.url}/metrics")

    def finished_requests(self) -> list[dict[str, Any]]:
        """The log lines of all requests that have ended so far."""
        lines = (json.loads(line) for line in self.process.output().splitlines() if line[:1] == "{")
        return [line for line in lines if line.get("event") == "request"]


def start_gateway(
    name: str, backends: Iterable[str], log_directory: Path, extra: Sequence[str] = ()
) -> GatewayServer:
    """Start a gateway and wait until it has found a healthy backend."""
    port = free_port()
    command = [str(ALISE), "gateway", "--host", "127.0.0.1", "--port", str(port)]
    for url in backends:
        command += ["--backend", url]
    command += ["--insecure-no-auth", *extra]
    server = GatewayServer(ServerProcess(name, command, log_directory / f"{name}.log", {}), port)
    try:
        server.process.wait_until_answers(f"{server.url}/readyz", START_SECONDS)
    except BaseException:
        server.process.stop()
        raise
    return server
