"""vLLM's own scheduler with ours on top, driven step by step without a model.

Here it can be seen token by token that nothing is lost, doubled or out of place through
preemptions, aborts of preempted requests and changes of policy: also with steps that are scheduled
ahead, which vLLM does on a GPU only.
"""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from running.vllm import PLUGIN, VllmEnvironment

SCRIPT = Path(__file__).with_name("drive.py")
SEEDS = list(range(6))


def driven(environment: VllmEnvironment, **wanted: Any) -> list[dict[str, Any]]:
    """What ``drive.py`` tells of one run per seed."""
    done = subprocess.run(
        [environment.python, str(SCRIPT), environment.model, json.dumps(wanted)],
        stdout=subprocess.PIPE,
        check=True,
        env={**os.environ, **PLUGIN, "VLLM_NO_USAGE_STATS": "1", "HF_HUB_OFFLINE": "1"},
    )
    found: list[dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    return found


def in_all(runs: list[dict[str, Any]], *path: str) -> int:
    total = 0
    for run in runs:
        value = run["state"]
        for name in path:
            value = value[name]
        total += value
    return total


@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize("batched_tokens", [2_048, 64])
def test_every_token_is_in_its_place_and_no_memory_is_left(
    environment: VllmEnvironment, depth: int, batched_tokens: int
) -> None:
    runs = driven(
        environment,
        load="random",
        depth=depth,
        slots=4,
        # Too little for four of the longer requests: memory forces some out as well.
        blocks=60,
        batched_tokens=batched_tokens,
        requests=60,
        seeds=SEEDS,
    )

    assert [run["wrong"] for run in runs] == [[]] * len(SEEDS)
    assert [(run["usage"], run["left"], run["kept"]) for run in runs] == [(0.0, 0, 0)] * len(SEEDS)
    print({name: in_all(runs, "preemptions_total", name) for name in ("slot", "memory", "forced")})
    assert in_all(runs, "preemptions_total", "slot") > 20
    assert in_all(runs, "preemptions_total", "forced") > 20
    assert in_all(runs, "resumed_total") > 20
    assert in_all(runs, "restored_tokens_total") > 500
    assert in_all(runs, "ignored_hints_total") > 100
    assert sum(run["aborted"] for run in runs) > 20


@pytest.mark.parametrize("depth", [1, 2])
def test_short_requests_do_not_wait_for_long_ones(environment: VllmEnvironment, depth: int) -> None:
    wanted = {"load": "short_after_long", "depth": depth, "slots": 2, "blocks": 1_000, "shorts": 3}
    ours = driven(environment, seeds=[1], **wanted)[0]
    stock = driven(environment, seeds=[1], stock=True, **wanted)[0]

    def steps_waited(run: dict[str, Any]) -> list[int]:
        return sorted(first - 100 for first in run["waited"][2:])

    assert steps_waited(stock)[0] >= 900
    assert max(steps_waited(ours)[:2]) <= 3
    assert steps_waited(ours)[2] <= 25
    assert ours["wrong"] == []
    assert ours["state"]["preemptions_total"]["slot"] == 2
    # What is put back is found again, but for its last block, and for what was in flight.
    assert ours["state"]["recomputed_tokens_total"] <= 2 * (16 + 2)
    assert ours["steps"] <= stock["steps"] + 5
