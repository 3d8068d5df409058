"""The canary's gate on answers, between real vLLM servers.

A dtype that the CPU kernel quantizes passes; one that it misreads, though the server starts and
answers with it, is caught.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from alise_core.crds.kv_cache_policy import QualityGate
from alise_operator.canary.gate import Outcome, Verdict, answer_checks
from running.process import ServerProcess
from running.quality import probe
from running.vllm import VllmEnvironment, VllmServer, start_vllm

GATE = QualityGate()
MISREAD = "int8_per_token_head"


@pytest.fixture(scope="module")
def unchanged(environment: VllmEnvironment, logs: Path) -> Iterator[VllmServer]:
    server = start_vllm(environment, "unchanged", logs, 0, ())
    yield server.wait_until_ready()
    server.process.stop()


@pytest.fixture
def started() -> Iterator[list[ServerProcess]]:
    processes: list[ServerProcess] = []
    yield processes
    for process in processes:
        process.stop()


@pytest.mark.parametrize(
    ("dtype", "outcome"),
    [("auto", Outcome.PASSED), ("fp8", Outcome.PASSED), (MISREAD, Outcome.FAILED)],
)
def test_answers_of_a_canary(
    environment: VllmEnvironment,
    logs: Path,
    unchanged: VllmServer,
    started: list[ServerProcess],
    dtype: str,
    outcome: Outcome,
) -> None:
    canary = start_vllm(environment, f"canary-{dtype}", logs, 1, (f"--kv-cache-dtype={dtype}",))
    started.append(canary.process)
    canary.wait_until_ready()

    verdict = Verdict(answer_checks(GATE, probe(unchanged, canary, seed=7)))

    print(dtype, verdict.text)
    assert verdict.outcome is outcome, verdict.text
