"""What the figures of a comparison hold for: machine, versions, and what has to be known."""

import os
import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version

from alise_bench.compare.figures import GOOD_TPOT_SECONDS, GOOD_TTFT_SECONDS
from alise_bench.overhead.conditions import bundle_name

NOTES = (
    "capacity: completions a second of the pods behind the gateway, first come first served, "
    "everything waiting at once, from 10 % to 80 % of the completions; rho: offered rate by it",
    "short half: answers not longer than the median; longest decile: from the 90th percentile on",
    "default is what ships; oracle, shuffled and noise60 are default with the true lengths, with "
    "those predicted for other requests and with the truth times 0.4 to 1.6",
    f"goodput: requests that began within {GOOD_TTFT_SECONDS:g} s and went on at "
    f"{GOOD_TPOT_SECONDS:g} s a token or faster",
    "no row refuses a request, however long it waits, so that all answer the same ones; the "
    "gateway as it ships refuses what has waited for its class's time to live",
)
"""What the figures mean, for the conditions of every result."""


def read_machine() -> dict[str, object]:
    """When, on what and by which versions."""
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "machine": platform.machine(),
        "cpus": os.cpu_count() or 1,
        "alise": version("alise"),
        "predictor": bundle_name(None),
    }


def warnings(conditions: Mapping[str, object]) -> list[str]:
    """What a reader has to know about this run.

    Args:
        conditions: All others.
    """
    found = []
    cut = conditions.get("cut_to_context")
    if cut:
        found.append(
            f"{cut} requests were cut to the {conditions['context_tokens']} tokens that the "
            "engine's context holds"
        )
    learned = conditions.get("learned_from")
    if learned:
        found.append(
            f"predictors have learned from {learned} answers to other prompts of the workload, "
            "none of which is sent"
        )
    workload = conditions.get("workload")
    if isinstance(workload, Mapping):
        found += [f"workload {workload['workload']}: {note}" for note in workload["notes"]]
    return found
