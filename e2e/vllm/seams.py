"""Prints, as JSON, what the installed vLLM has of everything that the scheduler meets.

Runs in vLLM's environment, which has none of the test's packages; ``test_seams.py`` compares.
"""

import ast
import inspect
import json
import re
import textwrap
from dataclasses import fields

from vllm.sampling_params import SamplingParams
from vllm.v1.core.block_pool import BlockPool
from vllm.v1.core.kv_cache_manager import KVCacheManager
from vllm.v1.core.sched.async_scheduler import AsyncScheduler
from vllm.v1.core.sched.interface import PauseState
from vllm.v1.core.sched.output import SchedulerOutput
from vllm.v1.core.sched.request_queue import RequestQueue, SchedulingPolicy
from vllm.v1.core.sched.scheduler import Scheduler
from vllm.v1.request import Request, RequestStatus
from vllm.version import __version__

from alise_vllm.scheduler import AliseScheduler
from alise_vllm.waiting import WaitingQueue


def attributes(cls: type) -> list[str]:
    """What an instance has: what ``__init__`` assigns, and the class's own names."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(cls.__init__)))  # type: ignore[misc]
    assigned = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.ctx, ast.Store)
        and isinstance(node.value, ast.Name)
        and node.value.id == "self"
    }
    return sorted(assigned | set(dir(cls)))


def signature(function: object) -> list[str]:
    return list(inspect.signature(function).parameters)  # type: ignore[arg-type]


def own_attributes() -> list[str]:
    """What the subclass reads and writes of itself, its own names left out."""
    tree = ast.parse(inspect.getsource(AliseScheduler))
    used = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "self"
    }
    return sorted(used - own_names())


def own_names() -> set[str]:
    """What the subclass adds."""
    added = {name for name in vars(AliseScheduler) if not name.startswith(("__", "_abc"))}
    return (added | _INSTANCE) - {
        "schedule",
        "_preempt_request",
        "_handle_stopped_request",
    }


_INSTANCE = {"_may_give_way", "_order", "_preempted", "_swaps", "_waits", "alise_tunable"}


def main() -> None:
    source = inspect.getsource(Scheduler)
    overrides = ("schedule", "_preempt_request", "_handle_stopped_request")
    methods = (*overrides, "_request_blocks_can_be_freed", "update_from_output")
    found = {
        "version": __version__,
        "is_subclass": issubclass(AliseScheduler, AsyncScheduler),
        "used": own_attributes(),
        "added": sorted(own_names()),
        "scheduler": sorted({*attributes(Scheduler), *attributes(AsyncScheduler)}),
        "request": attributes(Request),
        "output": [item.name for item in fields(SchedulerOutput)],
        "cache": attributes(KVCacheManager),
        "pool": attributes(BlockPool),
        "sampling": list(SamplingParams.__struct_fields__),
        "signatures": {name: signature(getattr(AsyncScheduler, name)) for name in methods},
        "overrides": {name: signature(getattr(AliseScheduler, name)) for name in overrides},
        "statuses": list(RequestStatus.__members__),
        "policies": [item.value for item in SchedulingPolicy],
        "pauses": list(PauseState.__members__),
        "queue": sorted(RequestQueue.__abstractmethods__),
        "queue_ours": dir(WaitingQueue),
        "called_on_queues": sorted(
            set(re.findall(r"(?:self\.waiting|request_queue|from_queue)\.(\w+)\(", source))
        ),
        "victim_key": "key=lambda r: (r.priority, r.arrival_time)" in source,
        "preempts_to_waiting": "self.waiting.prepend_request(request)"
        in inspect.getsource(Scheduler._preempt_request),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
