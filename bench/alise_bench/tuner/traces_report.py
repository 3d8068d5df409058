"""The document of many random traces. Pure."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from alise_bench.tuner.many_traces import NO_PATIENCE, Totals
from alise_operator.tuning.memory import Direction
from alise_operator.tuning.settings import Knob

_FAULTS = {
    "killed": "the operator died between the record of a plan and its last action",
    "told in vain": "a pod did not hear what it was told",
    "pods not trusted": "a pod's figures could not be trusted at a look",
    "restarts": "a pod began anew, with what it was started with",
    "scaled": "an autoscaler followed the replicas that were asked for, or gave them back",
}
RULES = (
    "no setting that was left comes back within `stabilizationSeconds`",
    "no hour has more changes than `maxChangesPerHour`, and no two are closer than "
    "`cooldownSeconds`",
    "nothing is set that the policy does not allow, and no more than twice the pods are asked for",
    "nothing else changes while a change restarts pods",
    "what is remembered reads the same after it was written down",
)


def document(totals: Totals, conditions: Mapping[str, object]) -> dict[str, object]:
    """As JSON."""
    figures = {one.name: getattr(totals, one.name) for one in fields(totals)}
    return {"conditions": dict(conditions), "hours": totals.hours, **figures}


def render(totals: Totals, conditions: Mapping[str, Any]) -> str:
    """As Markdown."""
    found = totals.broken_count
    lines = [
        "# The KV tuner in random lives of a pool",
        "",
        f"Measured by `alise bench tuner --random-traces {totals.traces}` on "
        f"{str(conditions['started'])[:10]}: does any of its rules break, whatever the load does "
        "and whatever gets lost? Each trace is made from its seed: one to four pods, a policy with "
        "a pace and marks of its own, a load that rises, falls, flips or is noise, and faults. "
        "The property tests use the same traces.",
        "",
        f"**Rules broken: {found}** in {totals.traces:,} traces, {totals.looks:,} looks, "
        f"{totals.hours:,.0f} hours of a pool's life.",
        "",
        *(f"- {rule}" for rule in RULES),
        "",
        *_broken(totals),
        *_proof(totals),
        *_changes(totals),
        *_faults(totals),
        "## Conditions",
        "",
        "| | |",
        "| --- | --- |",
        *(f"| {name} | {value} |" for name, value in conditions.items()),
    ]
    return "\n".join(lines) + "\n"


def _broken(totals: Totals) -> list[str]:
    if not totals.broken:
        return []
    return [*(f"- seed {seed}: {line}" for seed, line in totals.broken), ""]


def _proof(totals: Totals) -> list[str]:
    """That the traces could have shown it."""
    nearest = "-" if totals.nearest is None else f"{totals.nearest:.2f} windows"
    hasty = ", ".join(f"`{name}` {value}" for name, value in NO_PATIENCE.items())
    return [
        "## Whether the traces could have shown it",
        "",
        "A trace in which nothing changes proves nothing.",
        "",
        "| | |",
        "| --- | --: |",
        f"| traces with a change | {totals.changing:,} |",
        f"| traces in which a setting was left and came back | {totals.returning:,} |",
        f"| the soonest that one was back | {nearest} |",
        f"| traces lived once more without patience | {totals.control_traces:,} |",
        f"| of those, with a setting back within the window | {totals.control_swinging:,} |",
        "",
        f"Without patience is {hasty}, all else the same; judged by the trace's own window.",
        "",
    ]


def _changes(totals: Totals) -> list[str]:
    return [
        "## Changes",
        "",
        "| knob | up | down |",
        "| --- | --: | --: |",
        *(
            f"| `{knob}` | {totals.changes[f'{knob} {Direction.UP}']:,} | "
            f"{totals.changes[f'{knob} {Direction.DOWN}']:,} |"
            for knob in Knob
        ),
        "",
        *(f"- {name}: {count:,}" for name, count in sorted(totals.endings.items())),
        "",
    ]


def _faults(totals: Totals) -> list[str]:
    return [
        "## What went wrong on the way",
        "",
        "| fault | times | traces |",
        "| --- | --: | --: |",
        *(
            f"| {text} | {totals.faults[name]:,} | {totals.with_fault[name]:,} |"
            for name, text in _FAULTS.items()
        ),
        "",
    ]
