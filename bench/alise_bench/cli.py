"""``alise bench``: the measurements, each imported only when it is asked for."""

import importlib
import sys
from collections.abc import Callable
from typing import cast

COMMANDS = {
    "overhead": ("alise_bench.overhead.cli:main", "what a proxy costs: ours, its peers, direct"),
    "report-overhead": (
        "alise_bench.overhead.report_cli:main",
        "document and plot from a result file of overhead",
    ),
    "predictor": (
        "alise_bench.predictor.cli:main",
        "what a prediction costs: time of either tier and of learning, memory",
    ),
    "compare": (
        "alise_bench.compare.cli:main",
        "baselines and orderings on the same requests: a workload or anybody's trace",
    ),
    "queue": (
        "alise_bench.queue_cost.cli:main",
        "what the queue's decisions cost with thousands waiting; classes kept apart",
    ),
    "engine": (
        "alise_bench.compare.cli:engine_main",
        "what schedules inside one real vLLM: its own ways and the plugin's, on the same requests",
    ),
    "engine-order": (
        "alise_bench.engine_cost.cli:main",
        "what the engine plugin's order costs a step, with thousands waiting",
    ),
    "tuner": (
        "alise_bench.tuner.cli:main",
        "the KV tuner over a simulated day, against settings that never change",
    ),
    "calibrate": ("alise_bench.sim.calibrate:main", "fit the simulator to a real vLLM"),
    "make-sample": ("alise_bench.data.make_sample:main", "make the demo's prompts from data sets"),
}


def main(arguments: list[str]) -> int:
    """Run one measurement; the exit code is 0 only on success."""
    if not arguments or arguments[0] in {"-h", "--help", "help"}:
        sys.stdout.write(_usage())
        return 0 if arguments else 2
    if arguments[0] not in COMMANDS:
        sys.stderr.write(f"alise bench: unknown {arguments[0]!r}; one of: {', '.join(COMMANDS)}\n")
        return 2
    module, _, function = COMMANDS[arguments[0]][0].partition(":")
    run = cast("Callable[[list[str]], int]", getattr(importlib.import_module(module), function))
    return run(arguments[1:])


def _usage() -> str:
    width = max(len(name) for name in COMMANDS)
    rows = "\n".join(f"  {name:<{width}}  {summary}" for name, (_, summary) in COMMANDS.items())
    return f"usage: alise bench COMMAND [--help]\n\ncommands:\n{rows}\n"
