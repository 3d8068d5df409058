"""The demo's processes: two engines, and one gateway after the other in front of them.

All on loopback ports that nobody else has.
"""

import http.client
import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from alise_bench.demo.workload import SamplePrompt, sample_path
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
from alise_bench.vllm.command import BASIC_OPTIONS, Serving, plugin_path, vllm_command
from alise_bench.vllm.place import VllmPlace
from alise_bench.vllm.replay import conversation, write_table

ENGINES = 2
MODEL = "alise-demo"
_GATEWAY_SECONDS = 30.0
_SIM_SECONDS = 30.0
_VLLM_SECONDS = 240.0
_ENGINE_URL = re.compile(r"sim-engine ready: (http://\S+)")
_VLLM_OPTIONS = (*BASIC_OPTIONS, "--max-model-len=4096")
_WAITING = re.compile(r"^alise_gateway_waiting_requests(?:\{[^}]*\})? (\S+)$", re.MULTILINE)


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


@contextmanager
def running_simulators(folder: Path, in_flight: int) -> Iterator[Engines]:
    """Start simulated engines, wait until they answer, end them.

    Args:
        folder: For logs.
        in_flight: Requests that one engine runs at a time.

    Raises:
        ChildFailed: A process ended or did not become ready.
    """
    commands = [_sim_command(in_flight)] * ENGINES
    with _running(commands, folder) as children:
        urls = tuple(_await_sim(child) for child in children)
        yield Engines(urls, children, in_flight)


@contextmanager
def running_vllm(
    folder: Path, place: VllmPlace, rows: Sequence[SamplePrompt], in_flight: int
) -> Iterator[Engines]:
    """Start real engines that replay the recorded lengths, wait until they answer, end them.

    Args:
        folder: For logs and the table of lengths.
        place: Where vLLM and the model are.
        rows: What will be asked.
        in_flight: Requests that one engine runs at a time.

    Raises:
        ChildFailed: A process ended or did not become ready.
    """
    lengths = folder / "lengths.jsonl"
    write_table(lengths, place, {conversation(row.messages): row.output_tokens for row in rows})
    options = (*_VLLM_OPTIONS, f"--max-num-seqs={in_flight}")
    serving = Serving(place, MODEL, lengths, plugin_path(folder), options)
    ports = [free_port() for _ in range(ENGINES)]
    commands = [vllm_command(serving, port, number) for number, port in enumerate(ports)]
    with _running(commands, folder) as children:
        for child, port in zip(children, ports, strict=True):
            _await_vllm(child, port)
        yield Engines(tuple(f"http://127.0.0.1:{port}" for port in ports), children, in_flight)


@contextmanager
def _running(commands: Sequence[list[str]], folder: Path) -> Iterator[tuple[Child, ...]]:
    """All start at the same time: a real engine takes most of a minute."""
    with ExitStack() as stack:
        yield tuple(
            stack.enter_context(running(f"engine-{number}", command, folder))
            for number, command in enumerate(commands)
        )


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


def _await_vllm(engine: Child, port: int) -> None:
    wait_until(lambda: answers("127.0.0.1", port, "/health"), engine, _VLLM_SECONDS)


def _gateway_command(port: int, engines: Engines, config: Path) -> list[str]:
    backends = [word for url in engines.urls for word in ("--backend", url)]
    listen = ("--host", "127.0.0.1", "--port", str(port), "--insecure-no-auth")
    limit = ("--max-in-flight", str(engines.in_flight))
    return alise_command("gateway", "--config", str(config), *listen, *backends, *limit)
