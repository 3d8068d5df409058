"""Real vLLM servers (CPU build, tiny random-weight model) for end-to-end scenarios.

The start line is the cheapest one that serves everything: the ``uni`` executor saves a process
and with it an import of vLLM, nothing is compiled, one compute thread is pinned to one core (two
servers would otherwise take the same one), the KV cache is small.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from alise_core.wire.engine_metrics import REQUESTS_RUNNING, REQUESTS_WAITING
from running.process import ServerProcess, free_port
from running.scrape import Samples, scrape

ROOT = Path(__file__).resolve().parents[2]
MODEL = "tiny"
START_SECONDS = 300.0
TOOLS = ("--enable-auto-tool-choice", "--tool-call-parser", "hermes")
PLUGIN = {"PYTHONPATH": f"{ROOT / 'engine'}:{ROOT / 'core'}"}
"""Lets vLLM's environment import ``alise_vllm`` from the checkout."""


@dataclass(frozen=True, slots=True)
class VllmEnvironment:
    """Where vLLM and its model live, as ``tools/vllm_env.py`` prints it."""

    python: str
    vllm: str
    model: str
    version: str


@dataclass(frozen=True, slots=True)
class VllmServer:
    """A running server."""

    process: ServerProcess
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def busy(self) -> float:
        """Requests that it runs or keeps waiting."""
        samples = self.metrics()
        return samples.sum(REQUESTS_RUNNING) + samples.sum(REQUESTS_WAITING)

    def metrics(self) -> Samples:
        return scrape(f"{self.url}/metrics")

    def wait_until_ready(self) -> "VllmServer":
        self.process.wait_until_answers(f"{self.url}/health", START_SECONDS)
        return self


def find_environment() -> VllmEnvironment:
    """Build the environment if it is not there yet."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "tools/vllm_env.py")], stdout=subprocess.PIPE, check=True
    )
    return VllmEnvironment(**json.loads(done.stdout))


def save_tokenizer(environment: VllmEnvironment, path: Path) -> None:
    """Write the model's tokenizer the way vLLM loads it, for the ``tokenizers`` package.

    The model's own ``tokenizer.json`` is not it: for some architectures, this one among them,
    Transformers puts its own normalizer and splitting in place of the file's.
    """
    script = (
        "import sys, transformers;"
        "found = transformers.AutoTokenizer.from_pretrained(sys.argv[1]);"
        "found.backend_tokenizer.save(sys.argv[2])"
    )
    command = [environment.python, "-c", script, environment.model, str(path)]
    subprocess.run(command, check=True, env={**os.environ, "HF_HUB_OFFLINE": "1"})


def start_vllm(
    environment: VllmEnvironment,
    name: str,
    log_directory: Path,
    core: int,
    extra: Sequence[str],
    variables: Mapping[str, str] = MappingProxyType({}),
) -> VllmServer:
    """Start a server on ``core`` and return at once; ``wait_until_ready`` waits for it.

    ``extra`` are flags that come last and so replace those here, ``variables`` likewise those of
    the environment.
    """
    port = free_port()
    command = [
        environment.vllm,
        "serve",
        # Relative, because vLLM shows the path in /v1/models and recordings shall not.
        Path(environment.model).name,
        "--host=127.0.0.1",
        f"--port={port}",
        f"--served-model-name={MODEL}",
        "--enforce-eager",
        "--distributed-executor-backend=uni",
        "--max-model-len=4096",
        "--max-num-seqs=32",
        "--enable-request-id-headers",
        *extra,
    ]
    own = {
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "OMP_NUM_THREADS": "1",
        "VLLM_CPU_OMP_THREADS_BIND": str(core),
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "HF_HUB_OFFLINE": "1",
    }
    home = Path(environment.model).parent
    process = ServerProcess(
        name, command, log_directory / f"{name}.log", {**own, **variables}, home
    )
    return VllmServer(process, port)
