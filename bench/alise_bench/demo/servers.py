"""The demo's processes: two engines, and one gateway after the other in front of them.

All on loopback ports that nobody else has.
"""

import http.client
import os
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from alise_bench.demo.workload import sample_path
from alise_bench.load.request import Address
from alise_bench.processes import (
    Child,
    ChildFailed,
    alise_command,
    answers,
    free_port,
    running,
    wait_until,
)
from alise_core.errors import ConfigError

ENGINES = 2
MODEL = "alise-demo"
_GATEWAY_SECONDS = 30.0
_SIM_SECONDS = 30.0
_VLLM_SECONDS = 240.0
_ENGINE_URL = re.compile(r"sim-engine ready: (http://\S+)")
_WAITING = re.compile(r"^alise_gateway_waiting_requests(?:\{[^}]*\})? (\S+)$", re.MULTILINE)


class VllmPlace(msgspec.Struct, frozen=True):
    """A real vLLM: what ``tools/vllm_env.py`` prints."""

    vllm: str
    model: str


@dataclass(frozen=True, slots=True)
class Engines:
    """What gateways are put in front of.

    Attributes:
        urls: Base URLs.
        children: The processes.
        in_flight: Requests that each runs at a time.
    """

    urls: tuple[str, ...]
    children: tuple[Child, ...]
    in_flight: int


@dataclass(frozen=True, slots=True)
class Stack:
    """Everything running.

    Attributes:
        gateway: Where clients go.
        engines: Base URLs.
        model: The name that all engines serve.
        children: The processes, the gateway last; any of them ending early is a failure.
    """

    gateway: Address
    engines: tuple[str, ...]
    model: str
    children: tuple[Child, ...]

    def check_alive(self) -> None:
        """Fail when a process has ended.

        Raises:
            ChildFailed: With the end of its log.
        """
        for child in self.children:
            child.check_alive()

    def waiting(self) -> int | None:
        """Requests in the gateway's queue now; ``None`` when it does not say."""
        values = [float(value) for value in _WAITING.findall(self.metrics() or "")]
        return int(sum(values)) if values else None

    def metrics(self) -> str | None:
        """The gateway's metrics; ``None`` when they cannot be read."""
        connection = http.client.HTTPConnection(self.gateway.host, self.gateway.port, timeout=1)
        try:
            connection.request("GET", "/metrics")
            return connection.getresponse().read().decode("utf-8", "replace")
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()

    def gateway_log(self) -> str:
        """What the gateway has written so far."""
        return self.children[-1].log.read_text(encoding="utf-8", errors="replace")


def parse_vllm(text: str) -> VllmPlace:
    """Read the line of ``tools/vllm_env.py``.

    Raises:
        ConfigError: It is not that.
    """
    try:
        return msgspec.json.decode(text, type=VllmPlace)
    except msgspec.DecodeError as error:
        raise ConfigError(f"--vllm wants the JSON line of tools/vllm_env.py: {error}") from error


@contextmanager
def running_engines(folder: Path, vllm: VllmPlace | None, in_flight: int) -> Iterator[Engines]:
    """Start the engines, wait until they answer, end them.

    Args:
        folder: For logs.
        vllm: Real engines instead of the simulator.
        in_flight: Requests that one engine runs at a time.

    Raises:
        ChildFailed: A process ended or did not become ready.
    """
    with ExitStack() as stack:
        engines: list[Child] = []
        urls: list[str] = []
        for number in range(ENGINES):
            if vllm is None:
                command, url = _sim_command(in_flight), ""
            else:
                command, url = _vllm_command(vllm, number, in_flight)
            engines.append(stack.enter_context(running(f"engine-{number}", command, folder)))
            urls.append(url)
        # Both start at the same time: a real engine takes most of a minute.
        for number, engine in enumerate(engines):
            urls[number] = _await_sim(engine) if vllm is None else _await_vllm(engine, urls[number])
        yield Engines(tuple(urls), tuple(engines), in_flight)


@contextmanager
def running_stack(folder: Path, engines: Engines, ordering: str) -> Iterator[Stack]:
    """Put a gateway in front of the engines, wait until a request can be served, end it.

    Args:
        folder: For its log and its configuration.
        engines: Running.
        ordering: Which waiting request is next.

    Raises:
        ChildFailed: It ended or did not become ready.
    """
    port = free_port()
    config = folder / f"gateway-{ordering}.yaml"
    config.write_text(f"scheduling: {{ordering: {ordering}}}\n", encoding="utf-8")
    command = _gateway_command(port, engines, config)
    with running(f"gateway-{ordering}", command, folder) as gateway:
        address = Address("127.0.0.1", port)
        wait_until(
            lambda: answers(address.host, address.port, "/readyz"), gateway, _GATEWAY_SECONDS
        )
        yield Stack(address, engines.urls, MODEL, (*engines.children, gateway))


def _sim_command(in_flight: int) -> list[str]:
    return alise_command(
        *("sim-engine", "--port", "0", "--model", MODEL, "--replay", sample_path()),
        *("--max-num-seqs", str(in_flight)),
    )


def _await_sim(engine: Child) -> str:
    """The simulator chooses its port and prints where it listens."""
    wait_until(lambda: bool(_ENGINE_URL.search(engine.log_tail())), engine, _SIM_SECONDS)
    found = _ENGINE_URL.search(engine.log_tail())
    if found is None:
        raise ChildFailed(f"{engine.name} does not say where it listens")
    return found.group(1)


def _vllm_command(place: VllmPlace, number: int, in_flight: int) -> tuple[list[str], str]:
    """One process, one compute thread, nothing compiled: two of them share two CPUs."""
    port = free_port()
    cpus = sorted(os.sched_getaffinity(0))
    variables = {
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "OMP_NUM_THREADS": "1",
        "VLLM_CPU_OMP_THREADS_BIND": str(cpus[number % len(cpus)]),
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "HF_HUB_OFFLINE": "1",
    }
    options = "--enforce-eager --distributed-executor-backend uni --max-model-len 4096"
    command = [
        "env",
        *(f"{name}={value}" for name, value in variables.items()),
        *(place.vllm, "serve", place.model, "--served-model-name", MODEL),
        *("--host", "127.0.0.1", "--port", str(port), "--max-num-seqs", str(in_flight)),
        *options.split(),
    ]
    return command, f"http://127.0.0.1:{port}"


def _await_vllm(engine: Child, url: str) -> str:
    address = Address.parse(url)
    wait_until(lambda: answers(address.host, address.port, "/health"), engine, _VLLM_SECONDS)
    return url


def _gateway_command(port: int, engines: Engines, config: Path) -> list[str]:
    backends = [word for url in engines.urls for word in ("--backend", url)]
    listen = ("--host", "127.0.0.1", "--port", str(port), "--insecure-no-auth")
    limit = ("--max-in-flight", str(engines.in_flight))
    return alise_command("gateway", "--config", str(config), *listen, *backends, *limit)
