"""Everything of vLLM that the scheduler meets is still there, as it was when it was written.

None of it is a public interface. Who wants to allow another version in ``compat.py`` runs this
first: what it fails on has to be read in that version's source before anything else.
"""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from alise_vllm.compat import require_tested
from running.vllm import PLUGIN, VllmEnvironment

SCRIPT = Path(__file__).with_name("seams.py")
REQUEST = {
    "alise_work": False,
    "arrival_time": True,
    "drop_stale_output": True,
    "is_prefill_chunk": True,
    "max_tokens": True,
    "num_computed_tokens": True,
    "num_output_tokens": True,
    "num_prompt_tokens": True,
    "num_stale_output_tokens": True,
    "num_tokens": True,
    "priority": True,
    "request_id": True,
    "resumable": True,
    "sampling_params": True,
    "status": True,
}
"""Attributes of a request, and whether they are vLLM's; the other is ours and must not be."""


@pytest.fixture(scope="module")
def seams(environment: VllmEnvironment) -> dict[str, Any]:
    done = subprocess.run(
        [environment.python, str(SCRIPT)],
        stdout=subprocess.PIPE,
        check=True,
        env={**os.environ, **PLUGIN, "VLLM_NO_USAGE_STATS": "1"},
    )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_the_version_is_one_that_is_tested(seams: dict[str, Any]) -> None:
    require_tested(seams["version"], "this test")


def test_the_subclass_finds_all_that_it_uses(seams: dict[str, Any]) -> None:
    assert seams["is_subclass"]
    assert len(seams["used"]) > 10
    assert [name for name in seams["used"] if name not in seams["scheduler"]] == []


def test_its_own_names_are_not_taken(seams: dict[str, Any]) -> None:
    assert "_make_room" in seams["added"]
    assert [name for name in seams["added"] if name in seams["scheduler"]] == []


def test_methods_are_called_as_they_are_declared(seams: dict[str, Any]) -> None:
    assert seams["signatures"] == {
        "schedule": ["self", "throttle_prefills"],
        "_preempt_request": ["self", "request", "timestamp", "drop_stale_output"],
        "_handle_stopped_request": ["self", "request"],
        "_request_blocks_can_be_freed": ["self", "request"],
        "update_from_output": ["self", "scheduler_output", "model_runner_output"],
    }
    overridden = ("schedule", "_preempt_request", "_handle_stopped_request")
    assert seams["overrides"] == {name: seams["signatures"][name] for name in overridden}


def test_requests_have_what_is_read_of_them(seams: dict[str, Any]) -> None:
    assert {name: name in seams["request"] for name in REQUEST} == REQUEST
    assert "extra_args" in seams["sampling"]
    assert {"WAITING", "RUNNING", "PREEMPTED"} <= set(seams["statuses"])
    waiting = [name for name in seams["statuses"] if name.startswith("WAITING")]
    assert waiting == [
        "WAITING",
        "WAITING_FOR_STRUCTURED_OUTPUT_GRAMMAR",
        "WAITING_FOR_REMOTE_KVS",
        "WAITING_FOR_STREAMING_REQ",
    ]


def test_the_queue_can_take_the_place_of_vllms(seams: dict[str, Any]) -> None:
    assert [name for name in seams["queue"] if name not in seams["queue_ours"]] == []
    assert [name for name in seams["called_on_queues"] if name not in seams["queue_ours"]] == []
    assert "pop_request" in seams["called_on_queues"]
    assert seams["preempts_to_waiting"]


def test_a_victim_of_full_memory_is_still_chosen_by_priority(seams: dict[str, Any]) -> None:
    assert seams["victim_key"]
    assert seams["policies"] == ["fcfs", "priority"]


def test_steps_and_memory_say_what_is_read_of_them(seams: dict[str, Any]) -> None:
    step = ["num_scheduled_tokens", "total_num_scheduled_tokens", "finished_req_ids"]
    assert [name for name in step if name not in seams["output"]] == []
    assert {"block_pool", "watermark_blocks"} <= set(seams["cache"])
    assert "get_num_free_blocks" in seams["pool"]
    assert "UNPAUSED" in seams["pauses"]
