"""The processes behind a row of real engines: vLLM servers that replay lengths, and a gateway."""

import http.client
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from alise_bench.compare.rows import Row
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
from alise_bench.vllm.command import BASIC_OPTIONS, BLOCK_TOKENS, Serving, plugin_path, vllm_command
from alise_bench.vllm.place import VllmPlace
from alise_core.policy import SchedulingPolicy
from alise_core.wire.engine_metrics import PREEMPTIONS

MODEL = "alise-compare"
CONTEXT_TOKENS = 4_096
MAX_NUM_SEQS = 8
"""Requests that an engine runs at a time: a queue exists at some requests a second."""
STEP_SECONDS = 0.025
"""A step takes at least this long, as where a large model runs on an accelerator, and leaves the
CPUs to gateway and load meanwhile. At full speed engines take all there is, and what the gateway
takes slows them down: rows then differ by the CPU they need, and not by how they schedule."""
RUN_AHEAD = 1
"""Requests that the gateway gives it beyond those: an engine never waits for the next one then."""
OPTIONS = (
    *BASIC_OPTIONS,
    f"--max-model-len={CONTEXT_TOKENS}",
    f"--max-num-seqs={MAX_NUM_SEQS}",
    f"--block-size={BLOCK_TOKENS}",
)
"""Of every server."""

_VLLM_SECONDS = 300.0
_GATEWAY_SECONDS = 30.0
_HTTP_SECONDS = 10.0
_PATIENT_HEALTH = {"probe_timeout_seconds": 20, "unhealthy_after_failures": 10}
"""A server that shares its CPU with all others answers late and is not ill."""
_LONGEST_TTL_SECONDS = 86_400.0
"""The most that the gateway's settings take."""
_VALUE = re.compile(rf"^{PREEMPTIONS}(?:\{{[^}}]*\}})? (\S+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Server:
    """A running vLLM.

    Attributes:
        child: Its process.
        address: Where it listens.
    """

    child: Child
    address: Address

    def preemptions(self) -> int:
        """Requests whose memory it took away, since its start."""
        text = _ask(self.address, "GET", "/metrics", None).decode("utf-8", "replace")
        return int(sum(float(value) for value in _VALUE.findall(text)))

    def tokenize(self, messages: Sequence[Any]) -> list[int]:
        """Token ids of a chat without tools, as the server computes them."""
        body = {"model": MODEL, "messages": messages}
        found = json.loads(_ask(self.address, "POST", "/tokenize", json.dumps(body).encode()))
        ids: list[int] = found["tokens"]
        return ids


@dataclass(frozen=True, slots=True)
class Variant:
    """What one server has of its own.

    Attributes:
        flags: Of vLLM's command line.
        settings: Of the plugin, beside those of all servers.
    """

    flags: tuple[str, ...] = ()
    settings: Mapping[str, object] = field(default_factory=dict)


UNCACHED = Variant(("--no-enable-prefix-caching",))
"""Without a prefix cache no row finds what an earlier one has left."""


@contextmanager
def running_servers(
    place: VllmPlace,
    variants: Sequence[Variant],
    lengths: Path,
    folder: Path,
    *,
    take_turns: bool = False,
) -> Iterator[list[Server]]:
    """Start vLLM servers, wait until all of them answer, end them.

    Args:
        place: Where vLLM and the model are.
        variants: One for each server; each is on a CPU of its own while there are that many.
        lengths: The file to replay from.
        folder: For logs and the plugin's path.
        take_turns: One works at a time: all are on the same CPU, as CPUs are not equally fast.

    Raises:
        ChildFailed: One ended or did not become ready.
    """
    common = Serving(place, MODEL, lengths, plugin_path(folder), OPTIONS, STEP_SECONDS)
    with ExitStack() as stack:
        servers = []
        for number, variant in enumerate(variants):
            own = replace(
                common, options=(*OPTIONS, *variant.flags), settings=dict(variant.settings)
            )
            address = Address("127.0.0.1", free_port())
            command = vllm_command(own, address.port, 0 if take_turns else number)
            child = stack.enter_context(running(f"vllm-{number}", command, folder))
            servers.append(Server(child, address))
        for server in servers:
            _await(server.child, server.address, "/health", _VLLM_SECONDS)
        yield servers


@contextmanager
def running_gateway(config: dict[str, Any], name: str, folder: Path) -> Iterator[Child]:
    """Start a gateway with a configuration, wait until it is ready, end it.

    Args:
        config: Its settings, ``port`` among them.
        name: For its log and its configuration file.
        folder: Where to put both.

    Raises:
        ChildFailed: It ended or did not become ready.
    """
    path = folder / f"{name}.yaml"
    path.write_text(json.dumps(config, indent=1), encoding="utf-8")  # JSON is YAML
    with running(name, alise_command("gateway", "--config", str(path)), folder) as child:
        _await(child, Address("127.0.0.1", config["port"]), "/readyz", _GATEWAY_SECONDS)
        yield child


def gateway_config(
    row: Row, port: int, engines: Iterable[Address], *, tier1: bool, run_ahead: int = RUN_AHEAD
) -> dict[str, Any]:
    """The gateway's settings for a row.

    Args:
        row: How it schedules.
        port: Where it listens.
        engines: Its backends.
        tier1: Whether its predictor asks the encoder.
        run_ahead: Requests that it gives an engine beyond those that it runs.
    """
    policy = row.policy
    return {
        "host": "127.0.0.1",
        "port": port,
        "identity": {"allow_anonymous": True},
        "backends": [{"url": engine.url} for engine in engines],
        "queue": {
            "max_in_flight_per_backend": MAX_NUM_SEQS + run_ahead,
            "max_waiting": policy.max_waiting,
        },
        "health": _PATIENT_HEALTH,
        "scheduling": _scheduling(policy),
        "predictor": {"tier1": "auto" if tier1 else "off"},
    }


def _scheduling(policy: SchedulingPolicy) -> dict[str, Any]:
    ordering = policy.ordering
    optional = {
        "gamma": ordering.gamma,
        "beta": ordering.beta,
        "aging_half_life_seconds": ordering.aging_half_life_seconds,
    }
    return {
        "ordering": str(ordering.name),
        "guard_seconds": ordering.guard_seconds,
        "guard_factor": ordering.guard_factor,
        **{name: value for name, value in optional.items() if value is not None},
        "classes": {
            str(name): {
                "ttl_seconds": min(limits.ttl_seconds, _LONGEST_TTL_SECONDS),
                "trickle_share": limits.trickle_share,
                **({} if limits.max_waiting is None else {"max_waiting": limits.max_waiting}),
            }
            for name, limits in policy.classes.items()
        },
    }


def _await(child: Child, address: Address, path: str, seconds: float) -> None:
    wait_until(lambda: answers(address.host, address.port, path), child, seconds)


def _ask(address: Address, method: str, path: str, body: bytes | None) -> bytes:
    connection = http.client.HTTPConnection(address.host, address.port, timeout=_HTTP_SECONDS)
    try:
        connection.request(method, path, body, {"content-type": "application/json"})
        return connection.getresponse().read()
    except (OSError, http.client.HTTPException) as error:
        raise ChildFailed(f"{address.url}{path} does not answer: {error}") from error
    finally:
        connection.close()
