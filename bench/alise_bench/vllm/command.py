"""How a real vLLM is started: small, on a CPU of its own, with replayed lengths."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import alise_core
import alise_vllm
from alise_bench.vllm.place import VllmPlace


@dataclass(frozen=True, slots=True)
class Serving:
    """What all servers of a run have in common.

    Attributes:
        place: Where vLLM and the model are.
        name: Under which the model is served.
        lengths: The file to replay from.
        plugin: A folder that holds ``alise_vllm`` and what it imports, see ``plugin_path``.
        options: Of vLLM's command line.
        step_seconds: A step takes at least this long; ``None`` for as long as it takes.
        settings: Further ones of the plugin.
        variables: Further ones of the environment.
    """

    place: VllmPlace
    name: str
    lengths: Path
    plugin: Path
    options: tuple[str, ...]
    step_seconds: float | None = None
    settings: Mapping[str, object] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)


BLOCK_TOKENS = 32
"""Of a KV block where engines are compared: the least that the CPU build's attention takes, which
has 128 of itself; accelerators have 16. Whoever resumes computes up to a block anew."""
BASIC_OPTIONS = (
    "--enforce-eager",
    "--distributed-executor-backend=uni",
)
"""Nothing compiled and one process: two engines share two CPUs with gateway and load."""


def vllm_command(serving: Serving, port: int, number: int) -> list[str]:
    """The command line of one server.

    Args:
        serving: What it shares with the others.
        port: Where to listen.
        number: Of the server; chooses its CPU.
    """
    cpus = sorted(os.sched_getaffinity(0))
    variables = {
        "PYTHONPATH": str(serving.plugin),
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "OMP_NUM_THREADS": "1",
        "VLLM_CPU_OMP_THREADS_BIND": str(cpus[number % len(cpus)]),
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "HF_HUB_OFFLINE": "1",
        **serving.variables,
    }
    settings = {"replay_file": str(serving.lengths), **serving.settings}
    processors = ["alise_vllm.replay:ReplayLengths"]
    if serving.step_seconds is not None:
        settings["step_seconds"] = serving.step_seconds
        processors.append("alise_vllm.pace:PacedSteps")
    return [
        "env",
        *(f"{name}={value}" for name, value in variables.items()),
        *(serving.place.vllm, "serve", serving.place.model, "--served-model-name", serving.name),
        *("--host", "127.0.0.1", "--port", str(port)),
        *serving.options,
        *("--logits-processors", *processors),
        *("--additional-config", json.dumps({"alise": settings})),
    ]


def plugin_path(folder: Path) -> Path:
    """A folder with links to the plugin and to what it imports, and nothing else.

    An installed ALISE shares its folder with packages that vLLM's environment must not see.
    """
    path = folder / "plugin"
    path.mkdir(exist_ok=True)
    for package in (alise_core, alise_vllm):
        link = path / package.__name__
        if not link.exists():
            link.symlink_to(Path(package.__path__[0]).resolve(), target_is_directory=True)
    return path
