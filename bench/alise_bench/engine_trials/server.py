"""A real vLLM with the plugin, as ``pip install alise`` beside it would be found, and a way in."""

import http.client
import json
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

from alise_bench.load.request import Address
from alise_bench.processes import Child, ChildFailed, answers, free_port, running, wait_until
from alise_bench.vllm.command import BASIC_OPTIONS, BLOCK_TOKENS, Serving, plugin_path, vllm_command
from alise_bench.vllm.place import VllmPlace
from alise_vllm.lengths import RecordedLength, prompt_key
from alise_vllm.settings import SCHEDULER_CLASS

MODEL = "alise-trial"
STEP_SECONDS = 0.025
"""A step takes at least this long (``alise_vllm.pace``), as where a large model runs on an
accelerator."""
OPTIONS = (*BASIC_OPTIONS, "--enable-per-request-metrics")
SCHEDULER = f"--scheduler-cls={SCHEDULER_CLASS}"
TIER = "--kv-transfer-config=" + json.dumps(
    {
        "kv_connector": "HostTier",
        "kv_connector_module_path": "alise_vllm.tier.connector",
        "kv_role": "kv_both",
    }
)
_READY_SECONDS, _IDLE_SECONDS, _HTTP_SECONDS = 300.0, 60.0, 30.0
_CPU = 0
_OK = 200


@dataclass(frozen=True, slots=True)
class Setup:
    """How one server is started.

    Attributes:
        name: For its log.
        flags: Of vLLM's command line.
        settings: Of the plugin.
        step_seconds: A step takes at least this long; ``None`` for as long as it takes.
    """

    name: str
    flags: tuple[str, ...]
    settings: Mapping[str, object] = field(default_factory=dict)
    step_seconds: float | None = STEP_SECONDS


def tier_flags(slots: int, blocks: int, most_tokens: int) -> tuple[str, ...]:
    """VLLM's flags for the plugin with its tier, on a device that has little room.

    Args:
        slots: Requests that run at a time.
        blocks: Of KV on the device, of ``BLOCK_TOKENS`` each.
        most_tokens: Of a request.
    """
    return (
        f"--max-num-seqs={slots}",
        f"--max-model-len={most_tokens}",
        f"--block-size={BLOCK_TOKENS}",
        f"--num-gpu-blocks-override={blocks}",
        SCHEDULER,
        TIER,
    )


@dataclass(frozen=True, slots=True)
class Server:
    """A running one."""

    child: Child
    address: Address

    def state(self) -> dict[str, Any]:
        """What its only engine shows, by part."""
        (engine,) = self._ask("GET", "/alise/state", None)["engines"]
        found: dict[str, Any] = engine
        return found

    def tune(self, changes: Mapping[str, Mapping[str, object]]) -> float:
        """Change settings; returns when they hold: seconds that it took."""
        begin = time.monotonic()
        self._ask("POST", "/alise/tune", json.dumps(changes).encode())
        return time.monotonic() - begin

    def metric(self, name: str) -> float:
        """A series of ``/metrics``, all its labels together; 0 where there is none."""
        text = self._get("GET", "/metrics", None).decode()
        pattern = rf"^{re.escape(name)}(?:\{{[^}}]*\}})? (\S+)$"
        return sum(float(value) for value in re.findall(pattern, text, re.MULTILINE))

    def wait_until_idle(self) -> dict[str, Any]:
        """Nobody runs and nobody waits; returns the state.

        Raises:
            ChildFailed: It ended, or does not come to rest.
        """

        def is_idle() -> bool:
            core = self.state()["core"]
            return not core["running"] and not core["waiting"]

        wait_until(is_idle, self.child, _IDLE_SECONDS, "come to rest")
        return self.state()

    def _ask(self, method: str, path: str, body: bytes | None) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self._get(method, path, body))
        return found

    def _get(self, method: str, path: str, body: bytes | None) -> bytes:
        address = self.address
        connection = http.client.HTTPConnection(address.host, address.port, timeout=_HTTP_SECONDS)
        try:
            connection.request(method, path, body, {"content-type": "application/json"})
            reply = connection.getresponse()
            said = reply.read()
        except (OSError, http.client.HTTPException) as error:
            raise ChildFailed(f"{address.url}{path} does not answer: {error}") from error
        finally:
            connection.close()
        if reply.status != _OK:
            raise ChildFailed(f"{address.url}{path} answers {reply.status}: {said[:300]!r}")
        return said


@contextmanager
def running_engines(
    place: VllmPlace, setups: Sequence[Setup], folder: Path
) -> Iterator[list[Server]]:
    """Start servers, wait until all of them answer, end them.

    Args:
        place: Where vLLM and the model are.
        setups: One for each. All are on the same CPU, for they take turns: CPUs of one machine are
            not equally fast, and the load has the others.
        folder: For logs and the plugin.

    Raises:
        ChildFailed: One ended or did not become ready.
    """
    plugin = _installed(folder)
    lengths = folder / "lengths.jsonl"
    # Requests here say how long their answers are; the processor wants a file nevertheless.
    lengths.write_text(RecordedLength(prompt_key([1]), 1).line() + "\n", encoding="utf-8")
    with ExitStack() as stack:
        servers = []
        for setup in setups:
            serving = Serving(
                place,
                MODEL,
                lengths,
                plugin,
                (*OPTIONS, *setup.flags),
                setup.step_seconds,
                dict(setup.settings),
                {"VLLM_PLUGINS": "alise"},
            )
            address = Address("127.0.0.1", free_port())
            command = vllm_command(serving, address.port, _CPU)
            servers.append(
                Server(stack.enter_context(running(setup.name, command, folder)), address)
            )
        for server in servers:
            _await(server)
        yield servers


def pause(seconds: float) -> None:
    """Let time pass between two looks at an engine."""
    time.sleep(seconds)


def _await(server: Server) -> None:
    address = server.address
    wait_until(lambda: answers(address.host, address.port, "/health"), server.child, _READY_SECONDS)


def _installed(folder: Path) -> Path:
    """The plugin's folder with what tells vLLM of its entry points."""
    path = plugin_path(folder)
    ours = distribution("alise")
    info = path / f"alise-{ours.version}.dist-info"
    info.mkdir(exist_ok=True)
    metadata = f"Metadata-Version: 2.1\nName: alise\nVersion: {ours.version}\n"
    (info / "METADATA").write_text(metadata, encoding="utf-8")
    lines = [
        f"[{entry.group}]\n{entry.name} = {entry.value}\n"
        for entry in ours.entry_points
        if entry.group.startswith("vllm.")
    ]
    (info / "entry_points.txt").write_text("".join(lines), encoding="utf-8")
    return path
