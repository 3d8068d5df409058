"""The tier's eviction and vLLM's own stand in for each other, in vLLM's environment."""

import os
import subprocess

from running.vllm import PLUGIN, ROOT, VllmEnvironment

ROUNDS = 150


def test_policies_change_places_and_nothing_is_lost(environment: VllmEnvironment) -> None:
    path = f"{PLUGIN['PYTHONPATH']}:{ROOT / 'tests'}:{ROOT / 'e2e'}"
    command = [environment.python, "-m", "running.tier_policies", str(ROUNDS)]

    subprocess.run(command, check=True, env={**os.environ, "PYTHONPATH": path})
